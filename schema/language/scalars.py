"""Scalars: values that GraphQL takes and gives as one."""

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


def parse_instant(value: Any) -> datetime:
    """Read an instant that stands in a request."""
    try:
        return read_instant(value)
    except BadInput as error:
        raise GraphQLError(error.message) from error


def _parse_uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise GraphQLError(f"{value!r} is no UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101.") from error


def _literal(parse: Callable[[Any], Any]) -> Callable[..., Any]:
    """The same reading for a value written in the document, where the error can say at which place."""

    def read(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        try:
            return parse(value_from_ast_untyped(node, variables))
        except GraphQLError as error:
            raise GraphQLError(error.message, nodes=node) from error

    return read


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant: RFC 3339 with an offset, to the microsecond. A bare date means its midnight UTC.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_instant,
        parse_value=parse_instant,
        parse_literal=_literal(parse_instant),
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="A universally unique identifier, in its canonical text form.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
        parse_value=_parse_uuid,
        parse_literal=_literal(_parse_uuid),
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}
