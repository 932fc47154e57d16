"""GraphQL types of walks, paths and analytics."""
