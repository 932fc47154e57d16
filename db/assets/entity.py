"""Entities: whatever has a type, a name and typed details. What they are at an instant, and how they come to be and change."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import ColumnElement, Numeric, Select, Text, any_, cast, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from db.assets import asset, entity_fields
from db.assets.domain import DOMAIN, INSTANT, DomainAt, count_of_each, page_of_each
from db.assets.entity_fields import TypeRegistry
from db.connection import ReadConnection, WriteConnection
from db.consistency.lifecycle import record_asset_change
from db.errors import BadInput, Conflict
from db.filters import TENANT, any_of, contains_pattern
from db.pagination import Page, Slice
from db.registries.detail_format import format_error
from db.registries.detail_type import DetailTypeRow
from db.sql import statement
from db.tables import asset as assets
from db.tables import entity_detail as entity_details
from db.tables import entity_type as entity_types
from db.tables import entity_version as versions
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kind import Instant
from db.temporal.kinds import ENTITY

_BY_UID = statement("assets/entities_by_uid")
_BY_KEY = statement("assets/entities_by_key")
_DETAILS = statement("assets/details_by_entity")
_TYPE_REGISTRY = statement("registries/type_registry")
_TYPE_REGISTRY_LOCKED = statement("registries/type_registry_locked")

_BY_KEY_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/entity/key")


@dataclass(frozen=True, slots=True)
class EntityRow:
    """An entity as it was at one instant."""

    asset_id: int
    uid: UUID
    type: str
    key: str | None
    as_of: datetime
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    display_name: str
    details: dict[str, str]


@dataclass(frozen=True, slots=True)
class DetailRow:
    """One detail of an entity, and how long it has had this value."""

    type: DetailTypeRow
    value: str
    valid_from: datetime
    valid_to: datetime | None


class EntityOrder(StrEnum):
    DISPLAY_NAME = "DISPLAY_NAME"
    UPDATED_AT = "UPDATED_AT"
    CREATED_AT = "CREATED_AT"


@dataclass(frozen=True, slots=True)
class DetailCondition:
    """That an entity has a detail of a type, and what is asked of its value. The bounds belong to the range."""

    type: str
    equals: str | None = None
    among: tuple[str, ...] | None = None
    contains: str | None = None
    least: str | None = None
    most: str | None = None


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """Which entities, and in which order. A filter that is None leaves nothing out; an empty one leaves out everything."""

    search: str | None = None
    types: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    details: tuple[DetailCondition, ...] = ()
    order: EntityOrder = EntityOrder.DISPLAY_NAME
    descending: bool = False
    as_of: datetime | None = None


_ORDER: dict[EntityOrder, ColumnElement[Any]] = {
    EntityOrder.DISPLAY_NAME: versions.c.display_name,
    EntityOrder.UPDATED_AT: versions.c.valid_from,
    EntityOrder.CREATED_AT: versions.c.created_at,
}


def entity_uid_by_key(type_: str, key: str) -> UUID:
    """The uid of an entity with a key if it was given no other, the same everywhere: over the type, a NUL, and the key."""
    return uuid5(_BY_KEY_NAMESPACE, f"{type_}\0{key}")


def cursor_key(row: EntityRow, order: EntityOrder) -> tuple[Any, ...]:
    """Where an entity stands in an order: what a cursor remembers."""
    match order:
        case EntityOrder.DISPLAY_NAME:
            return (row.display_name, row.asset_id)
        case EntityOrder.UPDATED_AT:
            return (row.valid_from, row.asset_id)
        case EntityOrder.CREATED_AT:
            return (row.created_at, row.asset_id)


async def entities_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[EntityRow | None]:
    instant = as_of or connection.now
    rows = await connection.fetch(_BY_UID, {"uids": list(uids), "instant": instant})
    found = {row.uid: _entity(row, instant) for row in rows}
    return [found.get(uid) for uid in uids]


async def entities_by_key(
    connection: ReadConnection, keys: Sequence[tuple[str, str]], as_of: datetime | None
) -> list[EntityRow | None]:
    """Entities by type and key."""
    instant = as_of or connection.now
    rows = await connection.fetch(_BY_KEY, {"types": [it[0] for it in keys], "keys": [it[1] for it in keys], "instant": instant})
    found = {(row.type, row.key): _entity(row, instant) for row in rows}
    return [found.get(it) for it in keys]


async def entity_by_asset(connection: ReadConnection, asset_id: int, instant: datetime) -> EntityRow | None:
    """The entity that lives under this identity at that instant."""
    row = await connection.fetch_one(_SELECT.where(ENTITY.valid_at(instant), versions.c.asset_id == asset_id))
    return None if row is None else _entity(row, instant)


async def details_by_entity(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: Collection[str] | None = None
) -> list[list[DetailRow]]:
    """What is known of each entity at an instant of its own, in order of the type; of some types only, where those are named."""
    asked = {
        "assets": [asset_id for asset_id, _ in readings],
        "instants": [instant for _, instant in readings],
        "types": None if types is None else list(types),
    }
    found: list[list[DetailRow]] = [[] for _ in readings]
    for row in await connection.fetch(_DETAILS, asked):
        type_ = DetailTypeRow(row.code, row.label, row.format)
        found[row.place - 1].append(DetailRow(type_, row.value, row.valid_from, row.valid_to))
    return found


async def list_entities(connection: ReadConnection, query: EntityQuery, page: Page) -> Slice[EntityRow]:
    instant = query.as_of or connection.now
    formats = await _formats_asked_for(connection, query)
    statement = page.apply(
        _filtered(_SELECT.where(ENTITY.valid_at(instant)), query, instant, formats),
        _ORDER[query.order],
        versions.c.asset_id,
        descending=query.descending,
    )
    return page.slice(await connection.fetch(statement), lambda row: _entity(row, instant))


async def count_entities(connection: ReadConnection, query: EntityQuery) -> int:
    instant = query.as_of or connection.now
    counting = select(func.count().label("entities")).where(versions.c.tenant_id == TENANT, ENTITY.valid_at(instant))
    if query.types is not None or query.domains is not None:
        counting = counting.join_from(versions, assets, _IDENTITY)
    formats = await _formats_asked_for(connection, query)
    row = await connection.fetch_one(_filtered(counting, query, instant, formats))
    return int(row.entities) if row else 0


async def entities_by_domain(
    connection: ReadConnection, readings: Sequence[DomainAt], query: EntityQuery, page: Page
) -> list[Slice[EntityRow]]:
    """A page of the entities of each domain, in order of the display name."""
    formats = await _formats_asked_for(connection, query)
    within = _filtered(_SELECT.where(ENTITY.valid_at(INSTANT), _of_domain(DOMAIN)), query, INSTANT, formats)
    return await page_of_each(connection, readings, within, page, (versions.c.display_name, versions.c.asset_id), _entity)


async def count_entities_by_domain(connection: ReadConnection, readings: Sequence[DomainAt], query: EntityQuery) -> list[int]:
    """How many entities each domain has."""
    formats = await _formats_asked_for(connection, query)
    of_types = (entity_types.c.tenant_id == TENANT) & (entity_types.c.code == assets.c.type)
    within = select(versions.c.asset_id).join(assets, _IDENTITY).join(entity_types, of_types)
    within = within.where(versions.c.tenant_id == TENANT, ENTITY.valid_at(INSTANT), entity_types.c.domain == DOMAIN)
    return await count_of_each(connection, readings, _filtered(within, query, INSTANT, formats))


async def type_registry(connection: ReadConnection) -> TypeRegistry:
    """Both registries, as whoever asks by them needs them."""
    return _types(await connection.fetch(_TYPE_REGISTRY))


async def type_registry_locked(connection: WriteConnection, codes: Collection[str]) -> TypeRegistry:
    """Both registries, as whoever writes needs them: the types of details that are named stay as they are meanwhile."""
    return _types(await connection.fetch(_TYPE_REGISTRY_LOCKED, {"codes": list(codes)}))


async def create(
    connection: WriteConnection,
    ref: asset.IdentitySpec,
    display_name: str,
    details: Mapping[str, str],
    *,
    at: datetime | None = None,
) -> Outcome:
    """Begin an entity's life. Its uid and its key must not be alive at that instant."""
    assert ref.type is not None, "an entity has a type"
    payload = entity_fields.validate_state(await type_registry_locked(connection, details), ref.type, display_name, details)
    identity = await asset.add_or_lock(connection, ENTITY, ref)
    try:
        (outcome,) = await record_asset_change(
            connection, ENTITY, [Assertion(identity.asset_id, Operation.SET, payload, at, creating=True)]
        )
    except Conflict as taken:
        if taken.field == "uid" and ref.uid is None:
            raise Conflict(f"The key {ref.key!r} belongs to a {ref.type} that is there: {identity.uid}.", field="key") from taken
        raise
    return outcome


