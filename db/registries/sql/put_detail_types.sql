-- Add detail types with different codes, or replace those with their codes. A type whose format would change has no row,
-- unless :replace_format is true; it is locked all the same. The rows are written in order of the code, so that two batches
-- cannot deadlock.
-- Parameters: :codes; :labels, :formats and :roles, one for each; :replace_format, true if a format may change; :actor who puts
--   them.
-- Used by: db.registries.detail_type._put
WITH entry AS (
  SELECT *
  FROM unnest(CAST(:codes AS text[]), CAST(:labels AS text[]), CAST(:formats AS text[]), CAST(:roles AS text[]))
    AS e (code, label, format, role)
),
written AS (
  INSERT INTO detail_type AS t (tenant_id, code, label, format, role, created_at, updated_at, actor)
  SELECT CAST(:tenant AS bigint), code, label, format, role, now(), now(), CAST(:actor AS text)
  FROM entry
  ORDER BY code
  ON CONFLICT (tenant_id, code) DO UPDATE
  -- an entry that stays as it is keeps its record
  SET (label, format, role, updated_at, actor) = (
    SELECT excluded.label, excluded.format, excluded.role,
      CASE WHEN changed THEN excluded.updated_at ELSE t.updated_at END, CASE WHEN changed THEN excluded.actor ELSE t.actor END
    FROM (
      SELECT (t.label, t.format, t.role) IS DISTINCT FROM (excluded.label, excluded.format, excluded.role) AS changed
    ) compared
  )
  WHERE CAST(:replace_format AS boolean) OR t.format IS NOT DISTINCT FROM excluded.format
  RETURNING code, created_at, updated_at, actor
)
-- this statement sees the table as it was before the INSERT
SELECT e.code, b.code IS NULL AS created,
  (b.code, b.label, b.format, b.role) IS DISTINCT FROM (e.code, e.label, e.format, e.role) AS changed,
  w.created_at, w.updated_at, w.actor
FROM written w
JOIN entry e ON e.code = w.code
LEFT JOIN detail_type b ON b.tenant_id = CAST(:tenant AS bigint) AND b.code = e.code
