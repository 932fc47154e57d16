"""GraphQL types of changes and of differences between two instants."""
