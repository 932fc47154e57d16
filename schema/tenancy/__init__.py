"""GraphQL types of the viewer and of API keys."""
