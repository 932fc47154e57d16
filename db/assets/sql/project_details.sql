-- Bring the details of some entities up to date with their versions, each from an instant on. A detail that stays as it was
-- keeps its row, even if others change. Every read is by entity and ends with OFFSET 0, so that no statistics turn it into a
-- scan.
-- Parameters: :subjects ids of entities; :instants, the first at which the versions of each changed, one for each.
-- Used by: db.temporal.change_log.append_changes
WITH affected (subject_id, since) AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[]))
),
existing AS (
  SELECT affected.since, d.ctid AS row_ctid, d.asset_id, d.detail_type, d.valid_from, d.valid_to, d.value
  FROM affected
  CROSS JOIN LATERAL (
    SELECT d.ctid, d.*
    FROM entity_detail d
    WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.asset_id = affected.subject_id AND d.valid_to >= affected.since
    OFFSET 0
  ) d
),
-- the existing details up to the instant, and those of the versions from it on
periods AS (
  SELECT asset_id, detail_type, value, valid_from, least(valid_to, since) AS valid_to
  FROM existing
  WHERE valid_from < since
  UNION ALL
  SELECT v.asset_id, d.key, d.value, greatest(v.valid_from, affected.since), v.valid_to
  FROM affected
  CROSS JOIN LATERAL (
    SELECT v.asset_id, v.valid_from, v.valid_to, v.details
    FROM entity_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = affected.subject_id AND v.valid_to > affected.since
      AND v.valid_from >= coalesce((
        SELECT max(p.valid_from)
        FROM entity_version p
        WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = affected.subject_id AND p.valid_from <= affected.since
      ), '-infinity')
    OFFSET 0
  ) v
  CROSS JOIN LATERAL jsonb_each_text(v.details) AS d
),
{include _detail_periods},
-- a target without an existing row is inserted, an existing row without a target is deleted
paired AS MATERIALIZED (
  SELECT e.row_ctid, t.*
  FROM existing e
  FULL JOIN target t
    ON t.asset_id = e.asset_id AND t.detail_type = e.detail_type AND t.valid_from = e.valid_from AND t.valid_to = e.valid_to
    AND t.value = e.value
),
deleted AS (
  DELETE FROM entity_detail d
  WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.ctid = ANY (ARRAY(SELECT row_ctid FROM paired WHERE asset_id IS NULL))
  RETURNING d.asset_id
)
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value, number)
SELECT CAST(:tenant AS bigint), p.asset_id, p.detail_type, p.valid_from, p.valid_to, p.value,
  CASE t.format WHEN 'number' THEN CAST(p.value AS double precision) END
FROM paired p
LEFT JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = p.detail_type
-- reading `deleted` forces the DELETE to run before this INSERT
WHERE p.row_ctid IS NULL AND (SELECT count(*) FROM deleted) >= 0
