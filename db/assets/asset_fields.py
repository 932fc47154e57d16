"""Fields of assets that statements may leave out. They are few, so that there are few shapes of each statement."""

from collections.abc import Iterable

from db.temporal.kinds import ENTITY, PRODUCT

# Documents, long texts and lists.
_LARGE = frozenset({"schema", "details", "description", "tags"})
_SMALL = frozenset(PRODUCT.fields + ENTITY.fields) - _LARGE


def fields_to_select(columns: Iterable[str]) -> frozenset[str]:
    """Return the fields to select for a reader of these columns: all small ones, and those of the large ones that it reads."""
    return _SMALL | _LARGE.intersection(columns)
