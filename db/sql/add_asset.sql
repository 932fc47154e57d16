-- Gives a uid its identity. No row: somebody has it already.
INSERT INTO asset (tenant_id, uid, kind)
VALUES (CAST(:tenant AS bigint), CAST(:uid AS uuid), CAST(:kind AS text))
ON CONFLICT (tenant_id, uid) DO NOTHING
RETURNING id
