"""Names of domains. A domain is added when a product or an entity type first names it."""

from collections.abc import Collection

from db.connection import WriteConnection
from db.sql import statement

_ADD = statement("registries/add_domains")


async def add_domains(connection: WriteConnection, names: Collection[str]) -> None:
    """Add the domains with these names that do not exist yet."""
    if names:
        await connection.execute(_ADD, {"names": list(names)})
