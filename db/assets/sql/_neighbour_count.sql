-- The number of the assets at the other ends of the links of an asset at an instant, and that of these links, as an array. Of the
-- links, at most :counted_links + 1 are read.
-- Parameters: :counted_links, which every connection has.
-- Tokens: {asset}, a row with the columns tenant_id and asset_id; {instant}; {near} and {far}, the columns of the end of a link at
--   which the asset is, and of the other end
-- Used by: db.assets.asset_fields.neighbour_count
SELECT ARRAY[count(DISTINCT link.asset_id), count(*)]
FROM (
  SELECT l.{far} AS asset_id
  FROM lineage_link_effective l
  WHERE l.tenant_id = {asset}.tenant_id AND l.{near} = {asset}.asset_id
    AND l.valid_from <= {instant} AND l.valid_to > {instant}
  LIMIT CAST(:counted_links AS bigint) + 1
) link
