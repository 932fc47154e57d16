"""Joins between assets, each of a type: which hold at an instant, what an asset is joined with, and how they are said and end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import BigInteger, Select, Uuid, func, select, text

from db.assets.asset import Deletion
from db.associations.association import (
    UNRESOLVED,
    AssetRef,
    ResolvedAsset,
    ResolvedState,
    missing_end_error,
    resolve,
    resolve_and_lock,
    write,
)
from db.associations.stub import Stub, create_stubs, sourced_types
from db.connection import ReadConnection, WriteConnection
from db.consistency.batch_conflicts import ChangesOfSubject, Results, subject_of, write_resolving_conflicts
from db.consistency.cardinality import deferred_cardinality_check
from db.errors import BadInput, HeadwaterError
from db.filters import TENANT, any_of
from db.pagination import DIRECTIONS, Page, Slice
from db.registries.relationship_type import DirectedTypeIds, RelationshipTypeRow, RelationshipTypes, lock_types_shared
from db.sql import statement
from db.tables import asset as assets
from db.tables import relationship as relationships
from db.tables import relationship_effective as effective
from db.temporal.change_log import Outcome, raise_first_error
from db.temporal.kind import valid_at
from db.temporal.kinds import ENTITY, PRODUCT, RELATIONSHIP

_RELATED = {it: statement("associations/related", direction=it) for it in DIRECTIONS}
_COUNT_RELATED = statement("associations/count_related")
_OF_ASSETS = {it: statement("associations/relationships_of_assets", direction=it) for it in DIRECTIONS}
_COUNT_OF_ASSETS = statement("associations/count_relationships_of_assets")

_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/relationship")

# Before and after every id.
_FIRST, _LAST = -1, 2**63 - 1


_IDENTITY = (relationships.c.tenant_id == effective.c.tenant_id) & (relationships.c.id == effective.c.relationship_id)


class RelationshipState(NamedTuple):
    """The whole state, checked, that a join is said to have from an instant on; without one, from now on."""

    type: str
    origin: AssetRef
    related: AssetRef
    payload: Mapping[str, Any]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RelationshipRow:
    """A join as it was at one instant."""

    relationship_id: int
    uid: UUID
    type_id: int
    origin_id: int
    related_id: int
    attributes: dict[str, Any]
    valid_from: datetime
    valid_to: datetime | None
    as_of: datetime


@dataclass(frozen=True, slots=True)
class RelationshipQuery:
    """Which joins. A filter that is None leaves nothing out; an empty one leaves out everything."""

    types: tuple[int, ...] | None = None
    origin: UUID | None = None
    related: UUID | None = None
    as_of: datetime | None = None


def relationship_uid(type_: RelationshipTypeRow, origin: UUID, related: UUID) -> UUID:
    """The uid of the join of a type between two assets, the same wherever it is said."""
    return uuid5(_NAMESPACE, f"{type_.code}\0{origin}\0{related}")


def cursor_key(row: RelationshipRow) -> tuple[Any, ...]:
    """Where a join stands in the list of all: what a cursor remembers."""
    return (row.relationship_id,)


def cursor_key_at(asset_id: int, row: RelationshipRow) -> tuple[Any, ...]:
    """Where a join stands in the list of an asset's joins."""
    return row.type_id, row.related_id if row.origin_id == asset_id else row.origin_id, row.relationship_id


async def relationships_by_uid(
    connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None
) -> list[RelationshipRow | None]:
    instant = as_of or connection.now
    rows = await connection.fetch(_select(instant).where(relationships.c.uid == any_of(uids, Uuid)))
    found = {row.uid: _row(row, instant) for row in rows}
    return [found.get(uid) for uid in uids]


async def relationship_by_id(connection: ReadConnection, relationship_id: int, instant: datetime) -> RelationshipRow | None:
    """The join with this id, if it holds at an instant."""
    row = await connection.fetch_one(_select(instant).where(effective.c.relationship_id == relationship_id))
    return None if row is None else _row(row, instant)


async def list_relationships(connection: ReadConnection, query: RelationshipQuery, page: Page) -> Slice[RelationshipRow]:
    """A page of the joins that hold at an instant, in the order in which they were first heard of."""
    instant = query.as_of or connection.now
    statement = page.apply(_filtered(_select(instant), query), effective.c.relationship_id)
    return page.slice(await connection.fetch(statement), lambda row: _row(row, instant))


