"""Lineage links: reading them at any instant, and saying that one asset feeds another."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from db.associations import lineage_link as links
from db.associations.lineage_link import LinkQuery, LinkRow
from db.associations.lineage_link_fields import confidence_of
from db.consistency.consistent_dict import ConsistentDict
from db.errors import NotFound
from db.fields import refuse_unstorable
from db.tenancy.idempotency import run_once
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.asset_refs import AssetRef, asset_ref
from schema.language.cost import WRITE_WEIGHT, cost
from schema.language.inputs import (
    AT,
    INPUT,
    KEY,
    DeleteInput,
    DeletePayload,
    idempotency_key_of,
    input_field,
    optional_input_field,
    provided_fields,
)
from schema.language.node_ids import AsOf, Node, write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, paged
from schema.language.scopes import DOMAIN, READ, field, resolver
from schema.lazy import LazyAsset, assets_by_id

LINK_BY_UID = Batch(links.links_by_uid)
LINK_OBSERVATION = Batch(links.link_observations)


@strawberry.enum(description="How what flows along a link relates to where it comes from.")
class LineageType(Enum):
    DIRECT = strawberry.enum_value("DIRECT", description="It is taken over as it is.")
    DERIVED = strawberry.enum_value("DERIVED", description="It is computed from it.")
    AGGREGATED = strawberry.enum_value("AGGREGATED", description="It sums up much of it.")


@strawberry.type(description="A lineage link: one asset feeds another, by somebody's word. As it was at one instant.")
class LineageLink(Node):
    uid: UUID = field(READ, "Stable across time: the same for the same ends and producer.")
    source: LazyAsset = field(READ, "What feeds.")
    target: LazyAsset = field(READ, "What is fed.")
    type: LineageType = field(READ, "How what flows relates to where it comes from.")
    transformation: str | None = field(READ, "What is done on the way.")
    confidence: float = field(READ, "How sure it is, from 0 to 1.")
    metadata: JSON = field(READ, "Whatever else was said of it, a JSON object.")
    producer: str | None = field(READ, "Who says so; null: nobody in particular.")
    valid_from: datetime = field(READ, "Since when it has been like this: said, and with both ends alive.")
    valid_to: datetime | None = field(READ, "Until when it was like this; null: still so.")

    link_id: strawberry.Private[int]
    as_of: strawberry.Private[datetime]

    @resolver(READ, "When this was written down, which may be long after it came to hold.")
    async def recorded_at(self, info: Info) -> datetime:
        return (await info.context.load(LINK_OBSERVATION, (self.link_id, self.as_of))).recorded_at

    @resolver(READ, "When it was last said to be so, up to the instant of this reading.")
    async def last_seen_at(self, info: Info) -> datetime | None:
        return (await info.context.load(LINK_OBSERVATION, (self.link_id, self.as_of))).last_seen_at

    @classmethod
    def of(cls, row: LinkRow, nodes: Mapping[int, LazyAsset], pinned: datetime | None) -> "LineageLink":
        """A link out of its row and its ends; `pinned` is the instant that was asked for, if one was."""
        return cls(
            id=write_id("LineageLink", row.uid, pinned),
            uid=row.uid,
            source=nodes[row.source_id],
            target=nodes[row.target_id],
            type=LineageType[row.type],
            transformation=row.transformation,
            confidence=row.confidence,
            metadata=JSON(row.metadata),
            producer=row.producer,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            link_id=row.link_id,
            as_of=row.as_of,
        )

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "LineageLink | None":
        row = await info.context.load(LINK_BY_UID, uid, pinned)
        return None if row is None else (await links_of(info, [row], pinned))[0]


async def links_of(
    info: Info, rows: Sequence[LinkRow], pinned: datetime | None, known: Mapping[int, LazyAsset] | None = None
) -> list[LineageLink]:
    """Links out of their rows, all read at one instant. Ends that are known already are not read again."""
    nodes = known or {}
    missing = {it for row in rows for it in (row.source_id, row.target_id) if it not in nodes}
    if missing:
        found = await assets_by_id(info, missing, rows[0].as_of, pinned)
        nodes = ConsistentDict({**nodes, **found})
    return [LineageLink.of(row, nodes, pinned) for row in rows]


@strawberry.input(description="Which links: those that match every part given. An empty list matches nothing.")
class LineageLinkFilter:
    source: UUID | None = optional_input_field("From the asset with this uid.")
    target: UUID | None = optional_input_field("To the asset with this uid.")
    types: list[LineageType] | None = optional_input_field("Of any of these types.")
    producers: list[str] | None = optional_input_field("By the word of any of these.")
    min_confidence: float | None = optional_input_field("At least as sure as this.")


@strawberry.input(description="A lineage link, stated whole: what is left out takes its default, also of a link that is there.")
class RegisterLineageInput:
    source: AssetRef = input_field("What feeds.")
    target: AssetRef = input_field("What is fed.")
    type: LineageType | None = optional_input_field("How what flows relates to where it comes from; left out: DIRECT.")
    transformation: str | None = optional_input_field("What is done on the way.")
    confidence: float | None = input_field("How sure it is, from 0 to 1; null: 1.", default=1.0)
    metadata: JSON | None = optional_input_field("Whatever else is to be said of it, a JSON object.")
    producer: str | None = optional_input_field("Who says so: each has links of its own.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="What became of a lineage link.")
class LineageLinkPayload:
    link: LineageLink = field(READ, "The link from that instant on.")
    changed: bool = field(READ, "Whether anything is different now; false: it was so already, and was seen once more.")


@strawberry.type
class LinkQueries:
    @paged
    @resolver(READ, "The lineage links that hold at that instant, in the order in which they were first heard of.")
    async def lineage_links(
        self,
        info: Info,
        filter: Annotated[LineageLinkFilter | None, strawberry.argument(description="Which of them.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[LineageLink]:
        asked = parts_of(provided_fields(filter) or {})
        if asked.get("min_confidence") is not None:
            confidence_of("minConfidence", asked["min_confidence"])
        query = LinkQuery(**asked, as_of=as_of)
        keyset = Keyset("lineageLinks", query, key=(int,))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        connection = await info.context.transaction.reader()
        found = await links.list_links(connection, query, page)
        built = {it.link_id: it for it in await links_of(info, found.items, as_of)}
        return keyset.connection(
            page,
            found,
            node=lambda row: built[row.link_id],
            place=links.cursor_key,
            count=lambda: links.count_links(connection, query),
        )


@strawberry.type
class LinkMutations:
    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Says that one asset feeds another. One link holds at an instant for each source, target and producer.")
    async def register_lineage(self, info: Info, input: Annotated[RegisterLineageInput, INPUT]) -> LineageLinkPayload:
        # a whole statement: null is the same as left out, and that is the same as its default
        content = {"confidence": 1.0, **{name: part for name, part in provided_fields(input).items() if part is not None}}
        request = idempotency_key_of("registerLineage", content)
        source, target = asset_ref(content.pop("source")), asset_ref(content.pop("target"))
        at, producer = content.pop("at", None), content.pop("producer", None)
        connection = await info.context.transaction.writer()
        outcome = await run_once(
            connection, request, lambda: links.register(connection, source, target, producer, content, at=at)
        )
        info.context.invalidate()
        (row,) = await links.links_by_id(connection, [outcome.subject_id], outcome.at)
        if row is None:
            raise NotFound("The link, or one of its ends, has been ended at that very instant since, or was purged.", field="at")
        (link,) = await links_of(info, [row], at)
        return LineageLinkPayload(link=link, changed=outcome.changed)

    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Ends a lineage link at that instant. A read before it still sees it.")
    async def remove_lineage(self, info: Info, input: Annotated[DeleteInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        request = idempotency_key_of("removeLineage", content)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: links.remove(connection, input.uid, at=content.get("at")))
        info.context.invalidate()
        return DeletePayload.of("LineageLink", input, changed=outcome.changed)


def parts_of(asked: dict[str, Any]) -> dict[str, Any]:
    """The parts of a filter as a query has them: what could not stand in the database is refused by its name."""
    for name, part in asked.items():
        for text in part if isinstance(part, list) else ():
            refuse_unstorable(to_camel_case(name), text)
    return {name: tuple(part) if isinstance(part, list) else part for name, part in asked.items()}
