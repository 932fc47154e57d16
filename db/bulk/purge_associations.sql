-- Removes bonds that are locked, with all that was ever said of them: how many they were, and how much that was.
WITH holding AS (
  DELETE FROM {effective}
  WHERE tenant_id = CAST(:tenant AS bigint) AND {subject} = ANY (CAST(:bonds AS bigint[]))
),
versions AS (
  DELETE FROM {versions}
  WHERE tenant_id = CAST(:tenant AS bigint) AND {subject} = ANY (CAST(:bonds AS bigint[]))
),
said AS (
  DELETE FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = '{kind}' AND subject_id = ANY (CAST(:bonds AS bigint[]))
  RETURNING seq
),
gone AS (
  DELETE FROM {identities}
  WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:bonds AS bigint[]))
  RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS subjects, (SELECT count(*) FROM said) AS changes
