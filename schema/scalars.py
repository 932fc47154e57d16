"""Scalars, and the one way in which an instant is written."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

import strawberry
from graphql import GraphQLError, ValueNode, value_from_ast_untyped
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))?)?",
    re.ASCII,
)
# The driver writes the outermost instants of Python as infinities.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
_EXAMPLES = "Write it like 2025-03-01T12:00:00Z, 2025-03-01T12:00:00.123456+01:00 or 2025-03-01."


def parse_instant(value: Any) -> datetime:
    """Read an instant: RFC 3339 with an offset, to the microsecond; a bare date is its midnight UTC."""
    written = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise GraphQLError(f"{value!r} is no instant. {_EXAMPLES}")
    day, clock, fraction, zulu, sign, hours, minutes = written.groups()
    if clock is not None and zulu is None and sign is None:
        raise GraphQLError(f"{value!r} has no offset, so it could be any of 24 instants. {_EXAMPLES}")
    if fraction is not None and len(fraction) > 6:
        raise GraphQLError(f"{value!r} is finer than a microsecond, which is as fine as time is kept. {_EXAMPLES}")
    try:
        if clock is None:
            instant = datetime.combine(date.fromisoformat(day), time(), UTC)
        else:
            offset = "+00:00" if zulu else f"{sign}{hours}:{minutes}"
            instant = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0').ljust(6, '0')}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise GraphQLError(f"{value!r} is no instant: {error}. {_EXAMPLES}") from error
    if not EARLIEST <= instant <= LATEST:
        raise GraphQLError(f"{value!r} lies beyond the time that is kept: the years 1 to 9999, but for their outermost days.")
    return instant


def write_instant(value: datetime) -> str:
    """The one form in which an instant leaves: UTC, with six decimals or none."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


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
