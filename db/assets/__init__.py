"""Assets: identities, products, entities and the domains they belong to."""
