"""PostgreSQL from a wheel, run as a server of one data directory."""
