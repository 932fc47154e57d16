"""Loads with `headwater ingest` beside COPY."""
