"""Columns of assets that statements may leave out. They are few, so that there are few shapes of each statement."""

from collections.abc import Iterable

from db.sql import render
from db.temporal.kinds import ENTITY, PRODUCT

# Documents, long texts and lists.
_LARGE = frozenset({"schema", "details", "description", "tags", "keys"})
# The instants of a version. The driver takes longer to decode them than all the rest of a row.
PERIOD = ("valid_from", "valid_to", "created_at")
_PERIOD = frozenset(PERIOD)
# The instant of the read, which is the same in many rows.
AS_OF = "as_of"
# The details of an entity with their types. It is no column of the versions, and is selected only if it is named.
DETAIL_ROWS = "detail_rows"
# The periods of these details.
DETAIL_PERIODS = "detail_periods"
# The roles of their types, and when and by whom these were registered.
DETAIL_TYPE_RECORDS = "detail_type_records"
_PERIOD_MEMBERS = ", 'valid_from', d.valid_from, 'valid_to', NULLIF(d.valid_to, 'infinity')"
_RECORD_MEMBERS = ", 'role', t.role, 'created_at', t.created_at, 'updated_at', t.updated_at, 'actor', t.actor"
_SMALL = frozenset(PRODUCT.fields + ENTITY.fields) - _LARGE


def fields_to_select(columns: Iterable[str]) -> frozenset[str]:
    """Return the columns to select for a reader of these: all small fields; the large ones, the details and the instant as far
    as it reads them; and the period if it reads a part of it."""
    read = frozenset(columns)
    return (
        _SMALL
        | ((_LARGE | {DETAIL_ROWS, DETAIL_PERIODS, DETAIL_TYPE_RECORDS, AS_OF}) & read)
        | (_PERIOD if _PERIOD & read else frozenset())
    )


def detail_rows(fields: frozenset[str] | None, entity: str, instant: str) -> str | None:
    """Return the SQL of the details of a row of entity_version, if a reader of these fields selects them."""
    if fields is None or DETAIL_ROWS not in fields:
        return None
    members = _PERIOD_MEMBERS if DETAIL_PERIODS in fields else ""
    members += _RECORD_MEMBERS if DETAIL_TYPE_RECORDS in fields else ""
    return render("assets/_detail_rows", {"entity": entity, "instant": instant, "members": members})
