"""Authentication: API keys, JWTs, the principals they act as, and a cache of lookups."""
