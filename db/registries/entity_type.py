"""The registry of entity types: what an entity may be, who owns such things, and where their records live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Text, select

from db import fields
from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, Conflict, NotFound
from db.filters import any_of
from db.registries.endpoint import read_endpoint
from db.sql import statement
from db.tables import entity_type as entity_types
from db.temporal.kinds import ASSET_KINDS

_ADD_DOMAINS = statement("registries/add_domains")
_COUNT_USE = statement("registries/count_entity_type_use")
_LOCK = statement("registries/lock_entity_type")
_PUT = statement("registries/put_entity_types")
_REMOVE = statement("registries/remove_entity_type")


class PutOutcome(NamedTuple):
    """What became of an entry of a registry."""

    created: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class EntityTypeRow:
    """A type of entity. Its source, if it has one: service, endpoint, lookup_field and is_local."""

    code: str
    label: str
    domain: str | None
    source: dict[str, Any] | None


async def all_entity_types(connection: ReadConnection) -> list[EntityTypeRow]:
    """Every type, in order of the code."""
    mine = select(entity_types).where(entity_types.c.tenant_id == connection.tenant_id)
    return [_entity_type(row) for row in await connection.fetch(mine.order_by(entity_types.c.code))]


async def entity_types_by_code(connection: ReadConnection, codes: Sequence[str]) -> list[EntityTypeRow | None]:
    mine = select(entity_types).where(entity_types.c.tenant_id == connection.tenant_id)
    rows = await connection.fetch(mine.where(entity_types.c.code == any_of(codes, Text)))
    found = {row.code: _entity_type(row) for row in rows}
    return [found.get(code) for code in codes]


async def put(
    connection: WriteConnection,
    code: str,
    label: str,
    domain: str | None = None,
    source: Mapping[str, Any] | None = None,
) -> EntityTypeRow:
    """Register a type, or replace the whole of what is registered of it."""
    row = validate_state(code, label, domain, source)
    await put_each(connection, [row])
    return row


def validate_state(code: str, label: str, domain: str | None = None, source: Mapping[str, Any] | None = None) -> EntityTypeRow:
    """A whole type: what is left out is not registered of it."""
    if code in (kind.name for kind in ASSET_KINDS):
        raise BadInput(f"{code} is a kind of asset, and cannot be the code of a type, too.", field="code")
    return EntityTypeRow(
        code=fields.code("code", code),
        label=fields.line("label", label),
        domain=None if domain is None else fields.line("domain", domain),
        source=None if source is None else _source(source),
    )


async def put_each(connection: WriteConnection, rows: Sequence[EntityTypeRow]) -> list[PutOutcome]:
    """Register types, each once, or replace the whole of what is registered of them."""
    domains = [row.domain for row in rows if row.domain is not None]
    if domains:
        await connection.execute(_ADD_DOMAINS, {"names": domains})
    written = await connection.fetch(
        _PUT,
        {
            "codes": [row.code for row in rows],
            "labels": [row.label for row in rows],
            "domains": [row.domain for row in rows],
            "sources": [None if row.source is None else orjson.dumps(row.source).decode() for row in rows],
        },
    )
    found = {it.code: PutOutcome(it.created, it.changed) for it in written}
    return [found[row.code] for row in rows]


async def remove(connection: WriteConnection, code: str) -> None:
    """Take a type out of the registry that no entity has, or ever had, and that nothing joins."""
    # whoever is about to give an entity this type waits for the lock, and whoever just did is counted
    if await connection.fetch_one(_LOCK, {"code": code}) is None:
        raise NotFound(f"There is no entity type {code!r}.", field="code")
    use = await connection.fetch_one(_COUNT_USE, {"code": code})
    if use is not None and use.entities:
        have = "1 entity has" if use.entities == 1 else f"{use.entities} entities have"
        raise Conflict(f"{have} this type (ended ones count: their history needs it). It cannot be removed.", field="code")
    if use is not None and use.joined_by is not None:
        raise Conflict(f"The relationship type {use.joined_by} joins entities of this type. Remove that first.", field="code")
    await connection.execute(_REMOVE, {"code": code})


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "service": fields.line("service", source["service"]),
        "endpoint": read_endpoint(source["endpoint"]),
        "lookup_field": fields.line("lookupField", source["lookup_field"]),
        "is_local": bool(source.get("is_local")),
    }


def _entity_type(row: Any) -> EntityTypeRow:
    return EntityTypeRow(row.code, row.label, row.domain, row.source)
