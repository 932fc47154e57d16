"""Lineage links: that one asset feeds another, by somebody's word. What holds at an instant, and how it is said and ends."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import BigInteger, Select, Text, Uuid, and_, bindparam, func, select, text

from db import link_fields
from db.asset import Ended
from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, HeadwaterError, Interrupted, NotFound
from db.fields import refuse_unstorable
from db.instants import write_instant
from db.pagination import Page, Slice
from db.sql import any_of, load
from db.tables import asset as assets
from db.tables import lineage_link as held
from db.tables import link as links
from db.tables import link_version as versions
from db.temporal import Assertion, Kind, Operation, Outcome, record_each

LINK = Kind("LINK", versions, subject="link_id", identities=links, projections=["links"])

_RESOLVE = text(load("resolve_ends"))
_HOLD = text(load("hold_assets"))
_LOCK = text(load("lock_links"))
_LOCK_BY_UID = text(load("lock_links_by_uid"))
_ADD = text(load("add_links"))
_SAID = text(load("said_of_links"))

_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/link")

_tenant = bindparam("tenant", type_=BigInteger)


class End(NamedTuple):
    """Which asset a link is said to begin or end at: by one of uid, product name, and entity type with key."""

    uid: UUID | None = None
    product: str | None = None
    type: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        if self.uid is not None:
            return f"asset with the uid {self.uid}"
        if self.product is not None:
            return f"product called {self.product[:100]!r}"
        return f"{(self.type or '')[:100]} with the key {(self.key or '')[:100]!r}"


class Stated(NamedTuple):
    """The whole state, checked, that a link is said to have from an instant on; without one, from now on."""

    source: End
    target: End
    producer: str | None
    payload: Mapping[str, Any]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link as it was at one instant."""

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

    @property
    def content(self) -> tuple[Any, ...]:
        """What is said of it."""
        return self.type, self.transformation, self.confidence, self.metadata


@dataclass(frozen=True, slots=True)
class LinkSaid:
    """When what holds of a link was written down, and when it was last said to be so."""

    recorded_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class LinkQuery:
    """Which links. A filter that is None leaves nothing out; an empty one leaves out everything."""

    source: UUID | None = None
    target: UUID | None = None
    types: tuple[str, ...] | None = None
    producers: tuple[str, ...] | None = None
    min_confidence: float | None = None
    as_of: datetime | None = None


def link_uid(source: UUID, target: UUID, producer: str | None) -> UUID:
    """The uid of the link between two assets by somebody's word, the same wherever it is said."""
    return uuid5(_NAMESPACE, f"{source}\0{target}\0{producer or ''}")


def place_of(row: LinkRow) -> tuple[Any, ...]:
    """Where a link stands in the list: what a cursor remembers."""
    return (row.link_id,)


async def links_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[LinkRow | None]:
    instant = as_of or connection.now
    rows = await connection.fetch(_select(instant).where(links.c.uid == any_of(uids, Uuid)))
    found = {row.uid: link_row(row, instant) for row in rows}
    return [found.get(uid) for uid in uids]


async def links_by_id(connection: ReadConnection, ids: Sequence[int], instant: datetime) -> list[LinkRow | None]:
    """The links with these ids that hold at an instant."""
    rows = await connection.fetch(_select(instant).where(held.c.link_id == any_of(ids, BigInteger)))
    found = {row.link_id: link_row(row, instant) for row in rows}
    return [found.get(it) for it in ids]


async def list_links(connection: ReadConnection, query: LinkQuery, page: Page) -> Slice[LinkRow]:
    """A page of the links that hold at an instant, in the order in which they were first heard of."""
    instant = query.as_of or connection.now
    statement = page.apply(_filtered(_select(instant), query), held.c.link_id)
    return page.slice(await connection.fetch(statement), lambda row: link_row(row, instant))


async def count_links(connection: ReadConnection, query: LinkQuery) -> int:
    instant = query.as_of or connection.now
    counting = select(func.count().label("links")).where(held.c.tenant_id == _tenant, _at(instant))
    row = await connection.fetch_one(_filtered(counting, query))
    return int(row.links) if row else 0


async def said_of_links(connection: ReadConnection, readings: Sequence[tuple[int, datetime]]) -> list[LinkSaid]:
    """What was said of each link, by its id and the instant at which it was read."""
    rows = await connection.fetch(_SAID, {"links": [it[0] for it in readings], "instants": [it[1] for it in readings]})
    found = {row.place: LinkSaid(row.recorded_at, row.last_seen_at) for row in rows}
    return [found[place + 1] for place in range(len(readings))]


