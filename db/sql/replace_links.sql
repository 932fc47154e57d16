{include link_pieces},
standing AS (
  SELECT d.*
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT d.ctid AS place, d.link_id, d.valid_from, d.valid_to, d.digest
    FROM lineage_link d
    WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.link_id = s.subject_id AND d.valid_to >= s.since
    OFFSET 0
  ) d
),
-- what is on both sides stays
paired AS MATERIALIZED (
  SELECT s.place, t.*
  FROM standing s
  FULL JOIN target t
    ON t.link_id = s.link_id AND t.valid_from = s.valid_from AND t.valid_to = s.valid_to AND t.digest = s.digest
),
gone AS (
  DELETE FROM lineage_link d
  WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.ctid = ANY (ARRAY(SELECT place FROM paired WHERE link_id IS NULL))
  RETURNING d.link_id
)
INSERT INTO lineage_link (tenant_id, link_id, valid_from, valid_to, source_id, target_id, producer, type, transformation, confidence,
  metadata, digest)
SELECT CAST(:tenant AS bigint), link_id, valid_from, valid_to, source_id, target_id, producer, type, transformation, confidence,
  metadata, digest
FROM paired
-- counting what is gone has room made first
WHERE place IS NULL AND (SELECT count(*) FROM gone) >= 0
