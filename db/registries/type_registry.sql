-- Read all entity types and detail types.
-- Used by: registries.type_registry.read_type_registry
{include _type_registry}
