"""Parameters and conditions that composed statements share."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, CollectionAggregate, ColumnElement, DateTime, Function, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

# The tenant of a statement, in a sub-select, which hides it from the planner: see db/sql.py. The connection sets its value.
TENANT = select(bindparam("tenant", type_=BigInteger)).scalar_subquery()

# The instant of a statement; None: that at which the transaction began, which `ReadConnection.now` is, too.
AS_OF: Function[Any] = func.coalesce(bindparam("as_of", type_=DateTime(timezone=True)), func.now())


def any_of(name: str, kind: type[TypeEngine[Any]]) -> CollectionAggregate[Any]:
    """Build the right side of `column == any_of(...)`. It is one parameter, so that the statement is prepared once for any number
    of values."""
    return any_(bindparam(name, type_=ARRAY(kind)))


def distinct(values: Iterable[Any]) -> list[Any]:
    """List values without repetitions, for `any_of`."""
    return list(dict.fromkeys(values))


def contains(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Build the condition that a column contains a text, ignoring case. The value of the parameter is a `contains_pattern`."""
    return column.ilike(bindparam(name, type_=Text))


def contains_pattern(text: str) -> str:
    """Build the LIKE pattern of strings that contain a text."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