async def update(connection: WriteConnection, uid: UUID, fields: Mapping[str, Any], *, at: datetime | None = None) -> Outcome:
    """Change some fields of an entity; a detail that is None is taken away."""
    payload = entity_fields.validate_patch(await type_registry_locked(connection, fields.get("details", ())), fields)
    asset_id = await asset.lock(connection, ENTITY, uid, field="uid")
    (outcome,) = await record_asset_change(connection, ENTITY, [Assertion(asset_id, Operation.PATCH, payload, at)])
    return outcome


def _types(rows: Sequence[Any]) -> TypeRegistry:
    return TypeRegistry(
        frozenset(row.code for row in rows if row.of_entity),
        {row.code: row.format for row in rows if not row.of_entity},
    )


def entity_from_version(uid: UUID, version: VersionPeriod) -> EntityRow:
    """The entity as one stretch of its history has it."""
    return EntityRow(
        asset_id=version.subject_id,
        uid=uid,
        type=version.type or "",
        key=version.key,
        as_of=version.as_of,
        valid_from=version.valid_from,
        valid_to=version.valid_to,
        created_at=version.created_at,
        **version.state,
    )


_IDENTITY = (assets.c.tenant_id == versions.c.tenant_id) & (assets.c.id == versions.c.asset_id)
_SELECT = (
    select(
        versions.c.asset_id,
        assets.c.uid,
        assets.c.type,
        assets.c.key,
        versions.c.valid_from,
        func.nullif(versions.c.valid_to, text("'infinity'")).label("valid_to"),
        versions.c.created_at,
        versions.c.display_name,
        versions.c.details,
    )
    .join(assets, _IDENTITY)
    .where(versions.c.tenant_id == TENANT)
)


