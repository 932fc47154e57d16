-- Gives assets their identities, always in order of uid, so that two batches cannot wait for each other. Whose uid or key is borne
-- already has no row.
INSERT INTO asset (tenant_id, uid, kind, type, key)
SELECT CAST(:tenant AS bigint), uid, CAST(:kind AS text), type, key
FROM unnest(CAST(:uids AS uuid[]), CAST(:types AS text[]), CAST(:keys AS text[])) AS n (uid, type, key)
ORDER BY uid
ON CONFLICT DO NOTHING
RETURNING id, uid, type, key
