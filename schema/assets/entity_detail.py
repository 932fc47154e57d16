"""Details: what is known of an entity, one of each type; which of them are asked for, and which are given."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import strawberry

from db.assets import entity as entities
from db.assets.entity_query import DetailCondition
from db.connection import ReadConnection
from db.errors import BadInput, LimitExceeded
from schema.assets.search import searchable
from schema.execution.loading import Batch
from schema.language.inputs import input_field, optional_input_field
from schema.language.scopes import READ, field
from schema.registries.detail_type import DetailType

# Each is a condition of its own in the statement.
DETAIL_CONDITIONS = 10


@strawberry.type(description="One detail of an entity, and for how long it has had this value.")
class EntityDetail:
    type: DetailType = field(READ, "What kind of detail it is.")
    value: str = field(READ, "Its value.")
    valid_from: datetime = field(READ, "Since when it has had this value, whatever else changed.")
    valid_to: datetime | None = field(READ, "Until when it had it; null: still so.")


async def _details_by_entity(
    connection: ReadConnection, readings: Sequence[tuple[int, datetime]], types: Collection[str] | None
) -> list[list[EntityDetail]]:
    return [
        [EntityDetail(type=DetailType.of(it.type), value=it.value, valid_from=it.valid_from, valid_to=it.valid_to) for it in rows]
        for rows in await entities.details_by_entity(connection, readings, types)
    ]


DETAILS_BY_ENTITY = Batch(_details_by_entity)


@strawberry.input(
    description="Entities that have a detail of a type, whose value is as every part given says. Bounds belong to the range; they"
    " compare as numbers or dates where the type's format says so, else as text."
)
class DetailFilter:
    type: str = input_field("The type of detail.")
    equals: str | None = optional_input_field("It is exactly this.")
    in_: list[str] | None = input_field("It is one of these. An empty list matches nothing.", name="in", default=strawberry.UNSET)
    contains: str | None = optional_input_field("It contains this text, in upper or lower case alike.")
    from_: str | None = input_field("It is this or greater.", name="from", default=strawberry.UNSET)
    to: str | None = optional_input_field("It is this or less.")


@strawberry.input(description="A detail to write.")
class DetailInput:
    type: str = input_field("The type of detail.")
    value: str = input_field("Its value, in the format of the type.")


def details_of(listed: list[dict[str, str]]) -> dict[str, str]:
    """Details by their types, of which each comes once."""
    details: dict[str, str] = {}
    for it in listed:
        if it["type"] in details:
            raise BadInput(f"details has two of the type {it['type']}. An entity has one of each type.", field="details")
        details[it["type"]] = it["value"]
    return details


def changed_details(content: dict[str, Any]) -> dict[str, str | None]:
    """The details that an update is about; one to take away is None."""
    if content.get("details", []) is None:
        raise BadInput("details cannot be cleared as a whole. Name what is to go in removeDetails.", field="details")
    details: dict[str, str | None] = {**details_of(content.get("details", []))}
    for code in content.get("remove_details") or []:
        if details.get(code) is not None:
            raise BadInput(f"The detail {code} is both given and to be removed.", field="removeDetails")
        details[code] = None
    return details


def conditions_of(filters: list[dict[str, Any]]) -> tuple[DetailCondition, ...]:
    """What a filter asks of details, as a query has it."""
    if len(filters) > DETAIL_CONDITIONS:
        raise LimitExceeded(f"details has {len(filters)} conditions. At most {DETAIL_CONDITIONS} are taken.", field="details")
    return tuple(_condition(it) for it in filters)


def _condition(asked: dict[str, Any]) -> DetailCondition:
    among = asked.get("in_")
    return DetailCondition(
        type=asked["type"],
        equals=asked.get("equals"),
        among=None if among is None else tuple(among),
        contains=searchable(asked.get("contains"), field="contains"),
        least=asked.get("from_"),
        most=asked.get("to"),
    )
