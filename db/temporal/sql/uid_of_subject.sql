-- Read the uid of a subject.
-- Parameters: :subject id.
-- Tokens: {identities} of the kind.
-- Used by: db.temporal.change_log.uid_of_subject
SELECT uid
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND id = CAST(:subject AS bigint)
