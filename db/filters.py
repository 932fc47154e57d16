"""Parameters and conditions that composed statements share."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    CollectionAggregate,
    ColumnElement,
    DateTime,
    Function,
    Select,
    Text,
    any_,
    bindparam,
    func,
    select,
    true,
)
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


# Values of a list from which on a statement looks each row up in a hash of them. A list in a parameter is searched from its start
# for each row, which for hundreds of values takes longer than all else.
MANY_VALUES = 20


# Prefix of the name of a filter that has many values.
_MANY = "many "


def filters_of(query: object, names: Iterable[str]) -> frozenset[str]:
    """Name the filters that a query has, as its statement depends on them: those with many values are named once more."""
    values = {name: value for name in names if (value := getattr(query, name)) is not None}
    many = [_MANY + name for name, value in values.items() if isinstance(value, tuple) and len(value) >= MANY_VALUES]
    return frozenset([*values, *many])


def is_among(column: ColumnElement[Any], name: str, filters: frozenset[str]) -> ColumnElement[bool]:
    """Build the condition that a column has one of the texts of a filter."""
    # IS TRUE keeps PostgreSQL from joining the values, which it expects to be few, in a loop
    return column.in_(_hashed(name)).is_(true()) if _MANY + name in filters else column == any_of(name, Text)


def overlaps(column: ColumnElement[Any], name: str, filters: frozenset[str]) -> ColumnElement[bool]:
    """Build the condition that an array of texts has one of those of a filter."""
    if _MANY + name not in filters:
        return column.bool_op("&&")(bindparam(name, type_=ARRAY(Text)))
    item = func.unnest(column).column_valued("item")
    # an aggregate, which PostgreSQL does not turn into a join: that would hash the values anew for each row
    return select(func.bool_or(item.in_(_hashed(name)))).scalar_subquery()


def _hashed(name: str) -> Select[Any]:
    return select(func.unnest(bindparam(name, type_=ARRAY(Text))))


def distinct(values: Iterable[Any]) -> list[Any]:
    """List values without repetitions, for `any_of`."""
    return list(dict.fromkeys(values))


def contains(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Build the condition that a column contains a text, ignoring case. The value of the parameter is a `contains_pattern`."""
    return column.ilike(bindparam(name, type_=Text))


def contains_pattern(text: str) -> str:
    """Build the LIKE pattern of strings that contain a text."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