async def _formats_asked_for(connection: ReadConnection, query: EntityQuery) -> Mapping[str, str | None]:
    """The formats of the details that a query names; they have to be there, and what is asked has to fit them."""
    if not query.details:
        return {}
    types = await type_registry(connection)
    for asked in query.details:
        types.require_detail(asked.type, field="type")
        if types.formats[asked.type] in ("date", "number"):
            for name, bound in (("from", asked.least), ("to", asked.most)):
                fault = None if bound is None else format_error(types.formats[asked.type], bound)
                if fault is not None:
                    raise BadInput(f"{name}: {bound!r} {fault}", field=name)
    return types.formats


def _filtered(statement: Select[Any], query: EntityQuery, instant: Instant, formats: Mapping[str, str | None]) -> Select[Any]:
    if query.search is not None:
        found = func.search_entities(contains_pattern(query.search), instant).column_valued("found")
        statement = statement.where(versions.c.asset_id.in_(select(found)))
    if query.types is not None:
        statement = statement.where(assets.c.type == any_of(query.types, Text))
    if query.domains is not None:
        statement = statement.where(_of_domain(any_of(query.domains, Text)))
    for asked in query.details:
        statement = statement.where(versions.c.asset_id.in_(_having(asked, instant, formats[asked.type])))
    return statement


def _of_domain(domain: Any) -> ColumnElement[bool]:
    """That an entity is of a type that belongs to a domain."""
    owned = select(entity_types.c.code).where(entity_types.c.tenant_id == TENANT, entity_types.c.domain == domain)
    codes = func.array(owned.scalar_subquery(), type_=ARRAY(Text))
    # where no type does, no entity is looked at
    return (func.cardinality(codes) > 0) & (assets.c.type == any_(codes))


def _having(asked: DetailCondition, instant: Instant, format_: str | None) -> Select[Any]:
    """The entities that have such a detail at an instant."""
    d = entity_details.c
    statement = select(d.asset_id).where(
        d.tenant_id == TENANT, d.detail_type == asked.type, d.valid_from <= instant, d.valid_to > instant
    )
    if asked.equals is not None:
        statement = statement.where(d.value == asked.equals)
    if asked.among is not None:
        statement = statement.where(d.value == any_of(asked.among, Text))
    if asked.contains is not None:
        statement = statement.where(d.value.ilike(contains_pattern(asked.contains)))
    if format_ == "number":
        # the index holds numbers to double precision; what is between two of them is told apart by the values themselves
        exactly = cast(d.value, Numeric)
        if asked.least is not None:
            statement = statement.where(d.number >= float(asked.least), exactly >= cast(asked.least, Numeric))
        if asked.most is not None:
            statement = statement.where(d.number <= float(asked.most), exactly <= cast(asked.most, Numeric))
    else:
        if asked.least is not None:
            statement = statement.where(d.value >= asked.least)
        if asked.most is not None:
            statement = statement.where(d.value <= asked.most)
    return statement


def _entity(row: Any, instant: datetime) -> EntityRow:
    asset_id, uid, type_, key, *rest = row
    return EntityRow(asset_id, uid, type_, key, instant, *rest)
