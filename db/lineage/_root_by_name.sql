-- The root of a walk: the product with a name, itself one of the assets that are read.
-- Parameters: :name; :as_of, the instant, or NULL for now; :size, the greatest number of other assets that are read
-- Used by: lineage/first_page.sql
root AS (
  SELECT p.asset_id, coalesce(CAST(:as_of AS timestamptz), now()) AS instant, CAST(1 AS bigint) AS ordinal,
    CAST(:size AS bigint) AS size, 0 AS first_depth
  FROM product_version p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.name = CAST(:name AS text)
    AND p.valid_from <= coalesce(CAST(:as_of AS timestamptz), now()) AND p.valid_to > coalesce(CAST(:as_of AS timestamptz), now())
)
