"""GraphiQL: its page, its example queries, and the build of its bundle."""
