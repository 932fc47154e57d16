-- Count what may be removed: for each kind, the subjects and their changes.
-- Parameters: :before the end of retention.
-- Used by: db.bulk.purge.count_past_retention
WITH eligible AS MATERIALIZED (
  SELECT DISTINCT e.kind, e.subject_id
  FROM change e
  WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.kind IN ('PRODUCT', 'ENTITY') AND e.operation = 'DELETE'
    AND e.change_ts <= CAST(:before AS timestamptz)
    AND {include _purge_eligible}
),
-- UNION rather than UNION ALL: an association between two of these assets counts once.
subjects AS (
  SELECT kind, subject_id
  FROM eligible
  UNION
  SELECT 'LINK', link.id
  FROM eligible
  CROSS JOIN LATERAL (
    SELECT i.id FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.source_id = eligible.subject_id
    UNION ALL
    SELECT i.id FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.target_id = eligible.subject_id
    OFFSET 0
  ) link
  UNION
  SELECT 'RELATIONSHIP', relationship.id
  FROM eligible
  CROSS JOIN LATERAL (
    SELECT i.id FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.origin_id = eligible.subject_id
    UNION ALL
    SELECT i.id FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.related_id = eligible.subject_id
    OFFSET 0
  ) relationship
)
SELECT s.kind, count(*) AS subjects, CAST(sum(log.changes) AS bigint) AS changes
FROM subjects s
CROSS JOIN LATERAL (
  SELECT count(*) AS changes
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = s.kind AND c.subject_id = s.subject_id
  OFFSET 0
) log
GROUP BY s.kind
