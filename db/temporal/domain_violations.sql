-- Of what is said from instants on, the first that is said of an asset outside of some domains then or later. A product is in the domain
-- of its versions, and once it has ended in that of the last; an entity in that of its type. A bond is where the end is that answers for
-- it, which has to be somewhere.
SELECT a.kind, a.uid, s.domain
FROM (
  SELECT subject_id, min(coalesce(instant, clock_timestamp())) AS instant
  FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS n (subject_id, instant)
  GROUP BY subject_id
) n
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = {owner_asset_id}
CROSS JOIN LATERAL (
  SELECT t.domain
  FROM entity_type t
  WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.code = a.type
  UNION ALL
  -- what holds then, or held last before
  (
    SELECT v.domain
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id AND v.valid_from <= n.instant
    ORDER BY v.valid_from DESC
    LIMIT 1
  )
  UNION ALL
  SELECT v.domain
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id AND v.valid_from > n.instant
  UNION ALL
  SELECT NULL
  WHERE a.kind = 'PRODUCT' AND {is_association} AND NOT EXISTS (
    SELECT
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id
  )
) s
WHERE s.domain IS NULL OR s.domain <> ALL (CAST(:domains AS text[]))
LIMIT 1
