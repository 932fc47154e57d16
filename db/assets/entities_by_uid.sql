-- Read entities by uid, at an instant.
-- Parameters: :uids; :as_of, the instant, or NULL for now.
-- Used by: db.assets.entity.entities_by_uid
SELECT a.kind, v.asset_id, a.uid, a.type, a.key, v.valid_from, NULLIF(v.valid_to, 'infinity') AS valid_to, v.created_at, v.display_name, v.details,
  coalesce(CAST(:as_of AS timestamptz), now()) AS as_of
FROM asset a
JOIN entity_version v
  ON v.tenant_id = a.tenant_id AND v.asset_id = a.id
  AND v.valid_from <= coalesce(CAST(:as_of AS timestamptz), now()) AND v.valid_to > coalesce(CAST(:as_of AS timestamptz), now())
WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = ANY (CAST(:uids AS uuid[]))
