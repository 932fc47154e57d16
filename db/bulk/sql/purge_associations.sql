-- Remove locked associations with their versions, effective rows and changes, and return how many associations and changes
-- that were.
-- Parameters: :associations the ids of locked associations of the kind.
-- Tokens: {kind}, {identities}, {versions}, {effective}, {subject} of the kind.
-- Used by: db.bulk.purge._PurgeTransaction._remove
WITH effective AS (
  DELETE FROM {effective}
  WHERE tenant_id = CAST(:tenant AS bigint) AND {subject} = ANY (CAST(:associations AS bigint[]))
),
versions AS (
  DELETE FROM {versions}
  WHERE tenant_id = CAST(:tenant AS bigint) AND {subject} = ANY (CAST(:associations AS bigint[]))
),
changes AS (
  DELETE FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = '{kind}' AND subject_id = ANY (CAST(:associations AS bigint[]))
  RETURNING seq
),
identities AS (
  DELETE FROM {identities}
  WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:associations AS bigint[]))
  RETURNING id
)
SELECT (SELECT count(*) FROM identities) AS subjects, (SELECT count(*) FROM changes) AS changes
