"""The registry of detail types: what may be known of an entity."""

from typing import Annotated

import strawberry

from db.registries import detail_type as detail_types
from db.registries.detail_format import FORMATS
from db.registries.detail_type import DetailTypeRow
from schema.execution.context import Info
from schema.language.cost import WRITE_WEIGHT, cost, list_size
from schema.language.inputs import INPUT, RemovePayload, RemoveTypeInput, input_field, optional_input_field, provided_fields
from schema.language.scopes import READ, WRITE, field, resolver


@strawberry.type(description="A type of detail: what may be known of an entity, such as an email address.")
class DetailType:
    code: str = field(READ, "What programs call it, unique.")
    label: str = field(READ, "What people call it.")
    format: str | None = field(READ, f"What its values look like: {', '.join(FORMATS)}; null: like text.")

    @classmethod
    def of(cls, row: DetailTypeRow) -> "DetailType":
        return cls(code=row.code, label=row.label, format=row.format)


@strawberry.input(description="A detail type, whole: what is left out is not registered of it.")
class PutDetailTypeInput:
    code: str = input_field("What programs call it: a letter, then up to 99 letters, digits, underscores, dots, colons, hyphens.")
    label: str = input_field("What people call it.")
    format: str | None = optional_input_field(
        f"What its values look like: {', '.join(FORMATS)}; left out: like text. It stays once a detail has been written."
    )


@strawberry.type(description="What became of a detail type.")
class DetailTypePayload:
    detail_type: DetailType = field(READ, "The type as it is registered now.")


@strawberry.type
class DetailTypeQueries:
    @list_size(100)
    @resolver(READ, "All that may be known of an entity, in order of the code.")
    async def detail_types(self, info: Info) -> list[DetailType]:
        connection = await info.context.transaction.reader()
        return [DetailType.of(row) for row in await detail_types.all_detail_types(connection)]


@strawberry.type
class DetailTypeMutations:
    @cost(WRITE_WEIGHT)
    @resolver(WRITE, "Registers a detail type, or replaces the whole of it. CONFLICT when the format of one in use would change.")
    async def put_detail_type(self, info: Info, input: Annotated[PutDetailTypeInput, INPUT]) -> DetailTypePayload:
        connection = await info.context.transaction.writer()
        row = await detail_types.put(connection, input.code, input.label, provided_fields(input).get("format"))
        info.context.invalidate()
        return DetailTypePayload(detail_type=DetailType.of(row))

    @cost(WRITE_WEIGHT)
    @resolver(WRITE, "Takes a detail type out of the registry. CONFLICT while an entity has such a detail, or ever had one.")
    async def remove_detail_type(self, info: Info, input: Annotated[RemoveTypeInput, INPUT]) -> RemovePayload:
        connection = await info.context.transaction.writer()
        await detail_types.remove(connection, input.code)
        info.context.invalidate()
        return RemovePayload(code=input.code)