async def count_relationships(connection: ReadConnection, query: RelationshipQuery) -> int:
    instant = query.as_of or connection.now
    counting = select(func.count().label("joins")).join_from(effective, relationships, _IDENTITY)
    counting = counting.where(effective.c.tenant_id == TENANT, valid_at(effective, instant))
    row = await connection.fetch_one(_filtered(counting, query))
    return int(row.joins) if row else 0


async def related_to_assets(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], ways: DirectedTypeIds, page: Page
) -> list[Slice[int]]:
    """A page of what each asset is joined with along some ways, each once, by ids, at an instant of its own."""
    after, before = (page.after or (_FIRST,))[0], (page.before or (_LAST,))[0]
    asked = {**_parameters(readings, ways), "after": after, "before": before, "limit": page.limit}
    rows = _by_ordinal(await connection.fetch(_RELATED[page.direction], asked), len(readings))
    return [page.slice(them, lambda row: int(row.other_id)) for them in rows]


async def count_related(connection: ReadConnection, readings: Sequence[tuple[int, datetime]], ways: DirectedTypeIds) -> list[int]:
    """With how many assets each is joined along some ways."""
    rows = await connection.fetch(_COUNT_RELATED, _parameters(readings, ways))
    counts = {row.place: row.assets for row in rows}
    return [counts.get(place, 0) for place in range(1, len(readings) + 1)]


async def relationships_of_assets(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], ways: DirectedTypeIds, page: Page
) -> list[Slice[RelationshipRow]]:
    """A page of the joins of each asset along some ways, in order of the type and of the other end, at an instant of its own."""
    after, before = page.after or (_FIRST,) * 3, page.before or (_LAST,) * 3
    asked = {**_parameters(readings, ways), "limit": page.limit}
    for number in range(3):
        asked |= {f"after_{number}": after[number], f"before_{number}": before[number]}
    rows = _by_ordinal(await connection.fetch(_OF_ASSETS[page.direction], asked), len(readings))
    return [page.slice(them, partial(_row, instant=instant)) for them, (_, instant) in zip(rows, readings, strict=True)]


async def count_relationships_of_assets(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], ways: DirectedTypeIds
) -> list[int]:
    """How many joins each asset has along some ways."""
    rows = await connection.fetch(_COUNT_OF_ASSETS, _parameters(readings, ways))
    counts = {row.place: row.joins for row in rows}
    return [counts.get(place, 0) for place in range(1, len(readings) + 1)]


async def relate(connection: WriteConnection, stated: RelationshipState) -> Outcome:
    """Join two assets, whole, from an instant on."""
    (outcome,) = raise_first_error(await upsert_each(connection, [stated]))
    return outcome


async def unrelate(connection: WriteConnection, uid: UUID, *, at: datetime | None = None) -> Outcome:
    """End a join."""
    (outcome,) = raise_first_error(await upsert_each(connection, [], ended=[Deletion(uid, at)]))
    return outcome


async def upsert_each(
    connection: WriteConnection,
    batch: Sequence[RelationshipState],
    *,
    ended: Sequence[Deletion] = (),
    reject_restatement: bool = False,
    allow_pending_ends: bool = False,
) -> list[Outcome | HeadwaterError]:
    """Write what is said of joins, and which of them end. Each is accepted or refused by itself; what became of ends comes last.

    An `early` join may be stated of an instant at which an end is not there: it holds as soon as both are. An end of which
    nothing but its key is known becomes a stub, where its type says that such records are kept elsewhere.
    """
    types = await lock_types_shared(connection, {it.type for it in batch}) if batch else RelationshipTypes([])
    statements: dict[int, RelationshipState | Deletion] = {**dict(enumerate(batch)), **dict(enumerate(ended, len(batch)))}
    results = await write_resolving_conflicts(
        connection, statements, partial(_write, connection, types, reject_restatement, allow_pending_ends)
    )
    return [results[place] for place in range(len(statements))]


@dataclass(frozen=True, slots=True)
class _TypeCandidates:
    """A statement, the types that it may mean, and how it names its ends by those."""

    stated: RelationshipState
    types: Sequence[RelationshipTypeRow]
    origin: AssetRef
    related: AssetRef