async def register(
    connection: WriteConnection,
    source: End,
    target: End,
    producer: str | None,
    fields: Mapping[str, Any],
    *,
    at: datetime | None = None,
) -> Outcome:
    """Say that one asset feeds another, whole, from an instant on."""
    stated = Stated(source, target, link_fields.producer(producer), link_fields.whole(fields), at)
    (outcome,) = await state_each(connection, [stated])
    if isinstance(outcome, HeadwaterError):
        raise outcome
    return outcome


async def remove(connection: WriteConnection, uid: UUID, *, at: datetime | None = None) -> Outcome:
    """End a link."""
    (outcome,) = await state_each(connection, [], ended=[Ended(uid, at)])
    if isinstance(outcome, HeadwaterError):
        raise outcome
    return outcome


async def state_each(
    connection: WriteConnection,
    batch: Sequence[Stated],
    *,
    ended: Sequence[Ended] = (),
    once: bool = False,
    early: bool = False,
) -> list[Outcome | HeadwaterError]:
    """Write what is said of links, and which of them end. Each is accepted or refused by itself; what became of ends comes last.

    An `early` link may be stated of an instant at which an end is not there: it holds as soon as both are.
    """
    results: dict[int, Outcome | HeadwaterError] = {}
    instants = [it.at for it in batch] * 2
    ends = await _hold(connection, [it.source for it in batch] + [it.target for it in batch], instants, early=early)
    between: dict[int, tuple[int, int, str | None]] = {}
    uids: dict[tuple[int, int, str | None], UUID] = {}
    for place, it in enumerate(batch):
        source, target = ends[place], ends[len(batch) + place]
        refused = _refusal(it, source, target, it.at or connection.now, early=early)
        if refused is not None:
            results[place] = refused
            continue
        between[place] = (source.asset_id, target.asset_id, it.producer)
        uids[between[place]] = link_uid(source.uid, target.uid, it.producer)
    ids = await _add_or_lock(connection, uids)
    assertions = {
        place: Assertion(ids[key], Operation.SET, batch[place].payload, batch[place].at) for place, key in between.items()
    }
    known = await _lock_by_uid(connection, {it.uid for it in ended}, {uids[key]: link_id for key, link_id in ids.items()})
    for place, end in enumerate(ended, len(batch)):
        if end.uid in known:
            assertions[place] = Assertion(known[end.uid], Operation.DELETE, None, end.at)
        else:
            results[place] = NotFound(f"There is no lineage link with the uid {end.uid}.", field="uid")
    if assertions:
        outcomes = await record_each(connection, LINK, list(assertions.values()), once=once)
        results |= zip(assertions, outcomes, strict=True)
    return [results[place] for place in range(len(batch) + len(ended))]


class Found(NamedTuple):
    """What a reference means, and whether that is alive at the instant."""

    asset_id: int
    uid: UUID
    alive: bool


NOTHING = Found(0, UUID(int=0), False)


async def _hold(
    connection: WriteConnection, ends: Sequence[End], instants: Sequence[datetime | None], *, early: bool
) -> list[Found]:
    """What references mean, each at its instant; none of it changes until the transaction ends."""
    if not ends:
        return []
    first = await resolve(connection, ends, instants)
    await connection.fetch(_HOLD, {"assets": sorted({it.asset_id for it in first if it is not NOTHING})})
    if early and all(end.product is None for end in ends):
        # what bears a uid or a key bears it always
        return first
    # whoever held a lock may have renamed one, or ended it
    found = await resolve(connection, ends, instants)
    if any(before.asset_id != after.asset_id for before, after in zip(first, found, strict=True)):
        raise Interrupted("Another writer gave the name of an end to another product meanwhile. Try again.")
    return found


async def resolve(connection: ReadConnection, ends: Sequence[End], instants: Sequence[datetime | None]) -> list[Found]:
    """What references mean, each at its instant, else now: from then on, that is the now of the request."""
    places: dict[tuple[End, datetime | None], int] = {}
    for end, instant in zip(ends, instants, strict=True):
        places.setdefault((end, instant), len(places) + 1)
    asked = list(places)
    rows = await connection.fetch(
        _RESOLVE,
        {
            "uids": [end.uid for end, _ in places],
            "products": [_storable(end.product) for end, _ in places],
            "types": [_storable(end.type) for end, _ in places],
            "keys": [_storable(end.key) for end, _ in places],
            "instants": [instant for _, instant in places],
            "now": connection.now,
        },
    )
    now = [row.instant for row, (_, instant) in ((row, asked[row.place - 1]) for row in rows) if instant is None]
    connection.now = max([connection.now, *now])
    found = {row.place: Found(row.id, row.uid, row.alive) for row in rows}
    return [found.get(places[it], NOTHING) for it in zip(ends, instants, strict=True)]


