"""Relationships between assets: reads at any instant, related assets, and writes."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.associations import relationship as relationships
from db.associations import relationship_fields
from db.associations.order import cursor_key, order_parts, sort_key_types
from db.associations.reference import resolve_relationship
from db.associations.relationship import RelationshipQuery, RelationshipRow, RelationshipState
from db.registries.relationship_type import DirectedTypeIds, RelationshipTypes
from db.temporal.change_log import Outcome
from db.temporal.kinds import RELATIONSHIP
from schema.associations.association import (
    Association,
    association_histories,
    association_version,
    each_in_its_period,
    found_by_reference,
    uids_of_ends,
)
from schema.associations.order import AS_RECORDED, OrderBy, order_of
from schema.execution.connections import fetch_connection, fetch_connections, read
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.execution.mutations import delete_once, lost_result_error, write_once
from schema.language.columns import backed_by_row, column
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
from schema.language.references import CREATE_MISSING, AssetRef, RelationshipRef, asset_ref, relationship_ref
from schema.language.scopes import DOMAIN, READ
from schema.lazy import LazyAsset, assets_by_id, ends_of
from schema.registries.relationship_type import RelationshipType, registry_of
from schema.temporal.history import Version

RELATIONSHIP_BY_UID = Batch(relationships.relationships_by_uid)
RECORD_OF_RELATIONSHIP = Batch(relationships.relationship_records)
RELATIONSHIPS_OF_ASSET = Batch(relationships.relationships_of_assets)
RELATIONSHIP_COUNT_OF_ASSET = Batch(relationships.count_relationships_of_assets)
RELATED_TO_ASSET = Batch(relationships.related_to_assets)
RELATED_COUNT_OF_ASSET = Batch(relationships.count_related)

Types = Annotated[
    list[str] | None,
    strawberry.argument(description="Only relationships of these types, by their keys or codes. An empty list matches nothing."),
]


@strawberry.enum(description="The end of a relationship at which an asset is.")
class RelationshipDirection(Enum):
    FORWARD = strawberry.enum_value(
        "FORWARD",
        description="The asset is the origin. A relationship of a symmetric type has no origin and counts as both directions.",
    )
    REVERSE = strawberry.enum_value("REVERSE", description="The asset is the related end.")
    BOTH = strawberry.enum_value("BOTH", description="The asset is at either end.")


AssetEnd = Annotated[RelationshipDirection, strawberry.argument(description="The end at which the asset is.")]
BOTH = RelationshipDirection("BOTH")


@backed_by_row
@strawberry.federation.type(
    keys=["id", "uid"], description="A relationship of two assets, of a registered type, as it was at one instant."
)
class Relationship(Association):
    id: strawberry.ID = column(READ, ID, compute=lambda row, pinned: write_id("Relationship", row.uid, pinned), reads=("uid",))
    uid: UUID = column(READ, "Stable uid. It is the same for the same type and ends.")
    type: RelationshipType = field(READ, "Type of the relationship.")
    origin: LazyAsset = field(READ, "The asset at the origin of the relationship.")
    related: LazyAsset = field(READ, "The asset at its related end.")
    attributes: JSON = column(READ, "Further facts about the relationship, as a JSON object.")

    kind = RELATIONSHIP
    recorded = RECORD_OF_RELATIONSHIP
    row: strawberry.Private[RelationshipRow]

    @paged
    @batched(
        READ,
        "All versions of the relationship, oldest first, each with what changed: the periods in which it existed with both of its"
        " ends. The history does not depend on asOf.",
    )
    @staticmethod
    async def history(
        relationships: Sequence["Relationship"],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list["Connection[RelationshipVersion]"]:
        return await association_histories(info, relationships, RelationshipVersion, PageArguments(first, after, last, before))

    @classmethod
    def of(
        cls, row: RelationshipRow, type_: RelationshipType, ends: Mapping[int, LazyAsset], pinned: datetime | None
    ) -> "Relationship":
        """Build a relationship from its row, its type and its ends; `pinned` is the requested instant, if any."""
        relationship = cls.__new__(cls)
        relationship.row, relationship.pinned, relationship.type = row, pinned, type_
        relationship.origin, relationship.related = ends[row.origin_id], ends[row.related_id]
        return relationship

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "Relationship | None":
        row = await info.context.load(RELATIONSHIP_BY_UID, uid, pinned)
        return None if row is None else (await relationships_of(info, [row], pinned))[0]


@strawberry.type(description="A period in the history of a relationship in which it did not change and both ends existed.")
class RelationshipVersion(Version):
    row: strawberry.Private[Any]

    @batched(READ, "The relationship in this period.")
    @staticmethod
    async def relationship(versions: Sequence["RelationshipVersion"], info: Info) -> list[Relationship]:
        return await each_in_its_period([relationships_of(info, [it.row], it.row.as_of) for it in versions])

    @classmethod
    async def find(cls, info: Info, uid: UUID, start: datetime | None) -> "RelationshipVersion | None":
        return await association_version(info, RELATIONSHIP, cls, uid, start)


async def relationships_of(
    info: Info, rows: Sequence[RelationshipRow], pinned: datetime | None, known: Mapping[int, LazyAsset] | None = None
) -> list[Relationship]:
    """Build relationships from their rows, all read at one instant. Ends in `known` are not read again."""
    if not rows:
        return []
    types = await registry_of(info)
    ends = await ends_of(info, [(row.origin_id, row.related_id) for row in rows], rows[0].as_of, pinned, known)
    return [Relationship.of(row, RelationshipType.of(types.by_id[row.type_id]), ends, pinned) for row in rows]


@strawberry.input(description="Filter of relationships. A relationship matches if it matches every given field.")
class RelationshipFilter:
    types: list[str] | None = optional_input_field("Any of these types, by their keys or codes. An empty list matches nothing.")
    origin: AssetRef | None = optional_input_field("The origin.")
    related: AssetRef | None = optional_input_field("The related end.")


@strawberry.input(
    description="The complete state of a relationship. A field that is left out takes its default, also if the relationship"
    " exists already."
)
class RelateInput:
    type: str = input_field("Key of a relationship type, or its code if several types have that key.")
    origin: AssetRef = input_field("The asset at the origin of the relationship.")
    related: AssetRef = input_field("The asset at its related end.")
    attributes: JSON | None = optional_input_field("Further facts about the relationship, as a JSON object.")
    create_missing: bool | None = optional_input_field(CREATE_MISSING)
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(
    description="Changes of a relationship. Fields that are left out stay as they are. Null stands for the default."
)
class UpdateRelationshipInput:
    relationship: RelationshipRef = input_field("The relationship to change.")
    attributes: JSON | None = optional_input_field("New attributes, a JSON object that replaces the earlier one. Null is empty.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="A relationship to remove.")
class UnrelateInput:
    relationship: RelationshipRef = input_field("The relationship to remove.")
    at: datetime | None = optional_input_field(END)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="Result of a mutation of a relationship.")
class RelationshipPayload:
    relationship: Relationship = field(READ, "The relationship from that instant on.")
    changed: bool = field(READ, "True if the mutation changed the relationship.")


@strawberry.type
class RelationshipQueries:
    @resolver(READ, "The relationship that a reference names. Null if it is not effective at that instant.")
    async def relationship(
        self,
        info: Info,
        ref: Annotated[RelationshipRef, strawberry.argument(description="The relationship.")],
        as_of: AsOf = None,
    ) -> Relationship | None:
        named = relationship_ref(provided_fields(ref))
        if isinstance(named, UUID):
            return await Relationship.find(info, named, as_of)
        types, connection = await registry_of(info), await info.context.transaction.reader()
        uid = await resolve_relationship(connection, types, named, await connection.instant(as_of), field="ref")
        return await found_by_reference(info, Relationship.find, uid, as_of)

    @paged
    @resolver(READ, "Relationships that are effective at an instant.")
    async def relationships(
        self,
        info: Info,
        filter: Annotated[RelationshipFilter | None, strawberry.argument(description="Filter.")] = None,
        order_by: OrderBy = AS_RECORDED,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Relationship]:
        fields = provided_fields(filter) or {}
        types = fields.get("types")
        if types is not None:
            types = _type_ids(await registry_of(info), types)
        fields |= await uids_of_ends(info, fields, ("origin", "related"), as_of)
        order, descending = order_of(order_by)
        query = RelationshipQuery(
            types, fields.get("origin"), fields.get("related"), order=order, descending=descending, as_of=as_of
        )
        parts = (sorted(fields.items(), key=lambda it: it[0]), as_of, *order_parts(order, descending))
        return await fetch_connection(
            info,
            Keyset(info.context.cursor_cipher, "relationships", *parts, key=sort_key_types(order)),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, relationships.list_relationships, query, page),
            nodes=lambda rows: relationships_of(info, rows, as_of),
            cursor_key=lambda row: cursor_key(RELATIONSHIP, row, order),
            count=lambda: read(info, relationships.count_relationships, query),
        )


@strawberry.type
class RelationshipMutations:
    @cost(WRITE_COST)
    @resolver(
        DOMAIN,
        "Create a relationship, or update it. CONFLICT if the cardinality of its type forbids it. An end that is referred to by"
        " key and does not exist becomes a stub with `createMissing`, or if its entity type has a source.",
    )
    async def relate(self, info: Info, input: Annotated[RelateInput, INPUT]) -> RelationshipPayload:
        # the input is the complete state: null and a missing field both mean the default
        content = {name: part for name, part in provided_fields(input).items() if part is not None}
        key = idempotency_key_of("relate", content)
        at, create_missing = content.get("at"), content.get("create_missing", False)
        origin, related = asset_ref(content["origin"]), asset_ref(content["related"])
        state = RelationshipState(input.type, origin, related, relationship_fields.validate_state(content), at)
        outcome = await write_once(
            info, key, lambda connection: relationships.relate(connection, state, create_missing=create_missing)
        )
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(
        DOMAIN, "Change a relationship from an instant on. NOT_FOUND if the relationship or one of its ends does not exist then."
    )
    async def update_relationship(self, info: Info, input: Annotated[UpdateRelationshipInput, INPUT]) -> RelationshipPayload:
        content = provided_fields(input)
        key = idempotency_key_of("updateRelationship", content)
        ref, at = relationship_ref(content.pop("relationship")), content.pop("at", None)
        outcome = await write_once(info, key, lambda connection: relationships.update(connection, ref, content, at=at))
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(DOMAIN, "Remove a relationship from an instant on. Reads at earlier instants still return it.")
    async def unrelate(self, info: Info, input: Annotated[UnrelateInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        ref = relationship_ref(content["relationship"])
        return await delete_once(
            info,
            "unrelate",
            "Relationship",
            content,
            lambda connection, at: relationships.unrelate(connection, ref, at=at),
        )


async def _payload(info: Info, outcome: Outcome, at: datetime | None) -> RelationshipPayload:
    """Build the payload of a write. The id of the relationship is pinned if the mutation gave an instant."""
    row = outcome.row or await read(info, relationships.relationship_by_id, outcome.subject_id, outcome.at)
    if row is None:
        raise lost_result_error("The relationship or one of its ends")
    (relationship,) = await relationships_of(info, [row], at)
    return RelationshipPayload(relationship=relationship, changed=outcome.changed)


def _reading(asset: LazyAsset, as_of: datetime | None) -> tuple[int, datetime]:
    """Return the key of the loaders: the asset, at the requested instant or else that of the asset."""
    return asset.asset_id, as_of or asset.as_of


async def relationships_of_assets(
    info: Info,
    assets: Sequence[LazyAsset],
    names: list[str] | None,
    direction: RelationshipDirection,
    arguments: PageArguments,
    as_of: datetime | None,
) -> list[Any]:
    """Fetch a page of the relationships of each asset, at the requested instant or else that of the asset."""
    types = await registry_of(info)
    ids = tuple(types.by_id) if names is None else _type_ids(types, names)
    # a relationship of a symmetric type has no origin, so that both directions include it
    symmetric = tuple(it for it in ids if types.by_id[it].is_symmetric)
    type_ids = DirectedTypeIds(
        symmetric if direction is RelationshipDirection.REVERSE else ids,
        symmetric if direction is RelationshipDirection.FORWARD else ids,
    )

    def nodes(asset: LazyAsset, rows: list[RelationshipRow]) -> Awaitable[list[Relationship]]:
        # at another instant the asset may be in another state
        is_known = as_of is None or (as_of, as_of) == (asset.as_of, asset.pinned)
        return relationships_of(info, rows, as_of or asset.pinned, {asset.asset_id: asset} if is_known else None)

    cipher = info.context.cursor_cipher
    return await fetch_connections(
        info,
        assets,
        arguments,
        keyset=lambda asset: Keyset(
            cipher, "relationships of", asset.uid, names and sorted(names), direction, as_of or asset.pinned, key=(int, int, int)
        ),
        fetch=lambda of, page: info.context.load_all(
            RELATIONSHIPS_OF_ASSET, [_reading(asset, as_of) for asset in of], type_ids, page
        ),
        nodes=nodes,
        cursor_key=lambda asset, row: relationships.cursor_key_at(asset.asset_id, row),
        count=lambda asset: info.context.load(RELATIONSHIP_COUNT_OF_ASSET, _reading(asset, as_of), type_ids),
    )


async def related_connections(
    info: Info, assets: Sequence[LazyAsset], type_key: str, arguments: PageArguments, as_of: datetime | None
) -> list[Any]:
    """Fetch a page of the assets related to each asset under a key, at the requested instant or else that of the asset."""
    type_ids = (await registry_of(info)).directed_type_ids(type_key)

    async def nodes(asset: LazyAsset, ids: Sequence[int]) -> list[LazyAsset]:
        related = await assets_by_id(info, ids, as_of or asset.as_of, as_of or asset.pinned)
        return [related[asset_id] for asset_id in ids]

    cipher = info.context.cursor_cipher
    return await fetch_connections(
        info,
        assets,
        arguments,
        keyset=lambda asset: Keyset(cipher, "related", asset.uid, type_key, as_of or asset.pinned, key=(int,)),
        fetch=lambda of, page: info.context.load_all(RELATED_TO_ASSET, [_reading(asset, as_of) for asset in of], type_ids, page),
        nodes=nodes,
        cursor_key=lambda _, asset_id: (asset_id,),
        count=lambda asset: info.context.load(RELATED_COUNT_OF_ASSET, _reading(asset, as_of), type_ids),
    )


def _type_ids(types: RelationshipTypes, names: Sequence[str]) -> tuple[int, ...]:
    """Return the ids of the types that a filter names by key or code."""
    return tuple(sorted({it.type_id for name in names for it in types.matching(name, field="types", like=name)}))
