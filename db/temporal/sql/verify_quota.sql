-- Compare the number of identities of a kind with the number that is counted as used. Return a row if they differ.
-- Parameters: :kind of the identities; :pending, how many this transaction has added and will count when it commits.
-- Tokens: {identities}, {is_of_kind}.
-- Used by: db.temporal.verification.verify_tenant
SELECT quota.used, actual.identities
FROM (SELECT count(*) AS identities FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND {is_of_kind}) actual
LEFT JOIN quota ON quota.tenant_id = CAST(:tenant AS bigint) AND quota.kind = CAST(:kind AS text)
WHERE coalesce(quota.used, 0) + CAST(:pending AS bigint) <> actual.identities
