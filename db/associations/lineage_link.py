"""Lineage links: that one asset feeds another, by somebody's word. What holds at an instant, and how it is said and ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import BigInteger, Select, Text, Uuid, func, select, text

from db.assets.asset import Deletion
from db.associations import lineage_link_fields
from db.associations.association import AssetRef, ResolvedAsset, ResolvedState, missing_end_error, resolve_and_lock, write
from db.connection import ReadConnection, WriteConnection
from db.consistency.batch_conflicts import Results
from db.errors import BadInput, HeadwaterError
from db.filters import TENANT, any_of
from db.pagination import Page, Slice
from db.sql import statement
from db.tables import asset as assets
from db.tables import lineage_link as links
from db.tables import lineage_link_effective as effective
from db.temporal.change_log import Outcome
from db.temporal.kind import valid_at
from db.temporal.kinds import LINK

_OBSERVATIONS = statement("associations/link_observations")

_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/link")


class LinkState(NamedTuple):
    """The whole state, checked, that a link is said to have from an instant on; without one, from now on."""

    source: AssetRef
    target: AssetRef
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
class LinkObservation:
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


def cursor_key(row: LinkRow) -> tuple[Any, ...]:
    """Where a link stands in the list: what a cursor remembers."""
    return (row.link_id,)


async def links_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[LinkRow | None]:
    instant = as_of or connection.now
    rows = await connection.fetch(_select(instant).where(links.c.uid == any_of(uids, Uuid)))
    found = {row.uid: link_row(row, instant) for row in rows}
    return [found.get(uid) for uid in uids]


async def links_by_id(connection: ReadConnection, ids: Sequence[int], instant: datetime) -> list[LinkRow | None]:
    """The links with these ids that hold at an instant."""
    rows = await connection.fetch(_select(instant).where(effective.c.link_id == any_of(ids, BigInteger)))
    found = {row.link_id: link_row(row, instant) for row in rows}
    return [found.get(it) for it in ids]


async def list_links(connection: ReadConnection, query: LinkQuery, page: Page) -> Slice[LinkRow]:
    """A page of the links that hold at an instant, in the order in which they were first heard of."""
    instant = query.as_of or connection.now
    statement = page.apply(_filtered(_select(instant), query), effective.c.link_id)
    return page.slice(await connection.fetch(statement), lambda row: link_row(row, instant))


async def count_links(connection: ReadConnection, query: LinkQuery) -> int:
    instant = query.as_of or connection.now
    counting = select(func.count().label("links")).where(effective.c.tenant_id == TENANT, valid_at(effective, instant))
    row = await connection.fetch_one(_filtered(counting, query))
    return int(row.links) if row else 0


async def link_observations(connection: ReadConnection, readings: Sequence[tuple[int, datetime]]) -> list[LinkObservation]:
    """What was said of each link, by its id and the instant at which it was read."""
    rows = await connection.fetch(_OBSERVATIONS, {"links": [it[0] for it in readings], "instants": [it[1] for it in readings]})
    found = {row.place: LinkObservation(row.recorded_at, row.last_seen_at) for row in rows}
    return [found[place + 1] for place in range(len(readings))]


async def register(
    connection: WriteConnection,
    source: AssetRef,
    target: AssetRef,
    producer: str | None,
    fields: Mapping[str, Any],
    *,
    at: datetime | None = None,
) -> Outcome:
    """Say that one asset feeds another, whole, from an instant on."""
    stated = LinkState(source, target, lineage_link_fields.producer(producer), lineage_link_fields.validate_state(fields), at)
    (outcome,) = await upsert_each(connection, [stated])
    if isinstance(outcome, HeadwaterError):
        raise outcome
    return outcome


async def remove(connection: WriteConnection, uid: UUID, *, at: datetime | None = None) -> Outcome:
    """End a link."""
    (outcome,) = await upsert_each(connection, [], ended=[Deletion(uid, at)])
    if isinstance(outcome, HeadwaterError):
        raise outcome
    return outcome


async def upsert_each(
    connection: WriteConnection,
    batch: Sequence[LinkState],
    *,
    ended: Sequence[Deletion] = (),
    reject_restatement: bool = False,
    allow_pending_ends: bool = False,
) -> list[Outcome | HeadwaterError]:
    """Write what is said of links, and which of them end. Each is accepted or refused by itself; what became of ends comes last.

    An `early` link may be stated of an instant at which an end is not there: it holds as soon as both are.
    """
    refused: Results = {}
    instants = [it.at for it in batch] * 2
    ends = await resolve_and_lock(
        connection, [it.source for it in batch] + [it.target for it in batch], instants, allow_pending_ends=allow_pending_ends
    )
    stating: dict[int, ResolvedState] = {}
    for place, it in enumerate(batch):
        source, target = ends[place], ends[len(batch) + place]
        reason = _link_error(it, source, target, it.at or connection.now, allow_pending_ends=allow_pending_ends)
        if reason is not None:
            refused[place] = reason
            continue
        key = (source.asset_id, target.asset_id, it.producer)
        stating[place] = ResolvedState(key, link_uid(source.uid, target.uid, it.producer), it.payload, it.at)
    ending = dict(enumerate(ended, len(batch)))
    results, _ = await write(connection, LINK, stating, ending, reject_restatement=reject_restatement, called="lineage link")
    return [(refused | results)[place] for place in range(len(batch) + len(ended))]


def _link_error(
    stated: LinkState, source: ResolvedAsset, target: ResolvedAsset, instant: datetime, *, allow_pending_ends: bool
) -> HeadwaterError | None:
    """Why there can be no such link at that instant, if there cannot."""
    for field, end, found in (("source", stated.source, source), ("target", stated.target, target)):
        if (
            reason := missing_end_error(end, found, instant, field=field, needs="a link", allow_pending_ends=allow_pending_ends)
        ) is not None:
            return reason
    if source.asset_id == target.asset_id:
        return BadInput("source and target are the same asset. A link leads from one to another.", field="target")
    return None


def _select(instant: datetime) -> Select[Any]:
    return (
        select(
            effective.c.link_id,
            links.c.uid,
            effective.c.source_id,
            effective.c.target_id,
            effective.c.producer,
            effective.c.type,
            effective.c.transformation,
            effective.c.confidence,
            effective.c.metadata,
            effective.c.valid_from,
            func.nullif(effective.c.valid_to, text("'infinity'")).label("valid_to"),
        )
        .join(links, (links.c.tenant_id == effective.c.tenant_id) & (links.c.id == effective.c.link_id))
        .where(effective.c.tenant_id == TENANT, valid_at(effective, instant))
    )


def _filtered(statement: Select[Any], query: LinkQuery) -> Select[Any]:
    for column, uid in ((effective.c.source_id, query.source), (effective.c.target_id, query.target)):
        if uid is not None:
            named = select(assets.c.id).where(assets.c.tenant_id == TENANT, assets.c.uid == uid).scalar_subquery()
            statement = statement.where(column == named)
    if query.types is not None:
        statement = statement.where(effective.c.type == any_of(query.types, Text))
    if query.producers is not None:
        statement = statement.where(effective.c.producer == any_of(query.producers, Text))
    if query.min_confidence is not None:
        statement = statement.where(effective.c.confidence >= query.min_confidence)
    return statement


def link_row(row: Any, instant: datetime) -> LinkRow:
    """Build a link from a row with its columns, read at an instant."""
    return LinkRow(
        link_id=row.link_id,
        uid=row.uid,
        source_id=row.source_id,
        target_id=row.target_id,
        producer=row.producer,
        type=row.type,
        transformation=row.transformation,
        confidence=row.confidence,
        metadata=row.metadata,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        as_of=instant,
    )
