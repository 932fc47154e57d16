"""The API as its consumers' own tools see it, one suite for each kind of consumer.

The overrides in package.json hold back packages whose later versions want a Node later than 20.
"""
