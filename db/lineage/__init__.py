"""Lineage: walks, paths, graph algorithms and analytics."""
