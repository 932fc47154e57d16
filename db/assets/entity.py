"""Entities: their rows and look-ups, and the writes that create and update them. An entity has a registered type and typed
details."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol, cast
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, Text, Uuid, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from db.assets import asset, entity_fields
from db.assets.asset_fields import DETAIL_ROWS
from db.assets.asset_list import select_assets
from db.assets.naming import Naming, specs_by_name
from db.assets.reference import AssetRef, resolve
from db.connection import ReadConnection, WriteConnection
from db.errors import Conflict, KeyTaken
from db.filters import AS_OF, TENANT, any_of, distinct
from db.registries.type_registry import read_type_registry_locked
from db.rows import BuiltRow
from db.sql import MAX_SHAPES, Statement, compose, statement
from db.tables import asset as assets
from db.tables import entity_key as entity_keys
from db.tables import entity_version as versions
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kinds import ENTITY

_DETAILS = statement("assets/details_by_entity")
_BY_ASSET = compose(select_assets(ENTITY, AS_OF).where(versions.c.asset_id == bindparam("asset", type_=BigInteger)))


class EntityRow(Protocol):
    """An entity at an instant. Its columns are read by attribute or by name."""

    kind: str
    asset_id: int
    uid: UUID
    type: str
    as_of: datetime
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    display_name: str
    details: dict[str, str]
    # `keys`, the keys of the entity, the primary one first, is read by name only

    def __getitem__(self, column: str, /) -> Any: ...


# One detail of an entity, by name: the `code`, `label` and `format` of its type, its `value`, and the period in which it has this
# value, `valid_from` and `valid_to`, if it was read; an instant may be text.
DetailRow = Mapping[str, Any]


def entity_from_version(uid: UUID, version: VersionPeriod) -> EntityRow:
    """Build the entity of a version."""
    row: Any = BuiltRow(
        kind=ENTITY.name,
        asset_id=version.subject_id,
        uid=uid,
        type=version.type or "",
        as_of=version.as_of,
        valid_from=version.valid_from,
        valid_to=version.valid_to,
        created_at=version.created_at,
        **version.state,
    )
    return cast(EntityRow, row)


async def entities_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[EntityRow | None]:
    """Find entities by uid."""
    rows = await connection.fetch(
        _by_uid(connection.asset_fields), {"uids": distinct(uids), "as_of": as_of or connection.now_if_read}
    )
    entities = {row.uid: cast(EntityRow, row) for row in rows}
    return [entities.get(uid) for uid in uids]


async def entities_by_key(
    connection: ReadConnection, keys: Sequence[tuple[str, str]], as_of: datetime | None
) -> list[EntityRow | None]:
    """Find entities by type and key."""
    parameters = {
        "types": [type_ for type_, _ in keys],
        "keys": [key for _, key in keys],
        "as_of": as_of or connection.now_if_read,
    }
    rows = await connection.fetch(_by_key(connection.asset_fields), parameters)
    entities = {row.ordinal: cast(EntityRow, row) for row in rows}
    return [entities.get(ordinal) for ordinal in range(1, len(keys) + 1)]


async def entity_by_asset(connection: ReadConnection, asset_id: int, instant: datetime) -> EntityRow | None:
    """Find an entity by its asset id."""
    row = await connection.fetch_one(_BY_ASSET, {"asset": asset_id, "as_of": instant})
    return cast(EntityRow | None, row)


def details_in(row: EntityRow) -> list[DetailRow] | None:
    """Return the details of an entity, in order of the type, if they were read with its row."""
    if DETAIL_ROWS not in row:  # type: ignore[operator]
        return None
    return row[DETAIL_ROWS] or []


async def details_by_entity(
    connection: ReadConnection, entities: Sequence[tuple[int, datetime]], types: Collection[str] | None = None
) -> list[list[DetailRow]]:
    """List the details of each entity at its instant, in order of the type; with `types`, only those of these types."""
    parameters = {
        "assets": [asset_id for asset_id, _ in entities],
        "instants": [instant for _, instant in entities],
        "types": None if types is None else list(types),
    }
    details: list[list[DetailRow]] = [[] for _ in entities]
    for row in await connection.fetch(_DETAILS, parameters):
        details[row.ordinal - 1].append(cast(DetailRow, row))
    return details


@lru_cache(MAX_SHAPES)
def _by_uid(fields: frozenset[str] | None) -> Statement:
    return compose(select_assets(ENTITY, AS_OF, fields).where(assets.c.uid == any_of("uids", Uuid)))


@lru_cache(MAX_SHAPES)
def _by_key(fields: frozenset[str] | None) -> Statement:
    holders = holders_of_keys("types", "keys", AS_OF).subquery("holders")
    statement = select_assets(ENTITY, AS_OF, fields).add_columns(holders.c.ordinal)
    return compose(statement.where(holders.c.asset_id == versions.c.asset_id))


def holders_of_keys(types: str, keys: str, instant: ColumnElement[Any]) -> Select[Any]:
    """Build the statement that reads the id of the entity which has each of some keys at an instant, with the ordinal of the key,
    from the parameters that hold the types and the keys."""
    named = (
        func.unnest(bindparam(types, type_=ARRAY(Text)), bindparam(keys, type_=ARRAY(Text)))
        .table_valued("type", "key", with_ordinality="ordinal")
        .render_derived("named")
    )
    k = entity_keys.c
    # the limit has PostgreSQL look each key up, whatever its statistics say
    holder = (
        select(k.asset_id)
        .where(
            k.tenant_id == TENANT,
            k.type == named.c.type,
            k.compared == func.compared_key(named.c.key),
            k.valid_from <= instant,
            k.valid_to > instant,
        )
        .limit(literal_column("1"))
        .lateral("holder")
    )
    return select(named.c.ordinal, holder.c.asset_id).select_from(named, holder)


async def create(
    connection: WriteConnection,
    spec: asset.IdentitySpec,
    display_name: str,
    details: Mapping[str, str],
    *,
    alternate_keys: Sequence[str] = (),
    at: datetime | None = None,
) -> Outcome:
    """Create an entity. Neither its uid nor its keys may be in use at that instant."""
    assert spec.type is not None, "an entity has a type"
    all_keys = entity_fields.keys(spec.key, alternate_keys)
    registry = await read_type_registry_locked(connection, details)
    payload = entity_fields.validate_state(registry, spec.type, display_name, details, all_keys)
    identity = await asset.add_or_lock(connection, ENTITY, await _found(connection, spec, at))
    assertion = Assertion(identity.asset_id, Operation.SET, payload, at, creating=True)
    given = {"key": [] if spec.key is None else [spec.key], "alternateKeys": alternate_keys}
    try:
        async with _fields_of_keys(connection, identity, given, at):
            return await asset.record(connection, ENTITY, identity, assertion)
    except Conflict as conflict:
        if conflict.field == "uid" and spec.uid is None:
            belongs = f"The key {spec.key!r} belongs to a {spec.type} that exists"
            raise Conflict(f"{belongs}, with the uid {identity.uid}.", field="key", blind=f"{belongs}.") from conflict
        raise


async def update(
    connection: WriteConnection, ref: UUID | AssetRef, fields: Mapping[str, Any], *, at: datetime | None = None
) -> Outcome:
    """Change some fields of the entity that a uid or reference names at that instant. A detail whose value is None is removed."""
    payload = entity_fields.validate_patch(await read_type_registry_locked(connection, fields.get("details", ())), fields)
    identity = await asset.lock(connection, ENTITY, ref, at=at, field="entity")
    keys = payload.get("keys", {})
    primary = keys.get("primary")
    given = {"key": [] if primary is None else [primary], "addKeys": keys.get("add", [])}
    async with _fields_of_keys(connection, identity, given, at):
        return await asset.record_patch(connection, ENTITY, identity, payload, at, field="entity")


@asynccontextmanager
async def _fields_of_keys(
    connection: WriteConnection, identity: asset.Identity, given: Mapping[str, Sequence[str]], at: datetime | None
) -> AsyncIterator[None]:
    """Name in KeyTaken the field whose key another entity has. `given` has the keys by their fields."""
    refs = [(field, AssetRef(type=identity.type, key=key)) for field, keys in given.items() for key in keys]
    fields = {field for field, _ in refs}
    try:
        # only a savepoint allows to look for the key, and one field needs no look
        async with connection.savepoint() if len(fields) > 1 else nullcontext():
            yield
    except KeyTaken as error:
        if len(fields) > 1:
            holders = await resolve(connection, [ref for _, ref in refs], [at] * len(refs))
            fields = {field for (field, _), it in zip(refs, holders, strict=True) if it.is_held_by_another(identity.uid)}
        error.field = next((field for field in given if field in fields), error.field)
        raise


async def _found(connection: WriteConnection, spec: asset.IdentitySpec, at: datetime | None) -> asset.IdentitySpec:
    """Return the spec of the entity that a spec names by its key, or that is to be added."""
    if spec.uid is not None or spec.key is None:
        return spec
    naming = Naming(AssetRef(type=spec.type, key=spec.key), spec.new_uid, at)
    found = (await specs_by_name(connection, {spec: naming}))[spec]
    if found is None:
        raise entity_fields.ambiguous_key()
    return found
