"""The registries of entity types, detail types and relationship types."""
