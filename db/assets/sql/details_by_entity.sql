-- Read the details of entities, each entity at its own instant, with the detail type and the validity of each detail.
-- Parameters: :assets ids; :instants, one for each; :types codes to read, NULL for all.
-- Used by: db.assets.entity.details_by_entity
SELECT wanted.ordinal, t.code, t.label, t.format, t.role, t.created_at, t.updated_at, t.actor, d.value, d.valid_from, NULLIF(d.valid_to, 'infinity') AS valid_to
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS wanted (asset_id, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT *
  FROM entity_detail d
  WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.asset_id = wanted.asset_id
    AND d.valid_from <= wanted.instant AND d.valid_to > wanted.instant
    AND (CAST(:types AS text[]) IS NULL OR d.detail_type = ANY (CAST(:types AS text[])))
  OFFSET 0
) d
JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = d.detail_type
ORDER BY wanted.ordinal, t.code
