"""GraphQL types of walks, paths and differences."""
