-- Bring the lifetimes of some assets up to date with their versions, each from an instant on. Equal rows stay.
-- Parameters: :subjects ids of assets; :instants, the first at which the versions of each changed, one for each.
-- Tokens: {versions}, {subject} of the asset kind.
-- Used by: db.consistency.lifecycle._rebuild_lifetimes
WITH affected (subject_id, since) AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[]))
),
-- A lifetime that ends exactly at the instant is included (hence >= and not >), for it may now last longer.
existing AS (
  SELECT affected.since, l.row_ctid, l.asset_id, l.valid_from, l.valid_to
  FROM affected
  CROSS JOIN LATERAL (
    SELECT l.ctid AS row_ctid, l.*
    FROM asset_lifetime l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = affected.subject_id AND l.valid_to >= affected.since
    OFFSET 0
  ) l
),
-- the existing lifetimes up to that instant, and the versions from it on
periods AS (
  SELECT asset_id, valid_from, least(valid_to, since) AS valid_to
  FROM existing
  WHERE valid_from < since
  UNION ALL
  SELECT affected.subject_id, greatest(v.valid_from, affected.since), v.valid_to
  FROM affected
  CROSS JOIN LATERAL (
    SELECT v.valid_from, v.valid_to
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = affected.subject_id AND v.valid_to > affected.since
    OFFSET 0
  ) v
),
{include _lifetime_periods},
paired AS MATERIALIZED (
  SELECT e.row_ctid, t.*
  FROM existing e
  FULL JOIN target t ON t.asset_id = e.asset_id AND t.valid_from = e.valid_from AND t.valid_to = e.valid_to
),
deleted AS (
  DELETE FROM asset_lifetime l
  WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.ctid = ANY (ARRAY(SELECT row_ctid FROM paired WHERE asset_id IS NULL))
  RETURNING l.asset_id
)
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT CAST(:tenant AS bigint), p.asset_id, p.valid_from, p.valid_to
FROM paired p
-- Reading `deleted` forces the DELETE to run before this INSERT.
WHERE p.row_ctid IS NULL AND (SELECT count(*) FROM deleted) >= 0
