"""Authentication: keys, tokens and the cache of both."""
