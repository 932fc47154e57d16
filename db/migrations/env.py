"""Alembic's entry point. It uses the connection, and the locked transaction, of `db.migrations.upgrade`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
