"""`headwater keys`: the API keys of a tenant."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from db.instants import read_instant, write_instant
from db.tenancy import api_key
from db.tenancy.api_key import KeyRow
from graph_api.auth.key_secret import key_signer
from graph_api.command_settings import CommandSettings
from graph_api.commands.author import author_of
from graph_api.commands.database import address_of, migrated_database_of, open_database, tenant_named
from graph_api.commands.output import print_table


def create(label: str, scope: Sequence[str], expires: str | None, operator: bool, tenant: str, data: Path | None) -> None:
    expires_at = None if expires is None else read_instant(expires)
    with migrated_database_of(data) as settings:
        key = asyncio.run(_create(settings, tenant, label, list(scope), expires_at, operator=operator))
    click.echo(key)
    click.echo("Keep the key now: it is shown only once. Send it as X-API-Key, or as Authorization: Bearer.", err=True)


def show(tenant: str, data: Path | None) -> None:
    with migrated_database_of(data) as settings:
        _print(asyncio.run(_all_keys(settings, tenant)))


def revoke(prefix: str, tenant: str, data: Path | None) -> None:
    with migrated_database_of(data) as settings:
        key, is_new = asyncio.run(_revoke(settings, tenant, prefix))
    click.echo(f"The key {key.prefix} ({key.label}) {'is' if is_new else 'was already'} revoked.")


async def _create(
    settings: CommandSettings, tenant: str, label: str, scopes: list[str], expires_at: datetime | None, *, operator: bool
) -> str:
    signer, author = key_signer(settings.key_secret), author_of("keys create")
    async with open_database(settings) as database:
        tenant_id = await tenant_named(database, tenant)
        if operator:
            address = address_of(settings)
            _, key = await api_key.create_operator(address, signer, tenant_id, label, scopes, expires_at, author)
        else:
            async with database.transaction(tenant_id, author) as connection:
                _, key = await api_key.create(connection, signer, label, scopes, expires_at)
    return key


async def _all_keys(settings: CommandSettings, tenant: str) -> list[KeyRow]:
    async with (
        open_database(settings) as database,
        database.snapshot(await tenant_named(database, tenant)) as connection,
    ):
        return await api_key.KEYS.all(connection)


async def _revoke(settings: CommandSettings, tenant: str, prefix: str) -> tuple[KeyRow, bool]:
    async with open_database(settings) as database:
        tenant_id = await tenant_named(database, tenant)
        async with database.transaction(tenant_id, author_of("keys revoke")) as connection:
            return await api_key.revoke(connection, prefix)


def _print(keys: list[KeyRow]) -> None:
    rows = []
    for key in keys:
        ends = f"revoked {write_instant(key.revoked_at)}" if key.revoked_at else _instant(key.expires_at)
        scopes = ", ".join([*key.scopes, *(["operator"] if key.operator else [])])
        rows.append([key.prefix, key.label, scopes, _instant(key.created_at), key.created_by, ends, _instant(key.last_used_at)])
    print_table(["key", "label", "scopes", "created", "by", "ends", "last used"], rows)


def _instant(instant: datetime | None) -> str:
    return "" if instant is None else write_instant(instant)
