"""GraphiQL: its page, its example tabs, and the build of its bundle."""
