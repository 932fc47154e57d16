"""The registry of relationship types: which joins between assets may be."""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import strawberry

from db.connection import ReadConnection
from db.registries import relationship_type as relationship_types
from db.registries.relationship_type import RelationshipTypeRow, RelationshipTypes
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import WRITE_WEIGHT, cost, list_size
from schema.language.inputs import INPUT, RemovePayload, RemoveTypeInput, input_field, optional_input_field, provided_fields
from schema.language.scopes import READ, WRITE, field, resolver

END = "PRODUCT or ENTITY for any of these, or the code of an entity type."


@strawberry.enum(description="How many may be joined at one instant, from the origin to the related end.")
class Cardinality(Enum):
    ONE_TO_ONE = strawberry.enum_value("ONE_TO_ONE", description="An origin with one, and that with one origin.")
    ONE_TO_MANY = strawberry.enum_value("ONE_TO_MANY", description="An origin with many, and each of them with one origin.")
    MANY_TO_ONE = strawberry.enum_value("MANY_TO_ONE", description="An origin with one, and that with many origins.")
    MANY_TO_MANY = strawberry.enum_value("MANY_TO_MANY", description="Any number at either end.")


@strawberry.enum(description="What becomes of a join, and of its other end, when an asset at either end is deleted.")
class OnDelete(Enum):
    CLOSE = strawberry.enum_value("CLOSE", description="The join ends with it, and returns when it is restored.")
    RESTRICT = strawberry.enum_value("RESTRICT", description="The deletion is refused while the join is there.")
    CASCADE = strawberry.enum_value("CASCADE", description="The asset at the other end is deleted, too.")


@strawberry.type(description="Which joins may be: from what to what, and what they are called from either end.")
class RelationshipType:
    code: str = field(READ, "Tells it apart from all others, where its key alone does not: origin, key and related.")
    key: str = field(READ, "What a join is called, seen from its origin.")
    reverse_key: str = field(READ, "What it is called, seen from the related end.")
    origin: str = field(READ, f"What it leads from: {END}")
    related: str = field(READ, f"What it leads to: {END}")
    cardinality: Cardinality = field(READ, "How many may be joined at one instant.")
    on_delete: OnDelete = field(READ, "What happens when an asset at either end is deleted.")
    foreign_key_field: str | None = field(READ, "The field by which another system names the related end.")

    @classmethod
    def of(cls, row: RelationshipTypeRow) -> "RelationshipType":
        return cls(
            code=row.code,
            key=row.key,
            reverse_key=row.reverse_key,
            origin=row.origin,
            related=row.related,
            cardinality=Cardinality[row.cardinality],
            on_delete=OnDelete[row.on_delete],
            foreign_key_field=row.foreign_key_field,
        )


@strawberry.input(description="A relationship type, whole. One with this key between these ends is replaced.")
class PutRelationshipTypeInput:
    key: str = input_field("What a join is called, seen from its origin: as the code of a type is made.")
    reverse_key: str = input_field("What it is called, seen from the related end.")
    origin: str = input_field(f"What it leads from: {END}")
    related: str = input_field(f"What it leads to: {END}")
    cardinality: Cardinality = input_field("How many may be joined at one instant.")
    on_delete: OnDelete | None = optional_input_field("What happens when an asset at either end is deleted; left out: CLOSE.")
    foreign_key_field: str | None = optional_input_field("The field by which another system names the related end.")


@strawberry.type(description="What became of a relationship type.")
class RelationshipTypePayload:
    relationship_type: RelationshipType = field(READ, "The type as it is registered now.")


@strawberry.type
class RelationshipTypeQueries:
    @list_size(100)
    @resolver(READ, "Which joins may be, in order of the code.")
    async def relationship_types(self, info: Info) -> list[RelationshipType]:
        return [RelationshipType.of(row) for row in (await registry_of(info)).rows]


@strawberry.type
class RelationshipTypeMutations:
    @cost(WRITE_WEIGHT)
    @resolver(
        WRITE,
        "Registers a relationship type, or replaces the whole of one. CONFLICT when another is called so between the same ends,"
        " from whichever of them; or when joins that are there would not be allowed any more.",
    )
    async def put_relationship_type(
        self, info: Info, input: Annotated[PutRelationshipTypeInput, INPUT]
    ) -> RelationshipTypePayload:
        connection = await info.context.transaction.writer()
        row = await relationship_types.put(connection, **provided_fields(input))
        info.context.invalidate()
        return RelationshipTypePayload(relationship_type=RelationshipType.of(row))

    @cost(WRITE_WEIGHT)
    @resolver(
        WRITE,
        "Takes a relationship type out of the registry, by its code, or by its key if that is the key of no other. CONFLICT while"
        " a join is of it, ended or not.",
    )
    async def remove_relationship_type(self, info: Info, input: Annotated[RemoveTypeInput, INPUT]) -> RemovePayload:
        connection = await info.context.transaction.writer()
        await relationship_types.remove(connection, input.code)
        info.context.invalidate()
        return RemovePayload(code=input.code)


async def registry_of(info: Info) -> RelationshipTypes:
    """Return the registry as this operation sees it, read once."""
    return await info.context.load(RELATIONSHIP_TYPES, None)


async def _relationship_types(connection: ReadConnection, keys: Sequence[None]) -> list[RelationshipTypes]:
    return [await relationship_types.all_relationship_types(connection)] * len(keys)


RELATIONSHIP_TYPES = Batch(_relationship_types)
