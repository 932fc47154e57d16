-- The details of an entity at an instant, each as an object, in order of their type; NULL if it has none.
-- Tokens: {entity}, the row of entity_version; {instant}; {members} further members of the objects
-- Used by: db.assets.asset_fields.computed_fields
SELECT jsonb_agg(
    jsonb_build_object('code', t.code, 'label', t.label, 'format', t.format, 'value', d.value {members}) ORDER BY t.code
  )
FROM entity_detail d
JOIN detail_type t ON t.tenant_id = d.tenant_id AND t.code = d.detail_type
WHERE d.tenant_id = {entity}.tenant_id AND d.asset_id = {entity}.asset_id
  AND d.valid_from <= {instant} AND d.valid_to > {instant}
