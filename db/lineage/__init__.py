"""Lineage: walks, subgraphs, paths, graph algorithms and analytics."""
