"""Joins between assets: reading them at any instant, following them from asset to asset, and saying that there is one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.associations import relationship as relationships
from db.associations import relationship_fields
from db.associations.relationship import RelationshipQuery, RelationshipRow, RelationshipState
from db.consistency.consistent_dict import ConsistentDict
from db.errors import NotFound
from db.registries.relationship_type import DirectedTypeIds, RelationshipTypes
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
from schema.registries.relationship_type import RelationshipType, registry_of

RELATIONSHIP_BY_UID = Batch(relationships.relationships_by_uid)
RELATIONSHIPS_OF_ASSET = Batch(relationships.relationships_of_assets)
RELATIONSHIP_COUNT_OF_ASSET = Batch(relationships.count_relationships_of_assets)
RELATED_TO_ASSET = Batch(relationships.related_to_assets)
RELATED_COUNT_OF_ASSET = Batch(relationships.count_related)

Types = Annotated[
    list[str] | None,
    strawberry.argument(description="Only joins of these types, by their keys or codes. An empty list matches nothing."),
]


@strawberry.enum(description="From which of its ends a join is looked at.")
class RelationshipDirection(Enum):
    FORWARD = strawberry.enum_value(
        "FORWARD", description="The asset is the origin. Joins that read alike from both ends have none, and count as either."
    )
    REVERSE = strawberry.enum_value("REVERSE", description="The asset is the related end.")
    BOTH = strawberry.enum_value("BOTH", description="Either.")


Direction = Annotated[RelationshipDirection, strawberry.argument(description="From which of their ends.")]
BOTH = RelationshipDirection("BOTH")


@strawberry.type(description="A join of two assets, of a registered type. As it was at one instant.")
class Relationship(Node):
    uid: UUID = field(READ, "Stable across time: the same for the same type and ends.")
    type: RelationshipType = field(READ, "What joins them.")
    origin: LazyAsset = field(READ, "What the join leads from.")
    related: LazyAsset = field(READ, "What it leads to.")
    attributes: JSON = field(READ, "Whatever else was said of it, a JSON object.")
    valid_from: datetime = field(READ, "Since when it has been like this: said, and with both ends alive.")
    valid_to: datetime | None = field(READ, "Until when it was like this; null: still so.")

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "Relationship | None":
        row = await info.context.load(RELATIONSHIP_BY_UID, uid, pinned)
        return None if row is None else (await joins_of(info, [row], pinned))[0]


async def joins_of(
    info: Info, rows: Sequence[RelationshipRow], pinned: datetime | None, known: Mapping[int, LazyAsset] | None = None
) -> list[Relationship]:
    """Joins out of their rows, all read at one instant. Ends that are known already are not read again."""
    if not rows:
        return []
    types = await registry_of(info)
    nodes = known or {}
    missing = {it for row in rows for it in (row.origin_id, row.related_id) if it not in nodes}
    if missing:
        found = await assets_by_id(info, missing, rows[0].as_of, pinned)
        nodes = ConsistentDict({**nodes, **found})
    return [
        Relationship(
            id=write_id("Relationship", row.uid, pinned),
            uid=row.uid,
            type=RelationshipType.of(types.by_id[row.type_id]),
            origin=nodes[row.origin_id],
            related=nodes[row.related_id],
            attributes=JSON(row.attributes),
            valid_from=row.valid_from,
            valid_to=row.valid_to,
        )
        for row in rows
    ]


@strawberry.input(description="Which joins: those that match every part given.")
class RelationshipFilter:
    types: list[str] | None = optional_input_field(
        "Of any of these types, by their keys or codes. An empty list matches nothing."
    )
    origin: UUID | None = optional_input_field("From the asset with this uid.")
    related: UUID | None = optional_input_field("To the asset with this uid.")


@strawberry.input(
    description="A join of two assets, stated whole: what is left out takes its default, also of a join that is there."
)
class RelateInput:
    type: str = input_field("What joins them: the key of a relationship type, or its code where several have that key.")
    origin: AssetRef = input_field("What the join leads from.")
    related: AssetRef = input_field("What it leads to.")
    attributes: JSON | None = optional_input_field("Whatever else is to be said of it, a JSON object.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="What became of a join.")
class RelationshipPayload:
    relationship: Relationship = field(READ, "The join from that instant on.")
    changed: bool = field(READ, "Whether anything is different now; false: it was so already.")


@strawberry.type
class RelationshipQueries:
    @paged
    @resolver(READ, "The joins that hold at that instant, in the order in which they were first heard of.")
    async def relationships(
        self,
        info: Info,
        filter: Annotated[RelationshipFilter | None, strawberry.argument(description="Which of them.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Relationship]:
        asked = provided_fields(filter) or {}
        types = asked.get("types")
        if types is not None:
            types = _meant(await registry_of(info), types)
        query = RelationshipQuery(types, asked.get("origin"), asked.get("related"), as_of)
        keyset = Keyset("relationships", sorted(asked.items(), key=lambda it: it[0]), as_of, key=(int,))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        connection = await info.context.transaction.reader()
        found = await relationships.list_relationships(connection, query, page)
        built = dict(zip((it.relationship_id for it in found.items), await joins_of(info, found.items, as_of), strict=True))
        return keyset.connection(
            page,
            found,
            node=lambda row: built[row.relationship_id],
            place=relationships.cursor_key,
            count=lambda: relationships.count_relationships(connection, query),
        )


@strawberry.type
class RelationshipMutations:
    @cost(WRITE_WEIGHT)
    @resolver(
        DOMAIN,
        "Joins two assets. CONFLICT where the type allows one and there is another. An end that is named by its key, and of which"
        " nothing else is known, becomes a stub where its type has a source.",
    )
    async def relate(self, info: Info, input: Annotated[RelateInput, INPUT]) -> RelationshipPayload:
        # a whole statement: null is the same as left out
        content = {name: part for name, part in provided_fields(input).items() if part is not None}
        request = idempotency_key_of("relate", content)
        at = content.get("at")
        origin, related = asset_ref(content["origin"]), asset_ref(content["related"])
        stated = RelationshipState(input.type, origin, related, relationship_fields.validate_state(content), at)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: relationships.relate(connection, stated))
        info.context.invalidate()
        row = await relationships.relationship_by_id(connection, outcome.subject_id, outcome.at)
        if row is None:
            raise NotFound("The join, or one of its ends, has been ended at that very instant since, or was purged.", field="at")
        (joined,) = await joins_of(info, [row], at)
        return RelationshipPayload(relationship=joined, changed=outcome.changed)

    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Ends a join at that instant. A read before it still sees it.")
    async def unrelate(self, info: Info, input: Annotated[DeleteInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        request = idempotency_key_of("unrelate", content)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: relationships.unrelate(connection, input.uid, at=content.get("at")))
        info.context.invalidate()
        return DeletePayload.of("Relationship", input, changed=outcome.changed)


async def relationships_of_asset(
    info: Info,
    asset: LazyAsset,
    names: list[str] | None,
    direction: RelationshipDirection,
    *,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    as_of: datetime | None,
) -> Connection[Relationship]:
    """A page of the joins of an asset, at an instant of its own if one is asked for."""
    types = await registry_of(info)
    ids = tuple(types.by_id) if names is None else _meant(types, names)
    # where a join reads alike from both ends, neither of them is the origin
    mutual = tuple(it for it in ids if types.by_id[it].is_symmetric)
    ways = DirectedTypeIds(
        mutual if direction is RelationshipDirection.REVERSE else ids,
        mutual if direction is RelationshipDirection.FORWARD else ids,
    )
    instant, pinned = as_of or asset.as_of, as_of or asset.pinned
    keyset = Keyset("relationships of", asset.uid, names and sorted(names), direction, pinned, key=(int, int, int))
    page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
    reading = (asset.asset_id, instant)
    found = await info.context.load(RELATIONSHIPS_OF_ASSET, reading, ways, page)
    # at another instant than its own, the asset is not what it is here
    known = {asset.asset_id: asset} if (instant, pinned) == (asset.as_of, asset.pinned) else None
    built = dict(zip((it.relationship_id for it in found.items), await joins_of(info, found.items, pinned, known), strict=True))
    return keyset.connection(
        page,
        found,
        node=lambda row: built[row.relationship_id],
        place=lambda row: relationships.cursor_key_at(asset.asset_id, row),
        count=lambda: info.context.load(RELATIONSHIP_COUNT_OF_ASSET, reading, ways),
    )


async def related_connection(
    info: Info,
    asset: LazyAsset,
    key: str,
    *,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    as_of: datetime | None,
) -> Connection[LazyAsset]:
    """A page of what an asset is joined with under a key, at an instant of its own if one is asked for."""
    ways = (await registry_of(info)).directed_type_ids(key)
    instant, pinned = as_of or asset.as_of, as_of or asset.pinned
    keyset = Keyset("related", asset.uid, key, pinned, key=(int,))
    page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
    reading = (asset.asset_id, instant)
    found = await info.context.load(RELATED_TO_ASSET, reading, ways, page)
    nodes = await assets_by_id(info, found.items, instant, pinned)
    return keyset.connection(
        page,
        found,
        node=lambda asset_id: nodes[asset_id],
        place=lambda asset_id: (asset_id,),
        count=lambda: info.context.load(RELATED_COUNT_OF_ASSET, reading, ways),
    )


def _meant(types: RelationshipTypes, names: Sequence[str]) -> tuple[int, ...]:
    """The types that a filter names."""
    return tuple(sorted({it.type_id for name in names for it in types.matching(name, field="types")}))
