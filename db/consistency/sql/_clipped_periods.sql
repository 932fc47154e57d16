-- The asserted versions of associations, clipped to the lifetimes of both ends; without the periods that end before `since`. A
-- period that ends exactly at `since` stays (hence >= and not >), for it may now last longer.
-- Expects: CTE affected (subject_id, since). Provides: CTE target, with the columns of the effective table but for the tenant.
-- Tokens: {subject}, {identities}, {versions}, {near}, {far}, {asserted} of the association kind.
target AS (
  SELECT v.{subject}, greatest(v.valid_from, near.valid_from, far.valid_from) AS valid_from,
    least(v.valid_to, near.valid_to, far.valid_to) AS valid_to, v.digest, {asserted}
  FROM affected
  CROSS JOIN LATERAL (
    SELECT *
    FROM {identities} i
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = affected.subject_id
    OFFSET 0
  ) i
  CROSS JOIN LATERAL (
    SELECT *
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = affected.subject_id AND v.valid_to >= affected.since
    OFFSET 0
  ) v
  CROSS JOIN LATERAL (
    SELECT *
    FROM asset_lifetime near
    WHERE near.tenant_id = CAST(:tenant AS bigint) AND near.asset_id = i.{near}
      AND near.valid_from < v.valid_to AND near.valid_to > v.valid_from AND near.valid_to >= affected.since
    OFFSET 0
  ) near
  CROSS JOIN LATERAL (
    SELECT *
    FROM asset_lifetime far
    WHERE far.tenant_id = CAST(:tenant AS bigint) AND far.asset_id = i.{far}
      AND far.valid_from < least(v.valid_to, near.valid_to) AND far.valid_to > greatest(v.valid_from, near.valid_from)
      AND far.valid_to >= affected.since
    OFFSET 0
  ) far
)
