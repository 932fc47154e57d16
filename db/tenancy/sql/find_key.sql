-- Read a key by its name, with the tenant's name and suspension, for authentication.
-- Parameters: :name of the key.
-- Used by: db.tenancy.api_key.find
SELECT k.name, k.label, k.digest, k.scopes, k.operator, k.expires_at, k.revoked_at, k.last_used_at, t.name AS tenant, t.suspended_because
FROM api_key k
JOIN tenant t ON t.tenant_id = k.tenant_id
WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.name = CAST(:name AS text)
