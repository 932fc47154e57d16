-- Cuts every version of every link anew and compares. A row is a difference.
WITH scope AS (
  SELECT id AS subject_id, CAST('-infinity' AS timestamptz) AS since
  FROM link
  WHERE tenant_id = CAST(:tenant AS bigint)
),
{include link_pieces},
standing AS (
  SELECT *
  FROM lineage_link
  WHERE tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.link_id, s.link_id) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from, CASE
    WHEN s.link_id IS NULL THEN 'a link that should hold is missing'
    WHEN t.link_id IS NULL THEN 'a link holds that was not asserted, or that outlives one of its ends'
    WHEN s.valid_to <> t.valid_to THEN 'a link ends at another instant than what was asserted of it and the lives of its ends say'
    WHEN (s.source_id, s.target_id, s.producer) IS DISTINCT FROM (t.source_id, t.target_id, t.producer)
      THEN 'a link holds between other ends, or by another word, than those it was given'
    ELSE 'a link differs in content from what was asserted of it'
  END AS difference
FROM target t
FULL JOIN standing s ON s.link_id = t.link_id AND s.valid_from = t.valid_from
WHERE t.link_id IS NULL OR s.link_id IS NULL OR s.valid_to <> t.valid_to
  OR (s.source_id, s.target_id, s.producer, s.type, s.transformation, s.confidence, s.metadata, s.digest)
    IS DISTINCT FROM (t.source_id, t.target_id, t.producer, t.type, t.transformation, t.confidence, t.metadata, t.digest)
ORDER BY 1, 2
