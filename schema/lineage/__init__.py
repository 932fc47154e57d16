"""GraphQL types of walks and paths."""
