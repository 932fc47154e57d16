"""GraphQL types of the registries."""
