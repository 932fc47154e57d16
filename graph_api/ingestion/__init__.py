"""The ways in for what other tools know: parsers that know a format and no database, and the one that loads what they read."""
