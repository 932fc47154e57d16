-- Read a page of the assets that a search finds: best ranks first, by label within a rank, by id within a label.
-- Parameters: those of _search.sql; :limit; :after_0, :after_1, :after_2 and :before_0, :before_1, :before_2, the rank, label and id
--   of a cursor, or NULL.
-- Tokens: {direction} in which the page is fetched; {product_fields} and {entity_fields} as in _node.sql
-- Used by: db.assets.search.search_page
WITH {include _search}
SELECT wanted.rank, wanted.sorted_label, wanted.instant AS as_of, a.id AS asset_id, a.uid, a.kind, a.type, v.*
FROM (
  SELECT f.rank, f.label AS sorted_label, f.asset_id AS id, coalesce(CAST(:as_of AS timestamptz), now()) AS instant
  FROM found f
  WHERE (CAST(:after_0 AS integer) IS NULL OR (f.rank, f.label, f.asset_id) > (:after_0, CAST(:after_1 AS text), CAST(:after_2 AS bigint)))
    AND (CAST(:before_0 AS integer) IS NULL OR (f.rank, f.label, f.asset_id) < (:before_0, CAST(:before_1 AS text), CAST(:before_2 AS bigint)))
  ORDER BY f.rank {direction}, f.label {direction}, f.asset_id {direction}
  LIMIT CAST(:limit AS bigint)
) wanted
{include _node}
ORDER BY wanted.rank {direction}, wanted.sorted_label {direction}, wanted.id {direction}
