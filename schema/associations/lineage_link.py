"""Lineage links: one asset feeds another. Reads at any instant, and writes."""

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
from db.associations.order import cursor_key, order_parts, sort_key_types
from db.associations.reference import resolve_link
from db.fields import refuse_unstorable
from db.temporal.change_log import Outcome
from db.temporal.kinds import LINK
from schema.associations.association import (
    Association,
    association_histories,
    association_version,
    each_in_its_period,
    found_by_reference,
    records_of,
    uids_of_ends,
)
from schema.associations.order import AS_RECORDED, OrderBy, order_of
from schema.execution.connections import fetch_connection, read
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.execution.mutations import delete_once, lost_result_error, write_once
from schema.language.columns import backed_by_row, column, reads
from schema.language.cost import WRITE_COST, cost
from schema.language.fields import batched, field, resolver
from schema.language.inputs import (
    AT,
    END,
    INPUT,
    KEY,
    DeletePayload,
    idempotency_key_of,
    input_field,
    optional_input_field,
    provided_fields,
)
from schema.language.node_ids import ID, AsOf, write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, PageArguments, paged
from schema.language.references import CREATE_MISSING, AssetRef, LinkRef, asset_ref, link_ref
from schema.language.scopes import DOMAIN, READ
from schema.lazy import LazyAsset, ends_of
from schema.temporal.history import Version

LINK_BY_UID = Batch(links.links_by_uid)
LINK_OBSERVATION = Batch(links.link_observations)


@strawberry.enum(description="Kind of transformation from the source of a lineage link to its target.")
class LineageType(Enum):
    DIRECT = strawberry.enum_value("DIRECT", description="The target takes the data over unchanged.")
    DERIVED = strawberry.enum_value("DERIVED", description="The target computes its data from the source.")
    AGGREGATED = strawberry.enum_value("AGGREGATED", description="The target aggregates the source.")


