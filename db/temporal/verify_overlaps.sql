-- Versions of one subject that hold at the same instant, should the constraints ever have been away.
SELECT subject_id, valid_from, 'a version begins before the one before it ends' AS difference
FROM (
  SELECT v.{subject} AS subject_id, v.valid_from,
    lag(v.valid_to) OVER (PARTITION BY v.{subject} ORDER BY v.valid_from) AS ended_before
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
) neighbours
WHERE ended_before > valid_from
