-- Read entities by uid, at an instant.
-- Parameters: :uids; :instant at which the entities are read.
-- Used by: db.assets.entity.entities_by_uid
SELECT v.asset_id, a.uid, a.type, a.key, v.valid_from, NULLIF(v.valid_to, 'infinity') AS valid_to, v.created_at, v.display_name, v.details
FROM asset a
JOIN entity_version v
  ON v.tenant_id = a.tenant_id AND v.asset_id = a.id
  AND v.valid_from <= CAST(:instant AS timestamptz) AND v.valid_to > CAST(:instant AS timestamptz)
WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = ANY (CAST(:uids AS uuid[]))
