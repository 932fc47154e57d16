-- Add entity types with different codes, or replace those with their codes. The rows are written in order of the code, so
-- that two batches cannot deadlock.
-- Parameters: :codes; :labels, :domains and :sources, one for each; :actor who puts them.
-- Used by: db.registries.entity_type.put_each
WITH entry AS (
  SELECT code, label, domain, CAST(source AS jsonb) AS source
  FROM unnest(CAST(:codes AS text[]), CAST(:labels AS text[]), CAST(:domains AS text[]), CAST(:sources AS text[]))
    AS e (code, label, domain, source)
),
written AS (
  INSERT INTO entity_type AS t (tenant_id, code, label, domain, source, created_at, updated_at, actor)
  SELECT CAST(:tenant AS bigint), code, label, domain, source, now(), now(), CAST(:actor AS text)
  FROM entry
  ORDER BY code
  ON CONFLICT (tenant_id, code) DO UPDATE
  -- an entry that stays as it is keeps its record
  SET (label, domain, source, updated_at, actor) = (
    SELECT excluded.label, excluded.domain, excluded.source,
      CASE WHEN changed THEN excluded.updated_at ELSE t.updated_at END, CASE WHEN changed THEN excluded.actor ELSE t.actor END
    FROM (
      SELECT (t.label, t.domain, t.source) IS DISTINCT FROM (excluded.label, excluded.domain, excluded.source) AS changed
    ) compared
  )
  RETURNING code, created_at, updated_at, actor
)
-- this statement sees the table as it was before the INSERT
SELECT e.code, b.code IS NULL AS created,
  (b.code, b.label, b.domain, b.source) IS DISTINCT FROM (e.code, e.label, e.domain, e.source) AS changed,
  w.created_at, w.updated_at, w.actor
FROM entry e
JOIN written w ON w.code = e.code
LEFT JOIN entity_type b ON b.tenant_id = CAST(:tenant AS bigint) AND b.code = e.code