async def _write(
    connection: WriteConnection,
    types: RelationshipTypes,
    reject_restatement: bool,
    allow_pending_ends: bool,
    statements: Mapping[int, RelationshipState | Deletion],
    said: ChangesOfSubject,
) -> Results:
    refused: Results = {}
    meant: dict[int, _TypeCandidates] = {}
    for place, it in statements.items():
        if isinstance(it, RelationshipState):
            try:
                meant[place] = _candidate_types(it, types)
            except BadInput as reason:
                refused[place] = reason
    await _create_stubs(connection, meant, said, allow_pending_ends=allow_pending_ends)
    ends = [it.origin for it in meant.values()] + [it.related for it in meant.values()]
    instants = [it.stated.at for it in meant.values()]
    limited = [any(type_.one_origin or type_.one_related for type_ in it.types) for it in meant.values()]
    # who joins where one join is allowed sees what others have joined
    alone = [place for place, one in enumerate(limited * 2) if one]
    found = await resolve_and_lock(connection, ends, instants * 2, allow_pending_ends=allow_pending_ends, exclusive=alone)
    stating: dict[int, ResolvedState] = {}
    for (place, one), origin, related in zip(meant.items(), found, found[len(meant) :], strict=False):
        type_ = _fitting(one, origin, related, one.stated.at or connection.now, allow_pending_ends=allow_pending_ends)
        if isinstance(type_, HeadwaterError):
            refused[place] = type_
        else:
            stating[place] = _resolved_state(one.stated, type_, origin, related)
    ending = {place: it for place, it in statements.items() if isinstance(it, Deletion)}
    async with deferred_cardinality_check(connection, limited=any(limited), field="related") as touched:
        results, of = await write(
            connection, RELATIONSHIP, stating, ending, reject_restatement=reject_restatement, called="relationship"
        )
        for place, relationship_id in of.items():
            touched.append(relationship_id)
            said.setdefault(subject_of(RELATIONSHIP, relationship_id), []).append((stating[place].at or connection.now, place))
    return refused | results


def _candidate_types(stated: RelationshipState, types: RelationshipTypes) -> _TypeCandidates:
    """What a statement may mean. A key alone is told by the type: that of an entity, or the name of a product."""
    found = types.matching(stated.type, field="type")
    ends = []
    for name, end, kinds in (
        ("origin", stated.origin, [it.origin for it in found]),
        ("related", stated.related, [it.related for it in found]),
    ):
        if end.key is not None and end.type is None:
            if len(set(kinds)) > 1:
                codes = ", ".join(it.code for it in found)
                raise BadInput(f"{stated.type} is the key of several types: {codes}. Name one of them like this.", field="type")
            if kinds[0] == ENTITY.name:
                raise BadInput(f"{name} may be any entity, so it has to be named by its uid.", field=name)
            end = AssetRef(product=end.key) if kinds[0] == PRODUCT.name else AssetRef(type=kinds[0], key=end.key)
        ends.append(end)
    return _TypeCandidates(stated, found, *ends)


async def _create_stubs(
    connection: WriteConnection, meant: Mapping[int, _TypeCandidates], said: ChangesOfSubject, *, allow_pending_ends: bool
) -> None:
    """Have what is known elsewhere, and is only named here, be there from then on; if nothing else is in the way of its join."""
    keyed = {end.type for it in meant.values() for end in (it.origin, it.related) if end.type is not None}
    sourced = await sourced_types(connection, keyed) if keyed else {}
    if not sourced:
        return
    ends = [it.origin for it in meant.values()] + [it.related for it in meant.values()]
    instants = [it.stated.at for it in meant.values()]
    found = await resolve(connection, ends, instants * 2)
    stubs: list[Stub] = []
    for (place, it), origin, related in zip(meant.items(), found, found[len(meant) :], strict=False):
        wanted = []
        if it.origin.type in sourced and not origin.begun:
            wanted.append(Stub(it.origin.type, it.origin.key or "", it.stated.at, place))
            origin = wanted[-1].found
        if it.related.type in sourced and not related.begun:
            wanted.append(Stub(it.related.type, it.related.key or "", it.stated.at, place))
            related = wanted[-1].found
        if not isinstance(
            _fitting(it, origin, related, it.stated.at or connection.now, allow_pending_ends=allow_pending_ends), HeadwaterError
        ):
            stubs += wanted
    await create_stubs(connection, sourced, stubs, said)