@backed_by_row
@strawberry.federation.type(
    keys=["id", "uid"],
    description="A lineage link, as it was at one instant: one asset feeds another, as a producer reported it.",
)
class LineageLink(Association):
    id: strawberry.ID = column(READ, ID, compute=lambda row, pinned: write_id("LineageLink", row.uid, pinned), reads=("uid",))
    uid: UUID = column(READ, "Stable uid. It is the same for the same source, target and producer.")
    source: LazyAsset = reads("as_of")(field(READ, "The asset that feeds the target."))
    target: LazyAsset = reads("as_of")(field(READ, "The asset that the source feeds."))
    type: LineageType = column(READ, "Kind of transformation from the source to the target.")
    transformation: str | None = column(READ, "The transformation, such as a query or a job name.")
    confidence: float = column(READ, "Confidence in the link, from 0 to 1.")
    metadata: JSON = column(READ, "Further facts about the link, as a JSON object.")
    producer: str | None = column(READ, "The producer that reported the link. Null if none was given.")

    kind = LINK
    recorded = LINK_OBSERVATION
    row: strawberry.Private[LinkRow]

    @property
    def record_key(self) -> tuple[int, datetime, datetime]:
        return self.row.link_id, self.row.valid_from, self.row.as_of

    @reads("valid_from", "as_of")
    @batched(READ, "Instant of the latest report of the link, up to the instant of this read.")
    @staticmethod
    async def last_seen_at(links: Sequence["LineageLink"], info: Info) -> list[datetime | None]:
        return [it.last_seen_at for it in await records_of(info, links)]

    @reads("uid", "producer")
    @paged
    @batched(
        READ,
        "All versions of the link, oldest first, each with what changed: the periods in which it existed with both of its ends."
        " The history does not depend on asOf.",
    )
    @staticmethod
    async def history(
        links: Sequence["LineageLink"],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list["Connection[LineageLinkVersion]"]:
        return await association_histories(info, links, LineageLinkVersion, PageArguments(first, after, last, before))

    @classmethod
    def of(cls, row: LinkRow, ends: Mapping[int, LazyAsset], pinned: datetime | None) -> "LineageLink":
        """Build a link from its row and its ends; `pinned` is the requested instant, if any."""
        (link,) = cls.without_ends([row], pinned)
        link.source, link.target = ends[row["source_id"]], ends[row["target_id"]]
        return link

    @classmethod
    def without_ends(cls, rows: Sequence[LinkRow], pinned: datetime | None) -> list["LineageLink"]:
        """Build links whose ends are not selected."""
        links = []
        for row in rows:
            # the constructor would take longer than all else that is done for a link
            link = cls.__new__(cls)
            link.row, link.pinned = row, pinned
            links.append(link)
        return links

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "LineageLink | None":
        row = await info.context.load(LINK_BY_UID, uid, pinned)
        return None if row is None else (await links_of(info, [row], pinned))[0]


@strawberry.type(description="A period in the history of a lineage link in which its state did not change and both ends existed.")
class LineageLinkVersion(Version):
    row: strawberry.Private[Any]

    @batched(READ, "The link in this period.")
    @staticmethod
    async def link(versions: Sequence["LineageLinkVersion"], info: Info) -> list[LineageLink]:
        return await each_in_its_period([links_of(info, [it.row], it.row.as_of) for it in versions])

    @classmethod
    async def find(cls, info: Info, uid: UUID, start: datetime | None) -> "LineageLinkVersion | None":
        return await association_version(info, LINK, cls, uid, start)


async def links_of(
    info: Info, rows: Sequence[LinkRow], pinned: datetime | None, known: Mapping[int, LazyAsset] | None = None
) -> list[LineageLink]:
    """Build links from their rows, all read at one instant. Ends in `known` are not read again."""
    ends = await ends_of(info, [(row.source_id, row.target_id) for row in rows], rows[0].as_of, pinned, known) if rows else {}
    return [LineageLink.of(row, ends, pinned) for row in rows]


@strawberry.input(
    description="Filter of lineage links. A link matches if it matches every given field. An empty list matches nothing."
)
class LineageLinkFilter:
    source: AssetRef | None = optional_input_field("The source.")
    target: AssetRef | None = optional_input_field("The target.")
    types: list[LineageType] | None = optional_input_field("Any of these types.")
    producers: list[str] | None = optional_input_field("Any of these producers.")
    min_confidence: float | None = optional_input_field("Lowest confidence, from 0 to 1.")


@strawberry.input(
    description="The complete state of a lineage link. A field that is left out takes its default, also if the link"
    " exists already."
)
class RegisterLineageInput:
    source: AssetRef = input_field("The asset that feeds the target.")
    target: AssetRef = input_field("The asset that the source feeds.")
    type: LineageType | None = optional_input_field("Kind of transformation from the source to the target. Defaults to DIRECT.")
    transformation: str | None = optional_input_field("The transformation, such as a query or a job name.")
    confidence: float | None = input_field("Confidence in the link, from 0 to 1. Null is 1.", default=1.0)
    metadata: JSON | None = optional_input_field("Further facts about the link, as a JSON object.")
    producer: str | None = optional_input_field(
        "The producer that reports the link. Each producer has a separate link between two assets."
    )
    create_missing: bool | None = optional_input_field(CREATE_MISSING)
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(
    description="Changes of a lineage link. Fields that are left out stay as they are. Null stands for the default."
)
class UpdateLineageInput:
    link: LinkRef = input_field("The link to change.")
    type: LineageType | None = optional_input_field("New kind of transformation. Null is DIRECT.")
    transformation: str | None = optional_input_field("New transformation. Null removes it.")
    confidence: float | None = optional_input_field("New confidence, from 0 to 1. Null is 1.")
    metadata: JSON | None = optional_input_field("New further facts, a JSON object that replaces the earlier one. Null is empty.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="A lineage link to restore to its last state.")
class RestoreLineageInput:
    link: LinkRef = input_field("The link to restore.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="A lineage link to remove.")
class RemoveLineageInput:
    link: LinkRef = input_field("The link to remove.")
    at: datetime | None = optional_input_field(END)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="Result of a mutation of a lineage link.")
class LineageLinkPayload:
    link: LineageLink = field(READ, "The link from that instant on.")
    changed: bool = field(
        READ, "True if the mutation changed the link. False if it had this state already and was only observed again."
    )


@strawberry.type
class LinkQueries:
    @resolver(READ, "The lineage link that a reference names. Null if it is not effective at that instant.")
    async def lineage_link(
        self, info: Info, ref: Annotated[LinkRef, strawberry.argument(description="The link.")], as_of: AsOf = None
    ) -> LineageLink | None:
        named = link_ref(provided_fields(ref))
        if isinstance(named, UUID):
            return await LineageLink.find(info, named, as_of)
        connection = await info.context.transaction.reader()
        uid = await resolve_link(connection, named, await connection.instant(as_of), field="ref")
        return await found_by_reference(info, LineageLink.find, uid, as_of)

    @paged
    @resolver(READ, "Lineage links that are effective at an instant.")
    async def lineage_links(
        self,
        info: Info,
        filter: Annotated[LineageLinkFilter | None, strawberry.argument(description="Filter.")] = None,
        order_by: OrderBy = AS_RECORDED,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[LineageLink]:
        fields = parts_of(provided_fields(filter) or {})
        fields |= await uids_of_ends(info, fields, ("source", "target"), as_of)
        if fields.get("min_confidence") is not None:
            confidence_of("minConfidence", fields["min_confidence"])
        order, descending = order_of(order_by)
        query = LinkQuery(**fields, order=order, descending=descending, as_of=as_of)
        return await fetch_connection(
            info,
            Keyset(info.context.cursor_cipher, "lineageLinks", query, *order_parts(order, descending), key=sort_key_types(order)),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, links.list_links, query, page),
            nodes=lambda rows: links_of(info, rows, as_of),
            cursor_key=lambda row: cursor_key(LINK, row, order),
            count=lambda: read(info, links.count_links, query),
        )


@strawberry.type
class LinkMutations:
    @cost(WRITE_COST)
    @resolver(
        DOMAIN, "Register a lineage link, or update it. At any instant there is at most one per source, target and producer."
    )
    async def register_lineage(self, info: Info, input: Annotated[RegisterLineageInput, INPUT]) -> LineageLinkPayload:
        # the input is the complete state: null and a missing field both mean the default
        content = {"confidence": 1.0, **{name: part for name, part in provided_fields(input).items() if part is not None}}
        key = idempotency_key_of("registerLineage", content)
        source, target = asset_ref(content.pop("source")), asset_ref(content.pop("target"))
        at, producer = content.pop("at", None), content.pop("producer", None)
        create_missing = content.pop("create_missing", False)
        outcome = await write_once(
            info,
            key,
            lambda connection: links.register(
                connection, source, target, producer, content, at=at, create_missing=create_missing
            ),
        )
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(DOMAIN, "Change a lineage link from an instant on. NOT_FOUND if the link or one of its ends does not exist then.")
    async def update_lineage(self, info: Info, input: Annotated[UpdateLineageInput, INPUT]) -> LineageLinkPayload:
        content = provided_fields(input)
        key = idempotency_key_of("updateLineage", content)
        ref, at = link_ref(content.pop("link")), content.pop("at", None)
        outcome = await write_once(info, key, lambda connection: links.update(connection, ref, content, at=at))
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(
        DOMAIN,
        "Restore a removed lineage link to its last state, from that instant on. NOT_FOUND if an end does not exist then.",
    )
    async def restore_lineage(self, info: Info, input: Annotated[RestoreLineageInput, INPUT]) -> LineageLinkPayload:
        content = provided_fields(input)
        key = idempotency_key_of("restoreLineage", content)
        ref, at = link_ref(content["link"]), content.get("at")
        outcome = await write_once(info, key, lambda connection: links.restore(connection, ref, at=at))
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(DOMAIN, "Remove a lineage link from an instant on. Reads at earlier instants still return it.")
    async def remove_lineage(self, info: Info, input: Annotated[RemoveLineageInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        ref = link_ref(content["link"])
        return await delete_once(
            info, "removeLineage", "LineageLink", content, lambda connection, at: links.remove(connection, ref, at=at)
        )


async def _payload(info: Info, outcome: Outcome, at: datetime | None) -> LineageLinkPayload:
    """Build the payload of a write. The id of the link is pinned if the mutation gave an instant."""
    row = outcome.row or (await read(info, links.links_at, [(outcome.subject_id, outcome.at)]))[0]
    if row is None:
        raise lost_result_error("The link or one of its ends")
    (link,) = await links_of(info, [row], at)
    return LineageLinkPayload(link=link, changed=outcome.changed)


def parts_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the fields of a filter to those of a query. Refuse text that PostgreSQL cannot store."""
    for name, part in fields.items():
        for text in part if isinstance(part, list) else ():
            refuse_unstorable(to_camel_case(name), text)
    return {name: tuple(part) if isinstance(part, list) else part for name, part in fields.items()}
