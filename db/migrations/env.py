"""Alembic's entry: it runs on the connection, and in the transaction, that `db.migrations.upgrade` opened and locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
