-- The CTE `visible`: the periods in which a filter shows the assets `member`, clipped to the window, as parallel arrays. A product
-- is in a domain in some periods only.
-- Expects: member (asset_id), and the parameters :since, :until, :links, :max_examined, :kinds, :entity_types and :domains, of which
-- the last three are no condition if NULL
version AS MATERIALIZED (
  SELECT a.id AS asset_id, greatest(CAST(:since AS timestamptz), v.valid_from) AS valid_from,
    least(CAST(:until AS timestamptz), v.valid_to) AS valid_to
  FROM member
  CROSS JOIN LATERAL (
    SELECT a.id, a.kind, a.type
    FROM asset a
    WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = member.asset_id
      AND (CAST(:kinds AS text[]) IS NULL OR a.kind = ANY (CAST(:kinds AS text[])))
      AND (CAST(:entity_types AS text[]) IS NULL OR a.type = ANY (CAST(:entity_types AS text[])))
    OFFSET 0
  ) a
  CROSS JOIN LATERAL (
    SELECT CAST(:since AS timestamptz) AS valid_from, CAST(:until AS timestamptz) AS valid_to
    WHERE CAST(:domains AS text[]) IS NULL OR EXISTS (
      SELECT
      FROM entity_type t
      WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.code = a.type AND t.domain = ANY (CAST(:domains AS text[]))
    )
    UNION ALL
    SELECT v.valid_from, v.valid_to
    FROM product_version v
    WHERE CAST(:domains AS text[]) IS NOT NULL AND a.kind = 'PRODUCT'
      AND v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id
      AND v.valid_from < CAST(:until AS timestamptz) AND v.valid_to > CAST(:since AS timestamptz)
      AND v.domain = ANY (CAST(:domains AS text[]))
  ) v
  LIMIT CAST(:max_examined AS bigint) + 1
),
visible AS (
  SELECT array_agg(asset_id) AS visible, array_agg(lower(period)) AS visible_starts, array_agg(upper(period)) AS visible_ends,
    (SELECT count(*) FROM version) AS examined_versions
  FROM (
    SELECT asset_id, unnest(range_agg(tstzrange(valid_from, valid_to))) AS period
    FROM version
    GROUP BY asset_id
  ) period
)