def _fitting(
    it: _TypeCandidates, origin: ResolvedAsset, related: ResolvedAsset, instant: datetime, *, allow_pending_ends: bool
) -> RelationshipTypeRow | HeadwaterError:
    """The type by which two assets are joined then, if they can be."""
    fitting = list(it.types)
    for name, named in (("origin", _named(it.origin, origin)), ("related", _named(it.related, related))):
        fitting = [type_ for type_ in fitting if not named or getattr(type_, name) in named]
        if not fitting:
            return BadInput(f"{name} is a {named[0]}, and {it.stated.type} joins {_type_names(it.types)}.", field=name)
    for name, end, found in (("origin", it.origin, origin), ("related", it.related, related)):
        if (
            reason := missing_end_error(end, found, instant, field=name, needs="a join", allow_pending_ends=allow_pending_ends)
        ) is not None:
            return reason
    if len(fitting) > 1:
        codes = ", ".join(type_.code for type_ in fitting)
        return BadInput(f"{it.stated.type} may mean {codes}. Name one of them like this.", field="type")
    if origin == related:
        return BadInput("origin and related are the same asset. A join is between two.", field="related")
    return fitting[0]


def _named(end: AssetRef, found: ResolvedAsset) -> tuple[str, ...]:
    """What an asset is, its type first; or what a reference says of one that is not there. Nothing, where that is not told."""
    if found is not UNRESOLVED:
        return (found.kind,) if found.type is None else (found.type, found.kind)
    if end.type is not None:
        return end.type, ENTITY.name
    return () if end.product is None else (PRODUCT.name,)


def _type_names(types: Sequence[RelationshipTypeRow]) -> str:
    return ", or ".join(f"{it.origin} with {it.related}" for it in types)


def _resolved_state(
    stated: RelationshipState, type_: RelationshipTypeRow, origin: ResolvedAsset, related: ResolvedAsset
) -> ResolvedState:
    if type_.is_symmetric and origin.uid > related.uid:
        # neither is the origin: the same two have one join, whichever is named first
        origin, related = related, origin
    key = (origin.asset_id, related.asset_id, type_.type_id, type_.one_origin, type_.one_related)
    return ResolvedState(key, relationship_uid(type_, origin.uid, related.uid), stated.payload, stated.at)


def _parameters(readings: Sequence[tuple[int, datetime]], ways: DirectedTypeIds) -> dict[str, Any]:
    return {
        "assets": [asset_id for asset_id, _ in readings],
        "instants": [instant for _, instant in readings],
        "forward": list(ways.forward),
        "reverse": list(ways.reverse),
    }


def _by_ordinal(rows: Sequence[Any], places: int) -> list[list[Any]]:
    """What belongs to each of what was asked for; the place of that is the last of a row's columns."""
    found: list[list[Any]] = [[] for _ in range(places)]
    for row in rows:
        found[row.place - 1].append(row)
    return found


def _select(instant: datetime) -> Select[Any]:
    return (
        select(
            effective.c.relationship_id,
            relationships.c.uid,
            effective.c.type_id,
            effective.c.origin_id,
            effective.c.related_id,
            effective.c.attributes,
            effective.c.valid_from,
            func.nullif(effective.c.valid_to, text("'infinity'")).label("valid_to"),
        )
        .join(relationships, _IDENTITY)
        .where(effective.c.tenant_id == TENANT, valid_at(effective, instant))
    )


def _filtered(statement: Select[Any], query: RelationshipQuery) -> Select[Any]:
    for column, uid in ((effective.c.origin_id, query.origin), (effective.c.related_id, query.related)):
        if uid is not None:
            named = select(assets.c.id).where(assets.c.tenant_id == TENANT, assets.c.uid == uid).scalar_subquery()
            statement = statement.where(column == named)
    if query.types is not None:
        statement = statement.where(relationships.c.type_id == any_of(query.types, BigInteger))
    return statement


def _row(columns: Any, instant: datetime) -> RelationshipRow:
    """A join out of its columns, which come first, in the order of `RelationshipRow`."""
    return RelationshipRow(*(*columns[:8], instant))
