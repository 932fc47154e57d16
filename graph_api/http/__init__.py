"""HTTP: the GraphQL endpoint, the middlewares around it, and the limits of requests."""
