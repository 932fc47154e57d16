"""GraphQL types of history."""
