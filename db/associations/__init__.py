"""Associations between two assets: lineage links and relationships, and the stubs that relationships create."""
