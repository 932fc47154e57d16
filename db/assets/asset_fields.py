"""Columns of assets that statements may leave out. They are few, so that there are few shapes of each statement."""

from collections.abc import Iterable

from db.temporal.kinds import ENTITY, PRODUCT

# Documents, long texts and lists.
_LARGE = frozenset({"schema", "details", "description", "tags"})
# The instants of a version. The driver takes longer to decode them than all the rest of a row.
PERIOD = ("valid_from", "valid_to", "created_at")
_PERIOD = frozenset(PERIOD)
# The instant of the read, which is the same in many rows.
AS_OF = "as_of"
# The details of an entity with their types. It is no column of the versions, and is selected only if it is named.
DETAIL_ROWS = "detail_rows"
_SMALL = frozenset(PRODUCT.fields + ENTITY.fields) - _LARGE


def fields_to_select(columns: Iterable[str]) -> frozenset[str]:
    """Return the columns to select for a reader of these: all small fields; the large ones, the details and the instant as far
    as it reads them; and the period if it reads a part of it."""
    read = frozenset(columns)
    return _SMALL | ((_LARGE | {DETAIL_ROWS, AS_OF}) & read) | (_PERIOD if _PERIOD & read else frozenset())
