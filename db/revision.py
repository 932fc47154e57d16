"""Revisions of the schema: the one that this version expects, and the one that a database is at."""

from functools import cache
from importlib.resources import files

from db.database import owner_transaction
from db.sql import text

_READ_REVISION = text("SELECT version_num FROM alembic_version")


@cache
def latest_revision() -> str:
    """Return the number of the last migration, which its files are named by."""
    versions = files("db").joinpath("migrations/versions")
    return max(it.name.partition("_")[0] for it in versions.iterdir() if it.name.endswith(".sql"))


async def revision_of(address: str) -> str | None:
    """Return the revision of a database, or None if it has none. Raise Unavailable if it was never migrated."""
    async with owner_transaction(address) as connection:
        row = await connection.fetch_one(_READ_REVISION)
    return None if row is None else str(row.version_num)
