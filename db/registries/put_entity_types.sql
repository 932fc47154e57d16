-- Registers types of entities, each once, or replaces the whole of what is registered; which of them were new, and which are other now.
-- Always in order of the code, so that two batches cannot wait for each other.
WITH given AS (
  SELECT code, label, domain, CAST(source AS jsonb) AS source
  FROM unnest(CAST(:codes AS text[]), CAST(:labels AS text[]), CAST(:domains AS text[]), CAST(:sources AS text[]))
    AS g (code, label, domain, source)
),
written AS (
  INSERT INTO entity_type (tenant_id, code, label, domain, source)
  SELECT CAST(:tenant AS bigint), code, label, domain, source
  FROM given
  ORDER BY code
  ON CONFLICT (tenant_id, code) DO UPDATE
  SET label = excluded.label, domain = excluded.domain, source = excluded.source
)
-- what stood before this statement is what it sees
SELECT g.code, b.code IS NULL AS created,
  (b.code, b.label, b.domain, b.source) IS DISTINCT FROM (g.code, g.label, g.domain, g.source) AS changed
FROM given g
LEFT JOIN entity_type b ON b.tenant_id = CAST(:tenant AS bigint) AND b.code = g.code
