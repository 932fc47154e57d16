-- Read all entity types and detail types.
-- Used by: db.registries.type_registry.read_type_registry
{include _type_registry}
