"""Records in other systems: what is configured of a service, which addresses are connected to, and how they are fetched."""
