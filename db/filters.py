"""Parameters and conditions that composed statements share."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, CollectionAggregate, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

# The tenant of a statement. The connection sets its value.
TENANT = bindparam("tenant", type_=BigInteger)


def any_of(values: Iterable[Any], kind: type[TypeEngine[Any]]) -> CollectionAggregate[Any]:
    """Build the right side of `column == any_of(...)`. It is one parameter, so that the statement is prepared once for any number
    of values."""
    return any_(bindparam(None, list(dict.fromkeys(values)), type_=ARRAY(kind)))


def contains_pattern(text: str) -> str:
    """Build the LIKE pattern of strings that contain a text."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
