-- What nodes of a graph show of an entity, as an object: the label and the domain of its type, and the details that play a role, each
-- as a pair of role and value, in order of their type; NULL if there is none.
-- Tokens: {entity}, the row of entity_version; {type}, the code of its type
-- Used by: db.assets.asset_fields.computed_fields
SELECT jsonb_build_object('label', t.label, 'domain', t.domain, 'roles', (
    SELECT jsonb_agg(jsonb_build_array(d.role, {entity}.details ->> d.code) ORDER BY d.code)
    FROM detail_type d
    WHERE d.tenant_id = {entity}.tenant_id AND d.role IS NOT NULL AND {entity}.details ? d.code
  ))
FROM entity_type t
WHERE t.tenant_id = {entity}.tenant_id AND t.code = {type}
