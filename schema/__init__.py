"""GraphQL: types, resolvers, loaders and the executor."""
