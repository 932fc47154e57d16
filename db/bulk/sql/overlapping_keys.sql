-- Find the keys that entities have at the same time as another entity of their type.
-- Parameters: :subjects ids of the entities.
-- Used by: db.bulk.ingest._name_conflicts
SELECT own.compared AS name, own.asset_id, other.asset_id AS other_id, greatest(own.valid_from, other.valid_from) AS since,
  nullif(least(own.valid_to, other.valid_to), 'infinity') AS until
FROM unnest(CAST(:subjects AS bigint[])) AS entity (asset_id)
-- (OFFSET 0 keeps both reads index look-ups by entity and by key, which a planner with outdated statistics would turn into scans.)
CROSS JOIN LATERAL (
  SELECT *
  FROM entity_key k
  WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.asset_id = entity.asset_id
  OFFSET 0
) own
CROSS JOIN LATERAL (
  SELECT *
  FROM entity_key k
  WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.type = own.type AND k.compared = own.compared AND k.asset_id <> own.asset_id
    AND k.valid_from < own.valid_to AND k.valid_to > own.valid_from
  OFFSET 0
) other
