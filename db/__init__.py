"""The database layer, which holds all SQL: connections, tables, migrations, reads and writes."""
