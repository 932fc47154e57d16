-- Registers types of details, each once, or replaces the whole of what is registered; which of them were new, and which are other now.
-- Unless that is asked for, a format is not replaced by another: then the type is locked, and has no row. Always in order of the code,
-- so that two batches cannot wait for each other.
WITH given AS (
  SELECT *
  FROM unnest(CAST(:codes AS text[]), CAST(:labels AS text[]), CAST(:formats AS text[])) AS g (code, label, format)
),
written AS (
  INSERT INTO detail_type (tenant_id, code, label, format)
  SELECT CAST(:tenant AS bigint), code, label, format
  FROM given
  ORDER BY code
  ON CONFLICT (tenant_id, code) DO UPDATE
  SET label = excluded.label, format = excluded.format
  WHERE CAST(:reformat AS boolean) OR detail_type.format IS NOT DISTINCT FROM excluded.format
  RETURNING code
)
-- what stood before this statement is what it sees
SELECT g.code, b.code IS NULL AS created, (b.code, b.label, b.format) IS DISTINCT FROM (g.code, g.label, g.format) AS changed
FROM written w
JOIN given g ON g.code = w.code
LEFT JOIN detail_type b ON b.tenant_id = CAST(:tenant AS bigint) AND b.code = g.code
