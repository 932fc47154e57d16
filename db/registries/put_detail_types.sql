-- Add detail types with different codes, or replace those with their codes. A type whose format would change has no row,
-- unless :replace_format is true; it is locked all the same. The rows are written in order of the code, so that two batches
-- cannot deadlock.
-- Parameters: :codes; :labels and :formats, one for each; :replace_format, true if a format may change.
-- Used by: db.registries.detail_type._put
WITH entry AS (
  SELECT *
  FROM unnest(CAST(:codes AS text[]), CAST(:labels AS text[]), CAST(:formats AS text[])) AS e (code, label, format)
),
written AS (
  INSERT INTO detail_type (tenant_id, code, label, format)
  SELECT CAST(:tenant AS bigint), code, label, format
  FROM entry
  ORDER BY code
  ON CONFLICT (tenant_id, code) DO UPDATE
  SET label = excluded.label, format = excluded.format
  WHERE CAST(:replace_format AS boolean) OR detail_type.format IS NOT DISTINCT FROM excluded.format
  RETURNING code
)
-- this statement sees the table as it was before the INSERT
SELECT e.code, b.code IS NULL AS created, (b.code, b.label, b.format) IS DISTINCT FROM (e.code, e.label, e.format) AS changed
FROM written w
JOIN entry e ON e.code = w.code
LEFT JOIN detail_type b ON b.tenant_id = CAST(:tenant AS bigint) AND b.code = e.code
