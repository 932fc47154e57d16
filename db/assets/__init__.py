"""Assets: identities, products, entities and domains."""
