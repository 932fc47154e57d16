-- Add identities. A uid or key that is in use gets no row. The rows are inserted in order of the uid, so that two batches
-- cannot deadlock.
-- Parameters: :kind; :uids; :types and :keys, one for each, null for an asset without a key.
-- Used by: db.assets.asset.add_or_lock_each
INSERT INTO asset (tenant_id, uid, kind, type, key)
SELECT CAST(:tenant AS bigint), uid, CAST(:kind AS text), type, key
FROM unnest(CAST(:uids AS uuid[]), CAST(:types AS text[]), CAST(:keys AS text[])) AS n (uid, type, key)
ORDER BY uid
ON CONFLICT DO NOTHING
RETURNING id, uid, type, key
