"""The registry of entity types."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from db.connection import ReadConnection
from db.fields import refuse_unstorable
from db.registries import entity_type as entity_types
from db.registries.entity_type import EntityTypeRow
from db.registries.registry import record_of
from schema.execution.connections import entry_connection
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import WRITE_COST, cost
from schema.language.fields import field, resolver
from schema.language.inputs import INPUT, RemovePayload, RemoveTypeInput, input_field, optional_input_field, provided_fields
from schema.language.pagination import After, Before, Connection, First, Last, PageArguments, paged
from schema.language.scopes import READ, WRITE
from schema.lazy import LazyDomain, domain_at
from schema.registries.record import ACTOR, CREATED_AT, UPDATED_AT


@strawberry.federation.type(description="The service that holds the records of an entity type.", shareable=True)
class RecordSource:
    service: str = field(READ, "Name of the service, as it is configured.")
    endpoint: str = field(READ, "Path in the service at which records are fetched.")
    lookup_field: str = field(READ, "Field of a record that holds the key of the entity.")
    is_local: bool = field(READ, "True if the records are the entities of this service.")


@strawberry.federation.type(keys=["code"], description="A type of entity, such as a person or a table.")
class EntityType:
    code: str = field(READ, "Code of the type, unique.")
    label: str = field(READ, "Display name of the type.")
    domain: LazyDomain | None = field(READ, "The domain that owns entities of this type.")
    source: RecordSource | None = field(READ, "Service that holds the external records. Null if there is none.")
    created_at: datetime | None = field(READ, CREATED_AT)
    updated_at: datetime | None = field(READ, UPDATED_AT)
    actor: str | None = field(READ, ACTOR)

    @classmethod
    def of(cls, row: EntityTypeRow, as_of: datetime, pinned: datetime | None) -> "EntityType":
        """Build a type from its row. Its domain is read at `as_of`; `pinned` is the requested instant, if any."""
        return cls(
            code=row.code,
            label=row.label,
            domain=None if row.domain is None else domain_at(row.domain, as_of, pinned),
            source=None if row.source is None else RecordSource(**row.source),
            **record_of(row),
        )

    @classmethod
    async def find(cls, info: Info, code: str, pinned: datetime | None) -> "EntityType | None":
        """Return the type with a code. Its domain is read at the requested instant or else now."""
        connection = await info.context.transaction.reader()
        return await info.context.load(ENTITY_TYPE_BY_CODE, (code, await connection.instant(pinned), pinned))


async def _entity_types_by_code(
    connection: ReadConnection, readings: Sequence[tuple[str, datetime, datetime | None]]
) -> list[EntityType | None]:
    """Build the types with these codes, each at the instant and pinned instant of what refers to it. Types are not versioned."""
    rows = await entity_types.entity_types_by_code(connection, [code for code, _, _ in readings])
    return [
        None if row is None else EntityType.of(row, as_of, pinned) for row, (_, as_of, pinned) in zip(rows, readings, strict=True)
    ]


ENTITY_TYPE_BY_CODE = Batch(_entity_types_by_code)


@strawberry.input(description="The service that holds the records of an entity type.")
class RecordSourceInput:
    service: str = input_field("Name of the service, as it is configured.")
    endpoint: str = input_field("Path in the service at which records are fetched.")
    lookup_field: str = input_field("Field of a record that holds the key of the entity.")
    is_local: bool | None = optional_input_field("True if the records are the entities of this service. Defaults to false.")


@strawberry.input(description="The complete definition of an entity type. It replaces the registered one.")
class PutEntityTypeInput:
    code: str = input_field("Code of the type: a letter, then up to 99 letters, digits, underscores, dots, colons and hyphens.")
    label: str = input_field("Display name of the type.")
    domain: str | None = optional_input_field("The domain that owns entities of this type.")
    source: RecordSourceInput | None = optional_input_field("Service that holds the external records.")


@strawberry.type(description="Result of a mutation of an entity type.")
class EntityTypePayload:
    entity_type: EntityType = field(READ, "The type as it is registered now.")


@strawberry.type
class EntityTypeQueries:
    @paged
    @resolver(READ, "All entity types, in order of the code.")
    async def entity_types(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[EntityType]:
        now = await (await info.context.transaction.reader()).instant(None)
        return await entry_connection(
            info,
            "entityTypes",
            entity_types.ENTITY_TYPES,
            PageArguments(first, after, last, before),
            key=(str,),
            node=lambda row: EntityType.of(row, now, None),
        )

    @resolver(READ, "The entity type with this code. Null if there is none.")
    async def entity_type(
        self, info: Info, code: Annotated[str, strawberry.argument(description="Code of the type.")]
    ) -> EntityType | None:
        refuse_unstorable("code", code)
        return await EntityType.find(info, code, None)


@strawberry.type
class EntityTypeMutations:
    @cost(WRITE_COST)
    @resolver(WRITE, "Register an entity type, or replace its definition.")
    async def put_entity_type(self, info: Info, input: Annotated[PutEntityTypeInput, INPUT]) -> EntityTypePayload:
        # before the connection, for the services may have to be looked up
        grants = await info.context.service_grants()
        connection = await info.context.transaction.writer()
        row = await entity_types.put(connection, **provided_fields(input), grants=grants)
        info.context.invalidate()
        return EntityTypePayload(entity_type=EntityType.of(row, await connection.instant(None), None))

    @cost(WRITE_COST)
    @resolver(WRITE, "Remove an entity type. CONFLICT if an entity has this type, deleted ones included.")
    async def remove_entity_type(self, info: Info, input: Annotated[RemoveTypeInput, INPUT]) -> RemovePayload:
        connection = await info.context.transaction.writer()
        await entity_types.remove(connection, input.code)
        info.context.invalidate()
        return RemovePayload(code=input.code)
