-- Bring the keys of some entities up to date with their versions, each from an instant on. A key that stays as it was keeps its
-- row, even if others change. Every read is by entity and ends with OFFSET 0, so that no statistics turn it into a scan.
-- Parameters: :subjects ids of entities; :instants, the first at which the versions of each changed, one for each.
-- Used by: db.temporal.change_log.append_changes
WITH affected (subject_id, since) AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[]))
),
existing AS (
  SELECT affected.since, k.row_ctid, k.asset_id, k.compared, k.valid_from, k.valid_to
  FROM affected
  CROSS JOIN LATERAL (
    SELECT k.ctid AS row_ctid, k.*
    FROM entity_key k
    WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.asset_id = affected.subject_id AND k.valid_to >= affected.since
    OFFSET 0
  ) k
),
-- the existing keys up to the instant, and those of the versions from it on
periods AS (
  SELECT asset_id, compared, valid_from, least(valid_to, since) AS valid_to
  FROM existing
  WHERE valid_from < since
  UNION ALL
  SELECT v.asset_id, compared_key(k.key), greatest(v.valid_from, affected.since), v.valid_to
  FROM affected
  CROSS JOIN LATERAL (
    SELECT v.asset_id, v.valid_from, v.valid_to, v.keys
    FROM entity_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = affected.subject_id AND v.valid_to > affected.since
      AND v.valid_from >= coalesce((
        SELECT max(p.valid_from)
        FROM entity_version p
        WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = affected.subject_id AND p.valid_from <= affected.since
      ), '-infinity')
    OFFSET 0
  ) v
  CROSS JOIN LATERAL unnest(v.keys) AS k (key)
),
{include _key_periods},
-- a target without an existing row is inserted, an existing row without a target is deleted
paired AS MATERIALIZED (
  SELECT e.row_ctid, t.*
  FROM existing e
  FULL JOIN target t
    ON t.asset_id = e.asset_id AND t.compared = e.compared AND t.valid_from = e.valid_from AND t.valid_to = e.valid_to
),
deleted AS (
  DELETE FROM entity_key k
  WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.ctid = ANY (ARRAY(SELECT row_ctid FROM paired WHERE asset_id IS NULL))
  RETURNING k.asset_id
)
INSERT INTO entity_key (tenant_id, asset_id, type, compared, valid_from, valid_to)
SELECT CAST(:tenant AS bigint), p.asset_id, a.type, p.compared, p.valid_from, p.valid_to
FROM paired p
CROSS JOIN LATERAL (
  SELECT a.type FROM asset a WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = p.asset_id OFFSET 0
) a
-- reading `deleted` forces the DELETE to run before this INSERT
WHERE p.row_ctid IS NULL AND (SELECT count(*) FROM deleted) >= 0
