-- The details of an entity at an instant, in order of their type: an array of arrays that `db.assets.entity.details_in` reads.
-- Tokens: {entity}, the row of entity_version; {instant}
-- Used by: db.assets.asset_list.select_assets, db.assets.node.node_fields
SELECT jsonb_agg(
    jsonb_build_array(t.code, t.label, t.format, d.value, d.valid_from, NULLIF(d.valid_to, 'infinity')) ORDER BY t.code
  )
FROM entity_detail d
JOIN detail_type t ON t.tenant_id = d.tenant_id AND t.code = d.detail_type
WHERE d.tenant_id = {entity}.tenant_id AND d.asset_id = {entity}.asset_id
  AND d.valid_from <= {instant} AND d.valid_to > {instant}
