"""`headwater serve`: the API for callers with a key or a token."""

import asyncio
from pathlib import Path

import structlog

from db.tenancy import api_key
from db.tenancy.scope import SCOPES
from db.tenant_ids import DEFAULT_TENANT_ID
from graph_api import asgi
from graph_api.auth.key_secret import key_signer
from graph_api.commands.author import author_of
from graph_api.commands.database import migrated_database, open_database
from graph_api.settings import Settings, read_settings

log = structlog.get_logger("headwater")


def serve(host: str | None, port: int | None, workers: int | None, data: Path | None) -> None:
    with migrated_database(read_settings(data=data, host=host, port=port, workers=workers)) as settings:
        created = asyncio.run(_create_bootstrap_key(settings))
        details = {"bootstrap_key": "made"} if created else {}
        asgi.serve(settings, lambda address: log.info("serving", address=address, **details))


async def _create_bootstrap_key(settings: Settings) -> bool:
    """Create the configured first key while the default tenant has none. Return True if it was created."""
    signer = key_signer(settings.key_secret)
    if settings.bootstrap_key is None:
        return False
    async with (
        open_database(settings) as database,
        database.transaction(DEFAULT_TENANT_ID, author_of("bootstrap")) as connection,
    ):
        return await api_key.bootstrap(connection, signer, settings.bootstrap_key, SCOPES)
