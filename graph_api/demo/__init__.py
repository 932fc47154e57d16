"""Demo data: data products of an online shop, their lineage and relationships, and a year of changes."""

from graph_api.demo.loading import load

__all__ = ["load"]
