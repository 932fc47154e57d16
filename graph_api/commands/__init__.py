"""Implementations of the commands that `graph_api.cli` declares. Each module is imported when its command runs."""
