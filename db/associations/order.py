"""Orders of the lists of associations, and the keys by which their pages continue."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement

from db.temporal.kind import AssociationKind


class AssociationOrder(StrEnum):
    """Field by which a list of associations is ordered: their identity, or the start of the period that is read."""

    RECORDED = "RECORDED"
    UPDATED_AT = "UPDATED_AT"


def order_parts(order: AssociationOrder, descending: bool) -> tuple[Any, ...]:
    """Return what tells a cursor of one order from those of others. Cursors of the default order are older than the others."""
    return () if order is AssociationOrder.RECORDED and not descending else (order, descending)


def sort_key_types(order: AssociationOrder) -> tuple[type, ...]:
    """Return the types of the values by which an association sorts, which its cursor holds."""
    return (int,) if order is AssociationOrder.RECORDED else (datetime, int)


def sort_columns(kind: AssociationKind, order: AssociationOrder) -> Sequence[ColumnElement[Any]]:
    """Return the columns of effective rows by which associations sort. An index serves each order."""
    columns = kind.effective.c
    subject = columns[kind.subject]
    return (subject,) if order is AssociationOrder.RECORDED else (columns.valid_from, subject)


def cursor_key(kind: AssociationKind, row: Any, order: AssociationOrder) -> tuple[Any, ...]:
    """Return the values by which an association sorts."""
    return tuple(row[column.name] for column in sort_columns(kind, order))
