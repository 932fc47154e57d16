"""Bulk operations: ingest, export and purge."""
