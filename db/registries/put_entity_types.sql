-- Add entity types with different codes, or replace those with their codes. The rows are written in order of the code, so
-- that two batches cannot deadlock.
-- Parameters: :codes; :labels, :domains and :sources, one for each.
-- Used by: db.registries.entity_type.put_each
WITH entry AS (
  SELECT code, label, domain, CAST(source AS jsonb) AS source
  FROM unnest(CAST(:codes AS text[]), CAST(:labels AS text[]), CAST(:domains AS text[]), CAST(:sources AS text[]))
    AS e (code, label, domain, source)
),
written AS (
  INSERT INTO entity_type (tenant_id, code, label, domain, source)
  SELECT CAST(:tenant AS bigint), code, label, domain, source
  FROM entry
  ORDER BY code
  ON CONFLICT (tenant_id, code) DO UPDATE
  SET label = excluded.label, domain = excluded.domain, source = excluded.source
)
-- this statement sees the table as it was before the INSERT
SELECT e.code, b.code IS NULL AS created,
  (b.code, b.label, b.domain, b.source) IS DISTINCT FROM (e.code, e.label, e.domain, e.source) AS changed
FROM entry e
LEFT JOIN entity_type b ON b.tenant_id = CAST(:tenant AS bigint) AND b.code = e.code
