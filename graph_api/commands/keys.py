"""`headwater keys`: what people and programs come in with."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from db.database import Database
from db.instants import read_instant, write_instant
from db.tenancy import api_key
from db.tenancy.api_key import KeyRow, KeySigner
from graph_api.auth.authenticator import key_signer
from graph_api.commands import (
    DEFAULT_TENANT,
    Data,
    InTenant,
    address_of,
    author_of,
    err,
    on_database,
    out,
    require_migrated,
    show,
    tenant_named,
)
from graph_api.settings import Settings, read_settings

keys = typer.Typer(no_args_is_help=True, help="What people and programs come in with.")


@keys.command("create")
def create(
    label: Annotated[str, typer.Argument(help="What the key is for, or whose it is.")],
    scope: Annotated[list[str], typer.Option(help="What it may do: read, write, admin, or write:DOMAIN. Given once for each.")],
    expires: Annotated[
        str | None, typer.Option(help="The instant at which it ends. Without it, it ends when it is revoked.", metavar="INSTANT")
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="It may act in any tenant that a request names by X-Headwater-Tenant.")
    ] = False,
    tenant: InTenant = DEFAULT_TENANT,
    data: Data = None,
) -> None:
    """Make a key. It is written to standard output, once; nobody can tell it again."""
    expires_at = None if expires is None else read_instant(expires)
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        key = asyncio.run(_create(running, tenant, key_signer(running), label, scope, expires_at, operator=operator))
    typer.echo(key)
    err.print("Keep it now: it is shown this once. Send it as X-API-Key, or as Authorization: Bearer.", soft_wrap=True)


@keys.command("list")
def list_(tenant: InTenant = DEFAULT_TENANT, data: Data = None) -> None:
    """Name the keys of a tenant, those that ended, too."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        _show(asyncio.run(_list(running, tenant)))


@keys.command("revoke")
def revoke(
    prefix: Annotated[str, typer.Argument(help="What the key begins with, as `list` shows it.")],
    tenant: InTenant = DEFAULT_TENANT,
    data: Data = None,
) -> None:
    """End a key, for good."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        key, now = asyncio.run(_revoke(running, tenant, prefix))
    since = "" if now else " since before"
    out.print(f"{key.prefix} ({key.label}) is revoked{since}.", highlight=False, markup=False, soft_wrap=True)


async def _create(
    settings: Settings,
    tenant: str,
    seal: KeySigner,
    label: str,
    scopes: list[str],
    expires_at: datetime | None,
    *,
    operator: bool,
) -> str:
    database, author = Database(address_of(settings), pool_size=1), author_of("keys create")
    try:
        tenant_id = await tenant_named(database, tenant)
        if operator:
            address = address_of(settings)
            _, key = await api_key.create_operator(address, seal, tenant_id, label, scopes, expires_at, author)
        else:
            async with database.transaction(tenant_id, author) as connection:
                _, key = await api_key.create(connection, seal, label, scopes, expires_at)
    finally:
        await database.close()
    return key


async def _list(settings: Settings, tenant: str) -> list[KeyRow]:
    database = Database(address_of(settings), pool_size=1)
    try:
        async with database.snapshot(await tenant_named(database, tenant)) as connection:
            return await api_key.all_keys(connection)
    finally:
        await database.close()


async def _revoke(settings: Settings, tenant: str, prefix: str) -> tuple[KeyRow, bool]:
    database = Database(address_of(settings), pool_size=1)
    try:
        async with database.transaction(await tenant_named(database, tenant), author_of("keys revoke")) as connection:
            return await api_key.revoke(connection, prefix)
    finally:
        await database.close()


def _show(found: list[KeyRow]) -> None:
    rows = []
    for it in found:
        ends = f"revoked {write_instant(it.revoked_at)}" if it.revoked_at else _when(it.expires_at)
        scopes = ", ".join([*it.scopes, *(["operator"] if it.operator else [])])
        rows.append([it.prefix, it.label, scopes, _when(it.created_at), it.created_by, ends, _when(it.last_used_at)])
    show(["key", "label", "scopes", "made", "by", "ends", "last used"], rows)


def _when(instant: datetime | None) -> str:
    return "" if instant is None else write_instant(instant)
