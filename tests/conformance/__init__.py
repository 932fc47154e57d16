"""Tests of the API with the tools of its consumers, one suite for each kind of consumer.

The overrides in package.json hold back packages whose later versions need a Node later than 20.
"""
