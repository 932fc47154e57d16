"""Registry of entity types: the types that entities may have, the domain of each, and the source of its external records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Text, select

from db import fields
from db.connection import ReadConnection, WriteConnection
from db.entry_list import EntryList
from db.errors import BadInput, Conflict
from db.filters import TENANT, any_of, distinct
from db.registries.domain import add_domains
from db.registries.endpoint import read_endpoint
from db.registries.registry import PutOutcome, RegistryRecord, entities_have, lock_type, put_one, record_of
from db.registries.service_grants import ServiceGrants
from db.sql import compose, statement
from db.tables import entity_type as entity_types
from db.temporal.kinds import ASSET_KINDS

_BY_CODE = compose(select(entity_types).where(entity_types.c.tenant_id == TENANT, entity_types.c.code == any_of("codes", Text)))
_COUNT_USE = statement("registries/count_entity_type_use")
_LOCK = statement("registries/lock_entity_type")
_PUT = statement("registries/put_entity_types")
_REMOVE = statement("registries/remove_entity_type")


@dataclass(frozen=True, slots=True)
class EntityTypeRow(RegistryRecord):
    """An entity type. A source has the keys service, endpoint, lookup_field and is_local."""

    code: str
    label: str
    domain: str | None
    source: dict[str, Any] | None


def _entity_type(row: Any) -> EntityTypeRow:
    return EntityTypeRow(row.code, row.label, row.domain, row.source, **record_of(row))


# All entity types, in order of the code.
ENTITY_TYPES = EntryList(entity_types, _entity_type, entity_types.c.code)


async def entity_types_by_code(connection: ReadConnection, codes: Sequence[str]) -> list[EntityTypeRow | None]:
    """Find entity types by code."""
    rows = await connection.fetch(_BY_CODE, {"codes": distinct(codes)})
    types = {row.code: _entity_type(row) for row in rows}
    return [types.get(code) for code in codes]


async def put(
    connection: WriteConnection,
    code: str,
    label: str,
    domain: str | None = None,
    source: Mapping[str, Any] | None = None,
    *,
    grants: ServiceGrants | None = None,
) -> EntityTypeRow:
    """Register an entity type, or replace the one with this code. Without grants, its source may name any service."""
    row = validate_state(code, label, domain, source)
    if grants is not None:
        grants.check(row.source)
    return await put_one(connection, row, put_each)


def validate_state(code: str, label: str, domain: str | None = None, source: Mapping[str, Any] | None = None) -> EntityTypeRow:
    """Validate a whole entity type."""
    if code in (kind.name for kind in ASSET_KINDS):
        raise BadInput(f"code is {code}, the name of a kind of asset. Choose another code.", field="code")
    return EntityTypeRow(
        code=fields.code("code", code),
        label=fields.line("label", label),
        domain=None if domain is None else fields.line("domain", domain),
        source=None if source is None else _source(source),
    )


async def put_each(connection: WriteConnection, rows: Sequence[EntityTypeRow]) -> list[PutOutcome]:
    """Register entity types with different codes, or replace those with their codes."""
    await add_domains(connection, [row.domain for row in rows if row.domain is not None])
    written = await connection.fetch(
        _PUT,
        {
            "codes": [row.code for row in rows],
            "labels": [row.label for row in rows],
            "domains": [row.domain for row in rows],
            "sources": [None if row.source is None else orjson.dumps(row.source).decode() for row in rows],
            "actor": connection.author.actor,
        },
    )
    outcomes = {row.code: PutOutcome(row.created, row.changed, RegistryRecord(**record_of(row))) for row in written}
    return [outcomes[row.code] for row in rows]


async def remove(connection: WriteConnection, code: str) -> None:
    """Remove an entity type. Raise Conflict if an entity has or had it, or a relationship type leads from or to it."""
    missing = await lock_type(connection, _LOCK, code, label="entity type")
    if missing is not None:
        raise missing
    use = await connection.fetch_one(_COUNT_USE, {"code": code})
    if use is not None and use.entities:
        raise Conflict(
            f"{entities_have(use.entities)} the type {code!r}, deleted entities included. It cannot be removed.",
            field="code",
            blind=f"Entities have the type {code!r}, deleted entities included. It cannot be removed.",
        )
    if use is not None and use.relationship_type is not None:
        raise Conflict(
            f"The relationship type {use.relationship_type} relates entities of the type {code!r}. Remove it first.",
            field="code",
            blind=f"A relationship type relates entities of the type {code!r}. Remove it first.",
        )
    await connection.execute(_REMOVE, {"code": code})


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "service": fields.line("service", source["service"]),
        "endpoint": read_endpoint(source["endpoint"]),
        "lookup_field": fields.line("lookupField", source["lookup_field"]),
        "is_local": bool(source.get("is_local")),
    }
