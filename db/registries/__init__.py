"""Registries of entity types, detail types and relationship types."""
