"""Lineage links: statements of producers that one asset feeds another. Reads at an instant, and writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

from sqlalchemy import Double, Select, Uuid, bindparam, func, select

from db.assets.asset import Deletion
from db.assets.reference import AssetRef
from db.associations import lineage_link_fields
from db.associations.association import (
    EndRefs,
    Ends,
    ResolvedState,
    lock_one,
    missing_end_error,
    record_one,
    resolve_and_lock,
    without_end_error,
    write,
)
from db.associations.effective import select_effective, where_ends
from db.associations.order import AssociationOrder, sort_columns
from db.associations.reference import LinkRef, link_uid, lock_ends_of_link, named_by
from db.associations.stub import create_missing_ends
from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, HeadwaterError, NotFound
from db.filters import AS_OF, TENANT, any_of, distinct, filters_of, is_among
from db.instants import just_before
from db.pagination import Page, PageShape, Slice
from db.sql import MAX_SHAPES, Statement, compose, statement
from db.tables import lineage_link as links
from db.tables import lineage_link_effective as effective
from db.temporal.change_log import Assertion, Operation, Outcome, raise_first_error
from db.temporal.kind import valid_at
from db.temporal.kinds import LINK

_COLUMNS = ("source_id", "target_id", "producer", "type", "transformation", "confidence", "metadata")
_SELECT = select_effective(LINK, _COLUMNS)
_BY_UID = compose(_SELECT.where(links.c.uid == any_of("uids", Uuid)))
_AT = statement("associations/links_at")

# Filters of a query, by the parameter that holds their value.
_FILTERS = ("source", "target", "types", "producers", "min_confidence")
_Filters = frozenset[str]


class LinkState(NamedTuple):
    """The whole, validated state of a link from an instant on. Without an instant it holds from now on."""

    source: AssetRef
    target: AssetRef
    producer: str | None
    payload: Mapping[str, Any]
    at: datetime | None = None


class LinkRow(Protocol):
    """A link at one instant. Its columns are read by attribute or by name."""

    link_id: int
    uid: UUID
    source_id: int
    target_id: int
    producer: str | None
    type: str
    transformation: str | None
    confidence: float
    metadata: dict[str, Any]
    valid_from: datetime
    valid_to: datetime | None
    as_of: datetime

    def __getitem__(self, name: str) -> Any: ...


class LinkObservation(Protocol):
    """The first instant of a link, the author and the time of the change that made it as it is, and its last assertion."""

    created_at: datetime
    recorded_at: datetime
    actor: str
    credential: str | None
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class LinkQuery:
    """Filters and order of a list of links. None does not filter; an empty collection matches nothing."""

    source: UUID | None = None
    target: UUID | None = None
    types: tuple[str, ...] | None = None
    producers: tuple[str, ...] | None = None
    min_confidence: float | None = None
    # not in the digest of a cursor: see order_parts
    order: AssociationOrder = field(default=AssociationOrder.RECORDED, repr=False)
    descending: bool = field(default=False, repr=False)
    as_of: datetime | None = None


def content_of(row: LinkRow) -> tuple[Any, ...]:
    """Return the state of a link without its identity and period."""
    return row.type, row.transformation, row.confidence, row.metadata


async def links_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[LinkRow | None]:
    rows = await connection.fetch(_BY_UID, {"uids": distinct(uids), "as_of": as_of or connection.now_if_read})
    by_uid = {row.uid: cast(LinkRow, row) for row in rows}
    return [by_uid.get(uid) for uid in uids]


async def links_at(connection: ReadConnection, readings: Sequence[tuple[int, datetime]]) -> list[LinkRow | None]:
    """Read links by id, each at its own instant. One that is not effective then is None."""
    parameters = {"links": [link_id for link_id, _ in readings], "instants": [instant for _, instant in readings]}
    found: list[LinkRow | None] = [None] * len(readings)
    for row in await connection.fetch(_AT, parameters):
        found[row.ordinal - 1] = cast(LinkRow, row)
    return found


async def list_links(connection: ReadConnection, query: LinkQuery, page: Page) -> Slice[LinkRow]:
    """Read a page of the links that are effective at an instant, in the order of the query."""
    statement = _page_statement(filters_of(query, _FILTERS), query.order, query.descending, page.shape)
    rows = await connection.fetch(statement, {**_parameters(connection, query), **page.parameters})
    return page.slice(rows, lambda row: cast(LinkRow, row))


async def count_links(connection: ReadConnection, query: LinkQuery) -> int:
    row = await connection.fetch_one(_count_statement(filters_of(query, _FILTERS)), _parameters(connection, query))
    return int(row.links) if row else 0


async def link_observations(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime, datetime]]
) -> list[LinkObservation]:
    """Read the observations of links, each given by its id, the start of its period, and the instant at which it was read."""
    subjects, starts, instants = zip(*readings, strict=True)
    rows = await connection.fetch(
        LINK.statement("associations/link_observations"), {"subjects": subjects, "starts": starts, "instants": instants}
    )
    by_ordinal = {row.ordinal: cast(LinkObservation, row) for row in rows}
    return [by_ordinal[ordinal] for ordinal in range(1, len(readings) + 1)]


async def register(
    connection: WriteConnection,
    source: AssetRef,
    target: AssetRef,
    producer: str | None,
    fields: Mapping[str, Any],
    *,
    at: datetime | None = None,
    create_missing: bool = False,
) -> Outcome:
    """Assert the whole state of a link from an instant on.

    With `create_missing`, an end that was never recorded becomes a stub.
    """
    state = LinkState(source, target, lineage_link_fields.producer(producer), lineage_link_fields.validate_state(fields), at)
    if create_missing:
        await create_missing_ends(connection, EndRefs(source, target, at), fields=("source", "target"))
    (outcome,) = raise_first_error(await upsert_each(connection, [state]))
    return outcome


async def update(connection: WriteConnection, ref: LinkRef, fields: Mapping[str, Any], *, at: datetime | None = None) -> Outcome:
    """Change some fields of the link that a reference names from an instant on, at which both of its ends exist."""
    payload = lineage_link_fields.validate_patch(fields)
    link_id = await _lock(connection, ref, at)
    return await _record(connection, Assertion(link_id, Operation.PATCH, payload, at))


async def restore(connection: WriteConnection, ref: LinkRef, *, at: datetime | None = None) -> Outcome:
    """Assert the last state of a link again from an instant on, at which both of its ends exist."""
    link_id = await _lock(connection, ref, at)
    last = await connection.fetch_one(LINK.statement("temporal/last_state"), {"subject": link_id, "instant": at})
    if last is None:
        raise NotFound("The link has no state to restore: it does not exist before that instant. Give a later at.", field="at")
    return await _record(connection, Assertion(link_id, Operation.SET, last.state, at))


async def _lock(connection: WriteConnection, ref: LinkRef, at: datetime | None) -> int:
    """Lock the link that a reference names, and return its id."""
    (uid,) = raise_first_error([await lock_ends_of_link(connection, ref, at, field="link")])
    (link_id,) = raise_first_error([named_by(LINK, await lock_one(connection, LINK, uid), ref, field="link")])
    return link_id


async def _record(connection: WriteConnection, assertion: Assertion) -> Outcome:
    """Record an assertion about a locked link. The outcome has the row of the link."""
    outcome = await record_one(connection, LINK, assertion, field="link")
    (row,) = await links_at(connection, [(outcome.subject_id, outcome.at)])
    if row is None:
        raise without_end_error(LINK, outcome.at, field="link")
    return outcome._replace(row=row)


async def remove(connection: WriteConnection, ref: LinkRef, *, at: datetime | None = None) -> Outcome:
    """End the link that a reference names until an instant."""
    (uid,) = raise_first_error([await lock_ends_of_link(connection, ref, just_before(at), field="link")])
    (outcome,) = await upsert_each(connection, [], deletions=[Deletion(uid, at)])
    (outcome,) = raise_first_error([named_by(LINK, outcome, ref, field="link")])
    return outcome._replace(uid=uid)


async def upsert_each(
    connection: WriteConnection,
    batch: Sequence[LinkState],
    *,
    deletions: Sequence[Deletion] = (),
    reject_restatement: bool = False,
    allow_pending_ends: bool = False,
) -> list[Outcome | HeadwaterError]:
    """Assert states of links, and end others, each accepted or rejected independently. Outcomes of deletions come last.

    With `allow_pending_ends` an end need not exist at the instant: the link becomes effective when both ends exist.
    """
    refs = {index: EndRefs(it.source, it.target, it.at) for index, it in enumerate(batch)}
    ends = await resolve_and_lock(connection, refs, allow_pending_ends=allow_pending_ends)
    states: dict[int, ResolvedState | HeadwaterError] = {}
    for index, state in enumerate(batch):
        error = _ends_error(refs[index], ends[index], connection.now, allow_pending_ends=allow_pending_ends)
        states[index] = error or _resolved_state(state, ends[index])
    result = await write(
        connection,
        LINK,
        states,
        dict(enumerate(deletions, len(batch))),
        reject_restatement=reject_restatement,
    )
    return [result.outcomes[index] for index in range(len(batch) + len(deletions))]


def _ends_error(refs: EndRefs, ends: Ends, now: datetime, *, allow_pending_ends: bool) -> HeadwaterError | None:
    """Return the error if there can be no link between these ends."""
    error = missing_end_error(LINK, refs, ends, now, allow_pending_ends=allow_pending_ends)
    if error is None and ends.near.asset_id == ends.far.asset_id:
        return BadInput("source and target are the same asset. Give two different assets.", field="target")
    return error


def _resolved_state(state: LinkState, ends: Ends) -> ResolvedState:
    key = (ends.near.asset_id, ends.far.asset_id, state.producer)
    return ResolvedState(key, link_uid(ends.near.uid, ends.far.uid, state.producer), state.payload, state.at)


def _parameters(connection: ReadConnection, query: LinkQuery) -> dict[str, Any]:
    return {"as_of": query.as_of or connection.now_if_read, **{name: getattr(query, name) for name in _FILTERS}}


@lru_cache(MAX_SHAPES)
def _page_statement(filters: _Filters, order: AssociationOrder, descending: bool, page: PageShape) -> Statement:
    return compose(page.apply(_filtered(_SELECT, filters), *sort_columns(LINK, order), descending=descending))


@lru_cache(MAX_SHAPES)
def _count_statement(filters: _Filters) -> Statement:
    counting = select(func.count().label("links")).where(effective.c.tenant_id == TENANT, valid_at(effective, AS_OF))
    return compose(_filtered(counting, filters))


def _filtered(statement: Select[Any], filters: _Filters) -> Select[Any]:
    source, target = (name if name in filters else None for name in ("source", "target"))
    statement = where_ends(statement, LINK, source, target)
    if "types" in filters:
        statement = statement.where(is_among(effective.c.type, "types", filters))
    if "producers" in filters:
        statement = statement.where(is_among(effective.c.producer, "producers", filters))
    if "min_confidence" in filters:
        statement = statement.where(effective.c.confidence >= bindparam("min_confidence", type_=Double))
    return statement
