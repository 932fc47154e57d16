-- Find changes whose subject does not exist or is of another kind, and subjects without a change.
-- Tokens: {kind}, {identities}, {is_of_kind}.
-- Used by: db.temporal.verification.verify_tenant
SELECT c.subject_id, min(c.change_ts) AS valid_from, 'the change log has changes of a subject that does not exist' AS difference
FROM change c
LEFT JOIN {identities} i ON i.tenant_id = c.tenant_id AND i.id = c.subject_id AND {is_of_kind}
WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND i.id IS NULL
GROUP BY c.subject_id
UNION ALL
SELECT i.id, NULL, 'a subject exists of which the change log has no change'
FROM {identities} i
WHERE i.tenant_id = CAST(:tenant AS bigint) AND {is_of_kind}
  AND NOT EXISTS (
    SELECT FROM change c WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = i.id
  )
