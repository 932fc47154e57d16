"""Loads of files: parsers that know a format but no database, and the load that writes what they read."""
