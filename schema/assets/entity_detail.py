"""Details of entities: the type, its filters and its inputs. An entity has at most one detail of each type."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, ClassVar

import strawberry

from db.assets import entity as entities
from db.assets.asset_fields import DETAIL_PERIODS
from db.assets.entity import DetailRow
from db.assets.entity_query import DetailCondition
from db.connection import ReadConnection
from db.errors import BadInput, LimitExceeded
from db.instants import stored_instant
from schema.assets.search import searchable
from schema.execution.loading import Batch
from schema.language.columns import backed_by_row, column
from schema.language.inputs import input_field, optional_input_field
from schema.language.scopes import READ
from schema.registries.detail_type import DetailType

# Each is a separate condition of the statement.
DETAIL_CONDITIONS = 10


@backed_by_row
@strawberry.type(description="One detail of an entity, with the period in which it has this value.")
class EntityDetail:
    type: DetailType = column(READ, "Type of the detail.", compute=lambda row, _: DetailType.of(row))
    value: str = column(READ, "Value of the detail.")
    valid_from: datetime = column(
        READ,
        "Start of the period in which the detail has this value, whatever else changed.",
        compute=lambda row, _: stored_instant(row["valid_from"]),
        reads=(DETAIL_PERIODS,),
    )
    valid_to: datetime | None = column(
        READ,
        "End of that period. Null if it continues.",
        compute=lambda row, _: stored_instant(row["valid_to"]),
        reads=(DETAIL_PERIODS,),
    )

    row: strawberry.Private[DetailRow]
    # a detail has no id, so it does not matter if an instant was requested
    pinned: ClassVar[None] = None

    @classmethod
    def of(cls, row: DetailRow) -> "EntityDetail":
        detail = cls.__new__(cls)
        detail.row = row
        return detail


async def _details_by_entity(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: Collection[str] | None
) -> list[list[EntityDetail]]:
    return [[EntityDetail.of(it) for it in rows] for rows in await entities.details_by_entity(connection, readings, types)]


DETAILS_BY_ENTITY = Batch(_details_by_entity)


@strawberry.input(
    description="Condition on a detail: the entity has a detail of the type, and its value matches every given field. Bounds are"
    " inclusive. They compare as numbers or dates if the format of the type is one, else as text."
)
class DetailFilter:
    type: str = input_field("Code of the detail type.")
    equals: str | None = optional_input_field("The value is exactly this.")
    in_: list[str] | None = input_field(
        "The value is one of these. An empty list matches nothing.", name="in", default=strawberry.UNSET
    )
    contains: str | None = optional_input_field("The value contains this text, ignoring case.")
    from_: str | None = input_field("The value is this or greater.", name="from", default=strawberry.UNSET)
    to: str | None = optional_input_field("The value is this or less.")


@strawberry.input(description="A detail to write.")
class DetailInput:
    type: str = input_field("Code of the detail type.")
    value: str = input_field("Value of the detail, in the format of the type.")


def details_of(listed: list[dict[str, str]]) -> dict[str, str]:
    """Return details by type. Refuse a type that occurs twice."""
    details: dict[str, str] = {}
    for it in listed:
        if it["type"] in details:
            raise BadInput(f"details has two values of the type {it['type']}. Give one value of each type.", field="details")
        details[it["type"]] = it["value"]
    return details


def changed_details(content: dict[str, Any]) -> dict[str, str | None]:
    """Return the details that an update changes. The value of a detail to remove is None."""
    if content.get("details", []) is None:
        raise BadInput("details is null. To remove details, name their types in removeDetails.", field="details")
    details: dict[str, str | None] = {**details_of(content.get("details", []))}
    for code in content.get("remove_details") or []:
        if details.get(code) is not None:
            raise BadInput(f"{code} is both in details and in removeDetails. Name it in one of them.", field="removeDetails")
        details[code] = None
    return details


def check_conditions(filters: Sequence[dict[str, Any]]) -> None:
    """Raise an error if a filter has too many conditions on details."""
    if len(filters) > DETAIL_CONDITIONS:
        raise LimitExceeded(f"details has {len(filters)} conditions. At most {DETAIL_CONDITIONS} are allowed.", field="details")


def condition_of(fields: dict[str, Any], format_: str | None) -> DetailCondition:
    """Convert a condition of a filter to that of a query. The format is that of the type which it names."""
    among = fields.get("in_")
    return DetailCondition(
        type=fields["type"],
        equals=fields.get("equals"),
        among=None if among is None else tuple(among),
        contains=searchable(fields.get("contains"), field="contains"),
        least=fields.get("from_"),
        most=fields.get("to"),
        format=format_,
    )
