"""Columns: fields that are read from the row of their object, without a copy of it.

A type declares such a field with `column`. Its objects have the attributes `row` and `pinned`, the requested instant. Resolvers
read the field as an attribute; a plan reads the row itself. A column of an enum holds the name of a member.
"""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

from strawberry.types.base import StrawberryOptional, get_object_definition
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.field import StrawberryField

from schema.language.fields import field
from schema.language.scopes import Scope

_COLUMN = "headwater.column"
_READS = "headwater.reads"

# Computes the value of a field from its row and the requested instant.
Compute = Callable[[Any, datetime | None], Any]

RowType = TypeVar("RowType", bound=type)
Declared = TypeVar("Declared", bound=Callable[..., Any])


class Column(NamedTuple):
    """Source of a field: a column of the row, or a function of the row and the requested instant that reads these columns."""

    attribute: str | None
    compute: Compute | None
    reads: tuple[str, ...]


def column(
    scope: Scope,
    description: str,
    attribute: str | None = None,
    *,
    compute: Compute | None = None,
    reads: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """Declare a field that is read from the row: from the column of the field's name, another one, or several."""
    return field(scope, description, metadata={_COLUMN: Column(attribute, compute, reads)}, **options)


def reads(*columns: str) -> Callable[[Declared], Declared]:
    """Declare the columns of the row that a resolver reads, besides those that every row has."""

    def declare(declared: Declared) -> Declared:
        strawberry_field = cast(StrawberryField, declared)
        known: tuple[str, ...] = strawberry_field.metadata.get(_READS, ())
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, _READS: (*known, *columns)})
        return declared

    return declare


def columns_read(declared: StrawberryField) -> tuple[str, ...]:
    """Return the columns of the row that a field reads."""
    source = column_of(declared)
    if source is None:
        return cast(tuple[str, ...], declared.metadata.get(_READS, ()))
    return source.reads if source.attribute is None else (source.attribute,)


def column_of(declared: StrawberryField) -> Column | None:
    """Return the source of a field in its row; None: it is not read from a row."""
    declared_column: Column | None = declared.metadata.get(_COLUMN)
    if declared_column is None or declared_column.attribute is not None or declared_column.compute is not None:
        return declared_column
    return Column(declared.python_name, None, ())


def backed_by_row(type_: RowType) -> RowType:
    """Make the columns of a type properties that read the row."""
    for declared in get_object_definition(type_, strict=True).fields:
        source = column_of(declared)
        if source is not None:
            setattr(type_, declared.python_name, property(_reader(declared, source)))
    return type_


def _reader(declared: StrawberryField, source: Column) -> Callable[[Any], Any]:
    """Return the function that reads a column of an object."""
    attribute, compute, _ = source
    if compute is not None:
        return lambda instance: compute(instance.row, instance.pinned)
    assert attribute is not None, "a column has an attribute or a function"
    members = _enum_of(declared)
    if members is not None:
        return lambda instance: None if (name := instance.row[attribute]) is None else members[name]
    return lambda instance: instance.row[attribute]


def _enum_of(declared: StrawberryField) -> type[Enum] | None:
    """Return the enum of a field, if its type is one."""
    type_ = declared.type.of_type if isinstance(declared.type, StrawberryOptional) else declared.type
    return cast(type[Enum], type_.wrapped_cls) if isinstance(type_, StrawberryEnumDefinition) else None
