"""The running service: HTTP, commands, settings and identity."""
