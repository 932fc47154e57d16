"""Relationships: typed, directed connections between two assets. Reads at an instant, and writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

from sqlalchemy import BigInteger, Select, Uuid, bindparam, func, select

from db.assets.asset import Deletion
from db.assets.reference import AssetRef
from db.associations import relationship_fields
from db.associations.association import (
    EndRefs,
    Ends,
    ResolvedState,
    lock_one,
    record_one,
    resolve_and_lock,
    resolve_ends,
    without_end_error,
    write,
)
from db.associations.effective import is_identity_of, select_effective, where_ends
from db.associations.order import AssociationOrder, sort_columns
from db.associations.reference import RelationshipRef, in_stored_order, lock_ends_of_relationship, named_by, relationship_uid
from db.associations.relationship_type_choice import TypeCandidates, candidate_types, choose_type
from db.associations.stub import Stub, create_missing_ends, create_stubs, sourced_types
from db.connection import ReadConnection, WriteConnection
from db.consistency.batch_conflicts import Results, WriteResult, write_resolving_conflicts
from db.consistency.cardinality import check_cardinality, defer_cardinality
from db.errors import BadInput, HeadwaterError
from db.filters import AS_OF, TENANT, any_of, distinct
from db.instants import just_before
from db.pagination import DIRECTIONS, Page, PageShape, Slice
from db.registries.relationship_type import DirectedTypeIds, RelationshipTypeRow, RelationshipTypes, lock_types_shared
from db.sql import MAX_SHAPES, Statement, compose, statement
from db.tables import relationship as relationships
from db.tables import relationship_effective as effective
from db.temporal.change_log import Assertion, Operation, Outcome, raise_first_error
from db.temporal.kind import valid_at
from db.temporal.kinds import RELATIONSHIP

_SELECT = select_effective(RELATIONSHIP, ("type_id", "origin_id", "related_id", "attributes"))
_BY_UID = compose(_SELECT.where(relationships.c.uid == any_of("uids", Uuid)))
_BY_ID = compose(_SELECT.where(effective.c.relationship_id == bindparam("relationship", type_=BigInteger)))
_RELATED = {it: statement("associations/related", direction=it) for it in DIRECTIONS}
_COUNT_RELATED = statement("associations/count_related")
_OF_ASSETS = {it: statement("associations/relationships_of_assets", direction=it) for it in DIRECTIONS}
_COUNT_OF_ASSETS = statement("associations/count_relationships_of_assets")

# Filters of a query, by the parameter that holds their value.
_FILTERS = ("types", "origin", "related")
_Filters = frozenset[str]

# Bounds below and above every id.
_BELOW_IDS, _ABOVE_IDS = -1, 2**63 - 1


class RelationshipState(NamedTuple):
    """The whole, validated state of a relationship from an instant on. Without an instant it holds from now on."""

    type: str
    origin: AssetRef
    related: AssetRef
    payload: Mapping[str, Any]
    at: datetime | None = None


class RelationshipRow(Protocol):
    """A relationship at one instant. Its columns are read by attribute or by name."""

    relationship_id: int
    uid: UUID
    type_id: int
    origin_id: int
    related_id: int
    attributes: dict[str, Any]
    valid_from: datetime
    valid_to: datetime | None
    as_of: datetime

    def __getitem__(self, name: str) -> Any: ...


class RelationshipRecord(Protocol):
    """The first instant of a relationship, and the author and the time of the change that made it as it is."""

    created_at: datetime
    recorded_at: datetime
    actor: str
    credential: str | None


@dataclass(frozen=True, slots=True)
class RelationshipQuery:
    """Filters and order of a list of relationships. None does not filter; an empty collection matches nothing."""

    types: tuple[int, ...] | None = None
    origin: UUID | None = None
    related: UUID | None = None
    # not in the digest of a cursor: see order_parts
    order: AssociationOrder = field(default=AssociationOrder.RECORDED, repr=False)
    descending: bool = field(default=False, repr=False)
    as_of: datetime | None = None


def cursor_key_at(asset_id: int, row: RelationshipRow) -> tuple[Any, ...]:
    """Return the key that orders a relationship in the list of one of its ends."""
    return row.type_id, row.related_id if row.origin_id == asset_id else row.origin_id, row.relationship_id


async def relationships_by_uid(
    connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None
) -> list[RelationshipRow | None]:
    rows = await connection.fetch(_BY_UID, {"uids": distinct(uids), "as_of": as_of or connection.now_if_read})
    by_uid = {row.uid: cast(RelationshipRow, row) for row in rows}
    return [by_uid.get(uid) for uid in uids]


async def relationship_by_id(connection: ReadConnection, relationship_id: int, instant: datetime) -> RelationshipRow | None:
    """Read the relationship with this id if it is effective at an instant."""
    row = await connection.fetch_one(_BY_ID, {"relationship": relationship_id, "as_of": instant})
    return None if row is None else cast(RelationshipRow, row)


async def list_relationships(connection: ReadConnection, query: RelationshipQuery, page: Page) -> Slice[RelationshipRow]:
    """Read a page of the relationships that are effective at an instant, in the order of the query."""
    parameters = {**_query_parameters(connection, query), **page.parameters}
    statement = _page_statement(_filters(query), query.order, query.descending, page.shape)
    rows = await connection.fetch(statement, parameters)
    return page.slice(rows, lambda row: cast(RelationshipRow, row))


async def count_relationships(connection: ReadConnection, query: RelationshipQuery) -> int:
    row = await connection.fetch_one(_count_statement(_filters(query)), _query_parameters(connection, query))
    return int(row.relationships) if row else 0


async def related_to_assets(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: DirectedTypeIds, page: Page
) -> list[Slice[int]]:
    """Read for each asset, at its instant, a page of the ids of the assets that it is related to, each once."""
    after, before = (page.after or (_BELOW_IDS,))[0], (page.before or (_ABOVE_IDS,))[0]
    parameters = {**_parameters(readings, types), "after": after, "before": before, "limit": page.limit}
    rows = _by_ordinal(await connection.fetch(_RELATED[page.direction], parameters), len(readings))
    return [page.slice(of_asset, lambda row: int(row.other_id)) for of_asset in rows]


async def count_related(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: DirectedTypeIds
) -> list[int]:
    """Count the assets that each asset is related to at its instant."""
    rows = await connection.fetch(_COUNT_RELATED, _parameters(readings, types))
    counts = {row.ordinal: row.assets for row in rows}
    return [counts.get(ordinal, 0) for ordinal in range(1, len(readings) + 1)]


async def relationships_of_assets(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: DirectedTypeIds, page: Page
) -> list[Slice[RelationshipRow]]:
    """Read for each asset, at its instant, a page of its relationships, in order of the type and of the other end."""
    after, before = page.after or (_BELOW_IDS,) * 3, page.before or (_ABOVE_IDS,) * 3
    parameters = {**_parameters(readings, types), "limit": page.limit}
    for number in range(3):
        parameters |= {f"after_{number}": after[number], f"before_{number}": before[number]}
    rows = _by_ordinal(await connection.fetch(_OF_ASSETS[page.direction], parameters), len(readings))
    return [page.slice(of_asset, lambda row: cast(RelationshipRow, row)) for of_asset in rows]


async def count_relationships_of_assets(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: DirectedTypeIds
) -> list[int]:
    """Count the relationships of each asset at its instant."""
    rows = await connection.fetch(_COUNT_OF_ASSETS, _parameters(readings, types))
    counts = {row.ordinal: row.relationships for row in rows}
    return [counts.get(ordinal, 0) for ordinal in range(1, len(readings) + 1)]


async def relationship_records(connection: ReadConnection, readings: Sequence[tuple[int, datetime]]) -> list[RelationshipRecord]:
    """Read the records of relationships, each given by its id and the start of its period."""
    subjects, starts = zip(*readings, strict=True)
    rows = await connection.fetch(
        RELATIONSHIP.statement("associations/relationship_records"), {"subjects": subjects, "starts": starts}
    )
    by_ordinal = {row.ordinal: cast(RelationshipRecord, row) for row in rows}
    return [by_ordinal[ordinal] for ordinal in range(1, len(readings) + 1)]


async def relate(connection: WriteConnection, state: RelationshipState, *, create_missing: bool = False) -> Outcome:
    """Assert the whole state of a relationship from an instant on.

    With `create_missing`, an end that was never recorded becomes a stub.
    """
    if create_missing:
        await create_missing_ends(connection, EndRefs(state.origin, state.related, state.at), fields=("origin", "related"))
    (outcome,) = raise_first_error(await upsert_each(connection, [state]))
    return outcome


async def update(
    connection: WriteConnection, ref: RelationshipRef, fields: Mapping[str, Any], *, at: datetime | None = None
) -> Outcome:
    """Change some fields of the relationship that a reference names from an instant on, at which both of its ends exist."""
    payload = relationship_fields.validate_patch(fields)
    (uid,) = raise_first_error([await lock_ends_of_relationship(connection, ref, at, field="relationship")])
    locked = named_by(RELATIONSHIP, await lock_one(connection, RELATIONSHIP, uid), ref, field="relationship")
    (relationship_id,) = raise_first_error([locked])
    assertion = Assertion(relationship_id, Operation.PATCH, payload, at)
    outcome = await record_one(connection, RELATIONSHIP, assertion, field="relationship")
    row = await relationship_by_id(connection, outcome.subject_id, outcome.at)
    if row is None:
        raise without_end_error(RELATIONSHIP, outcome.at, field="relationship")
    return outcome._replace(row=row)


async def unrelate(connection: WriteConnection, ref: RelationshipRef, *, at: datetime | None = None) -> Outcome:
    """End the relationship that a reference names until an instant."""
    (uid,) = raise_first_error([await lock_ends_of_relationship(connection, ref, just_before(at), field="relationship")])
    (outcome,) = await upsert_each(connection, [], deletions=[Deletion(uid, at)])
    (outcome,) = raise_first_error([named_by(RELATIONSHIP, outcome, ref, field="relationship")])
    return outcome._replace(uid=uid)


async def upsert_each(
    connection: WriteConnection,
    batch: Sequence[RelationshipState],
    *,
    deletions: Sequence[Deletion] = (),
    reject_restatement: bool = False,
    allow_pending_ends: bool = False,
) -> list[Outcome | HeadwaterError]:
    """Assert states of relationships, and end others, each accepted or rejected independently. Outcomes of deletions come last.

    With `allow_pending_ends` an end need not exist at the instant: the relationship becomes effective when both ends exist. An
    end that was never recorded becomes a stub if its entity type has an external source.
    """
    types = await lock_types_shared(connection, {it.type for it in batch}) if batch else RelationshipTypes([])
    entries: dict[int, RelationshipState | Deletion] = dict(enumerate([*batch, *deletions]))
    write_round = partial(
        _write, connection, types=types, reject_restatement=reject_restatement, allow_pending_ends=allow_pending_ends
    )
    results = await write_resolving_conflicts(connection, entries, write_round)
    return [results[index] for index in range(len(entries))]


async def _write(
    connection: WriteConnection,
    entries: Mapping[int, RelationshipState | Deletion],
    *,
    types: RelationshipTypes,
    reject_restatement: bool,
    allow_pending_ends: bool,
) -> WriteResult:
    """Write states and deletions in one round, with the stubs that they need, and check cardinality at the end."""
    requested = {index: it for index, it in entries.items() if isinstance(it, RelationshipState)}
    deletions = {index: it for index, it in entries.items() if isinstance(it, Deletion)}
    rejected: Results = {}
    candidates: dict[int, TypeCandidates] = {}
    for index, state in requested.items():
        found = candidate_types(types, state.type, EndRefs(state.origin, state.related, state.at))
        if isinstance(found, BadInput):
            rejected[index] = found
        else:
            candidates[index] = found
    stubs = await _create_stubs(connection, candidates, allow_pending_ends=allow_pending_ends)
    if stubs.conflicts:
        return stubs
    # a writer under a limited cardinality has to see the relationships of the other writers at both ends
    limited = {index for index, it in candidates.items() if any(type_.one_origin or type_.one_related for type_ in it.types)}
    refs = {index: it.refs for index, it in candidates.items()}
    ends = await resolve_and_lock(connection, refs, allow_pending_ends=allow_pending_ends, exclusive=limited)
    states: dict[int, ResolvedState | HeadwaterError] = {}
    for index, it in candidates.items():
        type_ = choose_type(it, ends[index], connection.now, allow_pending_ends=allow_pending_ends)
        if isinstance(type_, HeadwaterError):
            states[index] = type_
        else:
            states[index] = _resolved_state(requested[index], type_, ends[index])
    if limited:
        await defer_cardinality(connection)
    written = await write(connection, RELATIONSHIP, states, deletions, reject_restatement=reject_restatement)
    conflicts = []
    if limited:
        changed_ids = [it.subject[1] for it in written.changes]
        conflicts = await check_cardinality(connection, changed_ids, field="related")
    return WriteResult(rejected | written.outcomes, [*stubs.changes, *written.changes], conflicts)


async def _create_stubs(
    connection: WriteConnection, candidates: Mapping[int, TypeCandidates], *, allow_pending_ends: bool
) -> WriteResult:
    """Create the ends that exist in an external source only, unless something else rules out their relationship."""
    end_types = {ref.type for it in candidates.values() for ref in (it.refs.near, it.refs.far) if ref.type is not None}
    sourced = await sourced_types(connection, end_types) if end_types else {}
    if not sourced:
        return WriteResult({})
    ends = await resolve_ends(connection, {index: it.refs for index, it in candidates.items()})
    stubs: list[Stub] = []
    for index, it in candidates.items():
        near, far = ends[index]
        needed = []
        if it.refs.near.type in sourced and near.is_creatable:
            needed.append(Stub.of(it.refs.near, near, it.refs.at, index))
            near = needed[-1].resolved
        if it.refs.far.type in sourced and far.is_creatable:
            needed.append(Stub.of(it.refs.far, far, it.refs.at, index))
            far = needed[-1].resolved
        type_ = choose_type(it, Ends(near, far), connection.now, allow_pending_ends=allow_pending_ends)
        if not isinstance(type_, HeadwaterError):
            stubs += needed
    return await create_stubs(connection, sourced, stubs)


def _resolved_state(state: RelationshipState, type_: RelationshipTypeRow, ends: Ends) -> ResolvedState:
    origin, related = in_stored_order(type_, ends)
    key = (origin.asset_id, related.asset_id, type_.type_id, type_.one_origin, type_.one_related)
    return ResolvedState(key, relationship_uid(type_, origin.uid, related.uid), state.payload, state.at)


def _parameters(readings: Sequence[tuple[int, datetime]], types: DirectedTypeIds) -> dict[str, Any]:
    return {
        "assets": [asset_id for asset_id, _ in readings],
        "instants": [instant for _, instant in readings],
        "forward": list(types.forward),
        "reverse": list(types.reverse),
    }


def _by_ordinal(rows: Sequence[Any], count: int) -> list[list[Any]]:
    """Group rows by their ordinal, which counts from 1."""
    groups: list[list[Any]] = [[] for _ in range(count)]
    for row in rows:
        groups[row.ordinal - 1].append(row)
    return groups


def _filters(query: RelationshipQuery) -> _Filters:
    """Name the filters that a query has."""
    return frozenset(name for name in _FILTERS if getattr(query, name) is not None)


def _query_parameters(connection: ReadConnection, query: RelationshipQuery) -> dict[str, Any]:
    return {"as_of": query.as_of or connection.now_if_read, **{name: getattr(query, name) for name in _FILTERS}}


@lru_cache(MAX_SHAPES)
def _page_statement(filters: _Filters, order: AssociationOrder, descending: bool, page: PageShape) -> Statement:
    return compose(page.apply(_filtered(_SELECT, filters), *sort_columns(RELATIONSHIP, order), descending=descending))


@lru_cache(MAX_SHAPES)
def _count_statement(filters: _Filters) -> Statement:
    counting = (
        select(func.count().label("relationships"))
        .join_from(effective, relationships, is_identity_of(RELATIONSHIP))
        .where(effective.c.tenant_id == TENANT, valid_at(effective, AS_OF))
    )
    return compose(_filtered(counting, filters))


def _filtered(statement: Select[Any], filters: _Filters) -> Select[Any]:
    origin, related = (name if name in filters else None for name in ("origin", "related"))
    statement = where_ends(statement, RELATIONSHIP, origin, related)
    if "types" in filters:
        statement = statement.where(relationships.c.type_id == any_of("types", BigInteger))
    return statement
