-- Add identities. A uid that is in use gets no row. The rows are inserted in order of the uid, so that two batches cannot deadlock.
-- Parameters: :kind; :uids; :types, one for each, null for a product.
-- Used by: db.assets.asset.add_or_lock_each
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT CAST(:tenant AS bigint), uid, CAST(:kind AS text), type
FROM unnest(CAST(:uids AS uuid[]), CAST(:types AS text[])) AS n (uid, type)
ORDER BY uid
ON CONFLICT DO NOTHING
RETURNING id, uid, type
