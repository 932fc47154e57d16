-- Read all entity types and detail types, and lock some detail types, so that their formats do not change before the
-- transaction ends.
-- Parameters: :codes of the detail types to lock.
-- Used by: db.registries.type_registry.read_type_registry_locked
{include _type_registry}
-- the locked types come a second time, with the format that the lock guarantees
UNION ALL
SELECT false, code, format
FROM (
  SELECT code, format
  FROM detail_type
  WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:codes AS text[]))
  ORDER BY code
  FOR KEY SHARE
) locked
