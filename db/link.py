"""Lineage links: that one asset feeds another, by somebody's word. What holds at an instant, and how it is said and ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import BigInteger, Select, Text, Uuid, bindparam, func, select, text

from db import link_fields
from db.asset import Ended
from db.bond import End, Found, Stating, hold, missing, write
from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, HeadwaterError
from db.kind import holds_at
from db.kinds import LINK
from db.pagination import Page, Slice
from db.quarrel import Results
from db.sql import any_of, load
from db.tables import asset as assets
from db.tables import lineage_link as held
from db.tables import link as links
from db.temporal import Outcome

_SAID = text(load("said_of_links"))

_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/link")

_tenant = bindparam("tenant", type_=BigInteger)


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
    counting = select(func.count().label("links")).where(held.c.tenant_id == _tenant, holds_at(held, instant))
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
    refused: Results = {}
    instants = [it.at for it in batch] * 2
    ends = await hold(connection, [it.source for it in batch] + [it.target for it in batch], instants, early=early)
    stating: dict[int, Stating] = {}
    for place, it in enumerate(batch):
        source, target = ends[place], ends[len(batch) + place]
        reason = _refusal(it, source, target, it.at or connection.now, early=early)
        if reason is not None:
            refused[place] = reason
            continue
        key = (source.asset_id, target.asset_id, it.producer)
        stating[place] = Stating(key, link_uid(source.uid, target.uid, it.producer), it.payload, it.at)
    ending = dict(enumerate(ended, len(batch)))
    results, _ = await write(connection, LINK, stating, ending, once=once, called="lineage link")
    return [(refused | results)[place] for place in range(len(batch) + len(ended))]


def _refusal(stated: Stated, source: Found, target: Found, instant: datetime, *, early: bool) -> HeadwaterError | None:
    """Why there can be no such link at that instant, if there cannot."""
    for field, end, found in (("source", stated.source, source), ("target", stated.target, target)):
        if (reason := missing(end, found, instant, field=field, needs="a link", early=early)) is not None:
            return reason
    if source.asset_id == target.asset_id:
        return BadInput("source and target are the same asset. A link leads from one to another.", field="target")
    return None


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
        .where(held.c.tenant_id == _tenant, holds_at(held, instant))
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
