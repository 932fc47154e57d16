"""GraphQL types of lineage links and relationships."""
