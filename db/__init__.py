"""The only SQL: tables, migrations, reads, writes, and the meaning of time."""
