"""GraphQL types of assets: products, entities and domains."""
