-- Read entities by type and key, at an instant.
-- Parameters: :types codes; :keys, one for each; :as_of, the instant, or NULL for now.
-- Used by: db.assets.entity.entities_by_key
SELECT a.kind, v.asset_id, a.uid, a.type, a.key, v.valid_from, NULLIF(v.valid_to, 'infinity') AS valid_to, v.created_at, v.display_name, v.details,
  coalesce(CAST(:as_of AS timestamptz), now()) AS as_of
FROM unnest(CAST(:types AS text[]), CAST(:keys AS text[])) AS named (type, key)
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.type = named.type AND a.key = named.key
JOIN entity_version v
  ON v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id
  AND v.valid_from <= coalesce(CAST(:as_of AS timestamptz), now()) AND v.valid_to > coalesce(CAST(:as_of AS timestamptz), now())
