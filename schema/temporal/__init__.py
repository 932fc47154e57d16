"""GraphQL types of history, changes and differences."""
