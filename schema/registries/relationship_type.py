"""The registry of relationship types."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from db.connection import ReadConnection
from db.errors import BadInput
from db.fields import excerpt
from db.registries import relationship_type as relationship_types
from db.registries.registry import record_of
from db.registries.relationship_type import RelationshipTypeRow, RelationshipTypes
from schema.execution.connections import entry_connection
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import WRITE_COST, cost
from schema.language.fields import field, resolver
from schema.language.inputs import INPUT, RemovePayload, RemoveTypeInput, input_field, optional_input_field, provided_fields
from schema.language.pagination import After, Before, Connection, First, Last, PageArguments, paged
from schema.language.scopes import READ, WRITE
from schema.registries.record import ACTOR, CREATED_AT, UPDATED_AT

END = "PRODUCT or ENTITY for any asset of that kind, or the code of an entity type."


@strawberry.enum(description="Number of relationships that an asset may have at one instant, from the origin to the related end.")
class RelationshipCardinality(Enum):
    ONE_TO_ONE = strawberry.enum_value(
        "ONE_TO_ONE", description="An origin has one related asset, and a related asset has one origin."
    )
    ONE_TO_MANY = strawberry.enum_value(
        "ONE_TO_MANY", description="An origin has many related assets, and a related asset has one origin."
    )
    MANY_TO_ONE = strawberry.enum_value(
        "MANY_TO_ONE", description="An origin has one related asset, and a related asset has many origins."
    )
    MANY_TO_MANY = strawberry.enum_value("MANY_TO_MANY", description="Any number at either end.")


@strawberry.enum(description="Effect on a relationship and its other end when the asset at one end is deleted.")
class RelationshipOnDelete(Enum):
    CLOSE = strawberry.enum_value(
        "CLOSE", description="The relationship ends with the asset, and returns when the asset is restored."
    )
    RESTRICT = strawberry.enum_value("RESTRICT", description="The deletion is refused while the relationship exists.")
    CASCADE = strawberry.enum_value("CASCADE", description="The asset at the other end is deleted as well.")


@strawberry.type(description="A type of relationship: the assets at its ends, and its key seen from either end.")
class RelationshipType:
    code: str = field(READ, "Unique code: origin, key and related. Use it where several types have the same key.")
    key: str = field(READ, "Key of the relationship, seen from its origin.")
    reverse_key: str = field(READ, "Key of the relationship, seen from its related end.")
    origin: str = field(READ, f"Assets at the origin: {END}")
    related: str = field(READ, f"Assets at the related end: {END}")
    cardinality: RelationshipCardinality = field(READ, "Number of relationships that an asset may have at one instant.")
    on_delete: RelationshipOnDelete = field(READ, "Effect of deleting an asset at either end.")
    foreign_key_field: str | None = field(READ, "Field by which another system refers to the related end.")
    created_at: datetime | None = field(READ, CREATED_AT)
    updated_at: datetime | None = field(READ, UPDATED_AT)
    actor: str | None = field(READ, ACTOR)

    @classmethod
    def of(cls, row: RelationshipTypeRow) -> "RelationshipType":
        return cls(
            code=row.code,
            key=row.key,
            reverse_key=row.reverse_key,
            origin=row.origin,
            related=row.related,
            cardinality=RelationshipCardinality[row.cardinality],
            on_delete=RelationshipOnDelete[row.on_delete],
            foreign_key_field=row.foreign_key_field,
            **record_of(row),
        )


@strawberry.input(
    description="The complete definition of a relationship type. It replaces the type with this key between these ends."
)
class PutRelationshipTypeInput:
    key: str = input_field("Key of the relationship, seen from its origin. It has the form of a type code.")
    reverse_key: str = input_field("Key of the relationship, seen from its related end.")
    origin: str = input_field(f"Assets at the origin: {END}")
    related: str = input_field(f"Assets at the related end: {END}")
    cardinality: RelationshipCardinality = input_field("Number of relationships that an asset may have at one instant.")
    on_delete: RelationshipOnDelete | None = optional_input_field("Effect of deleting an asset at either end. Defaults to CLOSE.")
    foreign_key_field: str | None = optional_input_field("Field by which another system refers to the related end.")


@strawberry.type(description="Result of a mutation of a relationship type.")
class RelationshipTypePayload:
    relationship_type: RelationshipType = field(READ, "The type as it is registered now.")


@strawberry.type
class RelationshipTypeQueries:
    @paged
    @resolver(READ, "All relationship types, in order of the code.")
    async def relationship_types(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[RelationshipType]:
        return await entry_connection(
            info,
            "relationshipTypes",
            relationship_types.RELATIONSHIP_TYPES,
            PageArguments(first, after, last, before),
            key=(str, str, str),
            node=RelationshipType.of,
        )

    @resolver(
        READ,
        "The relationship type with this code, or with this key if no other type has it. Null if there is none; BAD_INPUT if"
        " several have the key.",
    )
    async def relationship_type(
        self,
        info: Info,
        code: Annotated[str, strawberry.argument(description="Code of the type, or a key that no other type has.")],
    ) -> RelationshipType | None:
        rows = (await registry_of(info)).named(code)
        if len(rows) > 1:
            codes = ", ".join(row.code for row in rows)
            raise BadInput(
                f"Several relationship types have the key {excerpt(code)}: {codes}. Name one by its code.", field="code"
            )
        return RelationshipType.of(rows[0]) if rows else None


@strawberry.type
class RelationshipTypeMutations:
    @cost(WRITE_COST)
    @resolver(
        WRITE,
        "Register a relationship type, or replace its definition. CONFLICT if another type has one of its keys between the same"
        " ends, or if existing relationships violate the new cardinality.",
    )
    async def put_relationship_type(
        self, info: Info, input: Annotated[PutRelationshipTypeInput, INPUT]
    ) -> RelationshipTypePayload:
        connection = await info.context.transaction.writer()
        row = await relationship_types.put(connection, **provided_fields(input))
        info.context.invalidate()
        return RelationshipTypePayload(relationship_type=RelationshipType.of(row))

    @cost(WRITE_COST)
    @resolver(
        WRITE,
        "Remove a relationship type, by its code, or by its key if no other type has it. CONFLICT if a relationship has"
        " this type,"
        " deleted ones included.",
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