def _storable(name: str | None) -> str | None:
    """A name, unless nothing can be called so."""
    try:
        refuse_unstorable("name", name or "")
    except BadInput:
        return None
    return name


def _refusal(stated: Stated, source: Found, target: Found, instant: datetime, *, early: bool) -> HeadwaterError | None:
    """Why there can be no such link at that instant, if there cannot."""
    for field, end, found in (("source", stated.source, source), ("target", stated.target, target)):
        if found is NOTHING:
            when = f" at {write_instant(instant)}" if end.product is not None else ""
            return NotFound(f"There is no {end}{when}.", field=field)
        if not found.alive and not early:
            reason = f"The {end} does not exist at {write_instant(instant)}, and a link needs both of its ends."
            return NotFound(reason, field=field)
    if source.asset_id == target.asset_id:
        return BadInput("source and target are the same asset. A link leads from one to another.", field="target")
    return None


async def _add_or_lock(
    connection: WriteConnection, uids: Mapping[tuple[int, int, str | None], UUID]
) -> dict[tuple[int, int, str | None], int]:
    """Give links their identities, or lock the ones they have."""
    if not uids:
        return {}
    found = await _lock(connection, list(uids))
    unknown = [it for it in uids if it not in found]
    if unknown:
        rows = await connection.fetch(_ADD, {"uids": [uids[it] for it in unknown], **_parts(unknown)})
        # what is new is locked by being new
        found |= {(row.source_id, row.target_id, row.producer): row.id for row in rows}
        overtaken = [it for it in unknown if it not in found]
        if overtaken:
            found |= await _lock(connection, overtaken)
    return found


async def _lock_by_uid(connection: WriteConnection, wanted: Set[UUID], locked: Mapping[UUID, int]) -> dict[UUID, int]:
    """Links by their uids: those that are locked already, and others that are locked now."""
    others = wanted - locked.keys()
    if not others:
        return dict(locked)
    return {**locked, **{row.uid: row.id for row in await connection.fetch(_LOCK_BY_UID, {"uids": list(others)})}}


async def _lock(
    connection: WriteConnection, wanted: Sequence[tuple[int, int, str | None]]
) -> dict[tuple[int, int, str | None], int]:
    rows = await connection.fetch(_LOCK, _parts(wanted))
    return {(row.source_id, row.target_id, row.producer): row.id for row in rows}


def _parts(wanted: Sequence[tuple[int, int, str | None]]) -> dict[str, Any]:
    return {
        "sources": [it[0] for it in wanted],
        "targets": [it[1] for it in wanted],
        "producers": [it[2] for it in wanted],
    }


def _at(instant: datetime) -> Any:
    return and_(held.c.valid_from <= instant, held.c.valid_to > instant)


def _select(instant: datetime) -> Select[Any]:
    return (
        select(
            held.c.link_id,
            links.c.uid,
            held.c.source_id,
            held.c.target_id,
            held.c.producer,
            held.c.type,
            held.c.transformation,
            held.c.confidence,
            held.c.metadata,
            held.c.valid_from,
            func.nullif(held.c.valid_to, text("'infinity'")).label("valid_to"),
        )
        .join(links, (links.c.tenant_id == held.c.tenant_id) & (links.c.id == held.c.link_id))
        .where(held.c.tenant_id == _tenant, _at(instant))
    )


def _filtered(statement: Select[Any], query: LinkQuery) -> Select[Any]:
    for column, uid in ((held.c.source_id, query.source), (held.c.target_id, query.target)):
        if uid is not None:
            named = select(assets.c.id).where(assets.c.tenant_id == _tenant, assets.c.uid == uid).scalar_subquery()
            statement = statement.where(column == named)
    if query.types is not None:
        statement = statement.where(held.c.type == any_of(query.types, Text))
    if query.producers is not None:
        statement = statement.where(held.c.producer == any_of(query.producers, Text))
    if query.min_confidence is not None:
        statement = statement.where(held.c.confidence >= query.min_confidence)
    return statement


def link_row(columns: Any, instant: datetime) -> LinkRow:
    """A link out of its columns, in the order of `LinkRow`, read at an instant."""
    return LinkRow(*(*columns, instant))
