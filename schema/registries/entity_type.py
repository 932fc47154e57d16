"""The registry of entity types: what an entity may be."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from db.connection import ReadConnection
from db.registries import entity_type as entity_types
from db.registries.entity_type import EntityTypeRow
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import WRITE_WEIGHT, cost, list_size
from schema.language.inputs import INPUT, RemovePayload, RemoveTypeInput, input_field, optional_input_field, provided_fields
from schema.language.scopes import READ, WRITE, field, resolver
from schema.lazy import LazyDomain, domain_at


@strawberry.federation.type(description="Where the records of a type live.", shareable=True)
class RecordSource:
    service: str = field(READ, "The service that keeps them.")
    endpoint: str = field(READ, "Where in that service they are asked for.")
    lookup_field: str = field(READ, "The field of a record that holds an entity's key.")
    is_local: bool = field(READ, "Whether they live in this service itself.")


@strawberry.type(description="A type of entity: what an entity may be, such as a person or a table.")
class EntityType:
    code: str = field(READ, "What programs call it, unique.")
    label: str = field(READ, "What people call it.")
    domain: LazyDomain | None = field(READ, "The domain that owns such things.")
    source: RecordSource | None = field(READ, "Where their records live; null: nowhere else.")

    @classmethod
    def of(cls, row: EntityTypeRow, as_of: datetime, pinned: datetime | None) -> "EntityType":
        """A type out of its row. What is below it is of the instant at which it was read; `pinned` if that was asked for."""
        return cls(
            code=row.code,
            label=row.label,
            domain=None if row.domain is None else domain_at(row.domain, as_of, pinned),
            source=None if row.source is None else RecordSource(**row.source),
        )


async def _entity_types_by_code(
    connection: ReadConnection, readings: Sequence[tuple[str, datetime, datetime | None]]
) -> list[EntityType | None]:
    """Build the types with these codes, each at the instant and pinned instant of what refers to it. Types are not versioned."""
    rows = await entity_types.entity_types_by_code(connection, [code for code, _, _ in readings])
    return [
        None if row is None else EntityType.of(row, as_of, pinned) for row, (_, as_of, pinned) in zip(rows, readings, strict=True)
    ]


ENTITY_TYPE_BY_CODE = Batch(_entity_types_by_code)


@strawberry.input(description="Where the records of a type live.")
class RecordSourceInput:
    service: str = input_field("The service that keeps them.")
    endpoint: str = input_field("Where in that service they are asked for.")
    lookup_field: str = input_field("The field of a record that holds an entity's key.")
    is_local: bool | None = optional_input_field("Whether they live in this service itself; left out: they do not.")


@strawberry.input(description="An entity type, whole: what is left out is not registered of it.")
class PutEntityTypeInput:
    code: str = input_field("What programs call it: a letter, then up to 99 letters, digits, underscores, dots, colons, hyphens.")
    label: str = input_field("What people call it.")
    domain: str | None = optional_input_field("The domain that owns such things.")
    source: RecordSourceInput | None = optional_input_field("Where their records live.")


@strawberry.type(description="What became of an entity type.")
class EntityTypePayload:
    entity_type: EntityType = field(READ, "The type as it is registered now.")


@strawberry.type
class EntityTypeQueries:
    @list_size(100)
    @resolver(READ, "All that an entity may be, in order of the code.")
    async def entity_types(self, info: Info) -> list[EntityType]:
        connection = await info.context.transaction.reader()
        return [EntityType.of(row, connection.now, None) for row in await entity_types.all_entity_types(connection)]


@strawberry.type
class EntityTypeMutations:
    @cost(WRITE_WEIGHT)
    @resolver(WRITE, "Registers an entity type, or replaces the whole of it.")
    async def put_entity_type(self, info: Info, input: Annotated[PutEntityTypeInput, INPUT]) -> EntityTypePayload:
        connection = await info.context.transaction.writer()
        row = await entity_types.put(connection, **provided_fields(input))
        info.context.invalidate()
        return EntityTypePayload(entity_type=EntityType.of(row, connection.now, None))

    @cost(WRITE_WEIGHT)
    @resolver(WRITE, "Takes an entity type out of the registry. CONFLICT while an entity has it, ended or not.")
    async def remove_entity_type(self, info: Info, input: Annotated[RemoveTypeInput, INPUT]) -> RemovePayload:
        connection = await info.context.transaction.writer()
        await entity_types.remove(connection, input.code)
        info.context.invalidate()
        return RemovePayload(code=input.code)
