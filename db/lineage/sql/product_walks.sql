-- Find the product with a name, walk from it, and from each asset that the first page of this walk shows, and so on, step by
-- step. Read the product and the assets of all pages, each once. All is at one instant.
--
-- Return a row per walk and level: its step, the asset from which it starts, the depth, the assets of the level in order of their
-- ids, and the counters of the walk up to it. The row of depth 0 is there only if the walk finds nothing. Return a row of step 0
-- per asset, with its columns.
-- Parameters: :name; :as_of, the instant, or NULL for now; those of {steps}.
-- Tokens: {steps}, a `_product_walk_step.sql` for each step; {walks}, the SELECT of the walks of each step; {pages}, that of the
--   assets of all pages; {as_of}, the instant of each asset, or nothing; {product_fields} and {entity_fields} as in
--   assets/_node.sql
-- Used by: db.lineage.product_walks
WITH page_0 AS (
  SELECT p.asset_id, coalesce(CAST(:as_of AS timestamptz), now()) AS instant
  FROM product_version p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.name = CAST(:name AS text)
    AND p.valid_from <= coalesce(CAST(:as_of AS timestamptz), now()) AND p.valid_to > coalesce(CAST(:as_of AS timestamptz), now())
),
{steps}
SELECT wanted.step, wanted.root_id, wanted.depth, wanted.level, wanted.visited, wanted.examined, wanted.timed_out,
  CASE WHEN wanted.step = 1 THEN wanted.instant END AS instant {as_of}, node.*
FROM (
  {walks}
  UNION ALL
  SELECT 0, NULL, NULL, NULL, NULL, NULL, NULL, page.instant, page.asset_id
  FROM ({pages}) page
) wanted (step, root_id, depth, level, visited, examined, timed_out, instant, id)
LEFT JOIN LATERAL (
  SELECT a.id AS asset_id, a.uid, a.kind, a.type, v.*
  FROM (SELECT) AS one
  {include assets/_node}
) node ON true
ORDER BY wanted.step, wanted.depth
