-- Count the entities that have or had a detail of a type.
-- Parameters: :code of the detail type.
-- Used by: db.registries.detail_type._lock_and_check_unused
WITH in_details AS (
  SELECT asset_id
  FROM entity_detail
  WHERE tenant_id = CAST(:tenant AS bigint) AND detail_type = CAST(:code AS text)
),
-- Without any, the change log may still hold a patch with such a detail, of an instant at which its entity does not exist.
-- The detail appears as soon as a late change makes the entity exist then.
in_patches AS (
  SELECT subject_id
  FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = 'ENTITY' AND operation = 'PATCH'
    AND payload -> 'details' ->> CAST(:code AS text) IS NOT NULL AND NOT EXISTS (SELECT FROM in_details)
)
SELECT count(*) AS entities
FROM (SELECT asset_id FROM in_details UNION SELECT subject_id FROM in_patches) AS used
