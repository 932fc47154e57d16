-- Find the first asset that a batch of changes touches outside some domains, at the instant of the change or later. A
-- product is in the domain of its versions, a deleted one in that of its last; an entity is in the domain of its type. An
-- association is in the domain of its owner, which has to exist.
-- Parameters: :domains names; :subjects ids; :instants (null: now), one for each subject.
-- Tokens: {owner_asset_id}, the asset whose domain covers the subject `n.subject_id`; {is_association}.
-- Used by: db.temporal.write_domains.require_domains
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
  -- the version at the instant, or the last before it
  (
    SELECT v.domain
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id AND v.valid_from <= n.instant
    ORDER BY v.valid_from DESC
    LIMIT 1
  )
  UNION ALL
  -- the versions after it
  SELECT v.domain
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id AND v.valid_from > n.instant
  UNION ALL
  -- the owner of an association that has no version, so that it is in no domain
  SELECT NULL
  WHERE a.kind = 'PRODUCT' AND {is_association} AND NOT EXISTS (
    SELECT
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id
  )
) s
WHERE s.domain IS NULL OR s.domain <> ALL (CAST(:domains AS text[]))
LIMIT 1
