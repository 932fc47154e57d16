-- How much is to be removed for good: of each kind, how many and how much of the log.
WITH past AS MATERIALIZED (
  SELECT DISTINCT e.kind, e.subject_id
  FROM change e
  WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.kind IN ('PRODUCT', 'ENTITY') AND e.operation = 'DELETE'
    AND e.change_ts <= CAST(:before AS timestamptz)
    AND {include _purge_eligible}
),
-- what is between two of them counts once
subjects AS (
  SELECT kind, subject_id
  FROM past
  UNION
  SELECT 'LINK', b.id
  FROM past
  CROSS JOIN LATERAL (
    SELECT i.id FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.source_id = past.subject_id
    UNION ALL
    SELECT i.id FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.target_id = past.subject_id
    OFFSET 0
  ) b
  UNION
  SELECT 'RELATIONSHIP', b.id
  FROM past
  CROSS JOIN LATERAL (
    SELECT i.id FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.origin_id = past.subject_id
    UNION ALL
    SELECT i.id FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.related_id = past.subject_id
    OFFSET 0
  ) b
)
SELECT s.kind, count(*) AS subjects, CAST(sum(said.changes) AS bigint) AS changes
FROM subjects s
CROSS JOIN LATERAL (
  SELECT count(*) AS changes
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = s.kind AND c.subject_id = s.subject_id
  OFFSET 0
) said
GROUP BY s.kind
