"""The registry of detail types."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar

import strawberry

from db.assets.asset_fields import DETAIL_TYPE_RECORDS
from db.fields import refuse_unstorable
from db.instants import stored_instant
from db.registries import detail_type as detail_types
from db.registries.detail_format import FORMATS
from schema.execution.connections import entry_connection
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.columns import Compute, backed_by_row, column
from schema.language.cost import WRITE_COST, cost
from schema.language.fields import field, resolver
from schema.language.inputs import INPUT, RemovePayload, RemoveTypeInput, input_field, optional_input_field, provided_fields
from schema.language.pagination import After, Before, Connection, First, Last, PageArguments, paged
from schema.language.scopes import READ, WRITE
from schema.registries.record import ACTOR, CREATED_AT, UPDATED_AT

DETAIL_TYPE_BY_CODE = Batch(detail_types.detail_types_by_code)


@strawberry.enum(description="Role of the details of a type: what they tell about their entity.")
class DetailRole(Enum):
    DESCRIPTION = strawberry.enum_value("DESCRIPTION", description="The detail is the description of the entity.")
    URL = strawberry.enum_value("URL", description="The detail is the address of a page about the entity.")
    OWNER = strawberry.enum_value("OWNER", description="The detail is the owner of the entity.")
    TAG = strawberry.enum_value("TAG", description="The detail is a tag of the entity, beside others.")


def _record_column(description: str, compute: Compute) -> Any:
    """Declare a field that the details of an entity carry only if it is read."""
    return column(READ, description, compute=compute, reads=(DETAIL_TYPE_RECORDS,))


@backed_by_row
@strawberry.type(description="A type of detail of an entity, such as an email address.")
class DetailType:
    code: str = column(READ, "Code of the type, unique.")
    label: str = column(READ, "Display name of the type.")
    format: str | None = column(READ, f"Format of its values: {', '.join(FORMATS)}. Null is any text.")
    role: DetailRole | None = _record_column(
        "Role of its details. Null if they have none. Where an entity has details of several types with one role, the first in"
        " order of the code counts; tags come from all of them.",
        lambda row, _: None if row["role"] is None else DetailRole[row["role"]],
    )
    created_at: datetime | None = _record_column(CREATED_AT, lambda row, _: stored_instant(row["created_at"]))
    updated_at: datetime | None = _record_column(UPDATED_AT, lambda row, _: stored_instant(row["updated_at"]))
    actor: str | None = _record_column(ACTOR, lambda row, _: row["actor"])

    row: strawberry.Private[Mapping[str, Any]]
    # types are not versioned
    pinned: ClassVar[None] = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "DetailType":
        type_ = cls.__new__(cls)
        type_.row = row
        return type_


@strawberry.input(description="The complete definition of a detail type. It replaces the registered one.")
class PutDetailTypeInput:
    code: str = input_field("Code of the type: a letter, then up to 99 letters, digits, underscores, dots, colons and hyphens.")
    label: str = input_field("Display name of the type.")
    format: str | None = optional_input_field(
        f"Format of its values: {', '.join(FORMATS)}. Defaults to any text. It cannot change once a detail of the type"
        f" was written."
    )
    role: DetailRole | None = optional_input_field(
        "Role of its details. Defaults to none. Types are not versioned, so it takes effect at once and at every instant."
    )


@strawberry.type(description="Result of a mutation of a detail type.")
class DetailTypePayload:
    detail_type: DetailType = field(READ, "The type as it is registered now.")


@strawberry.type
class DetailTypeQueries:
    @paged
    @resolver(READ, "All detail types, in order of the code.")
    async def detail_types(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[DetailType]:
        return await entry_connection(
            info,
            "detailTypes",
            detail_types.DETAIL_TYPES,
            PageArguments(first, after, last, before),
            key=(str,),
            node=lambda row: DetailType.of(asdict(row)),
        )

    @resolver(READ, "The detail type with this code. Null if there is none.")
    async def detail_type(
        self, info: Info, code: Annotated[str, strawberry.argument(description="Code of the type.")]
    ) -> DetailType | None:
        refuse_unstorable("code", code)
        row = await info.context.load(DETAIL_TYPE_BY_CODE, code)
        return None if row is None else DetailType.of(asdict(row))


@strawberry.type
class DetailTypeMutations:
    @cost(WRITE_COST)
    @resolver(WRITE, "Register a detail type, or replace its definition. CONFLICT if the format of a type in use would change.")
    async def put_detail_type(self, info: Info, input: Annotated[PutDetailTypeInput, INPUT]) -> DetailTypePayload:
        connection = await info.context.transaction.writer()
        given = provided_fields(input)
        row = await detail_types.put(connection, input.code, input.label, given.get("format"), given.get("role"))
        info.context.invalidate()
        return DetailTypePayload(detail_type=DetailType.of(asdict(row)))

    @cost(WRITE_COST)
    @resolver(WRITE, "Remove a detail type. CONFLICT if an entity has or had such a detail.")
    async def remove_detail_type(self, info: Info, input: Annotated[RemoveTypeInput, INPUT]) -> RemovePayload:
        connection = await info.context.transaction.writer()
        await detail_types.remove(connection, input.code)
        info.context.invalidate()
        return RemovePayload(code=input.code)
