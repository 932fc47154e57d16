-- Count the entities of a type, deleted ones included, and find a relationship type with this type at an end, if there is one.
-- Parameters: :code of the entity type.
-- Used by: db.registries.entity_type.remove
SELECT count(*) AS entities, (
    SELECT min(t.origin || ' ' || t.key || ' ' || t.related)
    FROM relationship_type t
    WHERE t.tenant_id = CAST(:tenant AS bigint) AND CAST(:code AS text) IN (t.origin_type, t.related_type)
  ) AS relationship_type
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND type = CAST(:code AS text)
