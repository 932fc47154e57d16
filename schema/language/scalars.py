"""Scalars: DateTime, UUID and JSON."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry
from graphql import GraphQLError, ValueNode, value_from_ast_untyped
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from db.errors import BadInput
from db.instants import read_instant, write_instant

UUID_EXAMPLE = "2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101"


def parse_instant(value: Any) -> datetime:
    """Return the instant of a value in a request."""
    try:
        return read_instant(value)
    except BadInput as error:
        raise GraphQLError(error.message) from error


def _parse_uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise GraphQLError(f"{value!r} is not a UUID, such as {UUID_EXAMPLE}.") from error


def _literal_parser(parse: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a function that parses a literal of the document and whose errors have its location."""

    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        try:
            return parse(value_from_ast_untyped(node, variables))
        except GraphQLError as error:
            raise GraphQLError(error.message, nodes=node) from error

    return parse_literal


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant: RFC 3339 with an offset, to the microsecond. A date without a time is midnight UTC.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_instant,
        parse_value=parse_instant,
        parse_literal=_literal_parser(parse_instant),
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="A universally unique identifier, in its canonical text form.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
        parse_value=_parse_uuid,
        parse_literal=_literal_parser(_parse_uuid),
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}
