"""Filters that lists of products and lists of entities share: many assets at once, and the instants of their changes."""

from collections.abc import Mapping
from typing import Any

from strawberry.utils.str_converters import to_camel_case

from db.errors import BadInput
from db.fields import refuse_unstorable
from db.instants import write_instant
from schema.language.limits import check_entries

UIDS = "Any of these uids, no more than a page may have."
UPDATED_SINCE = "Changed at this instant or later, up to the instant of this read."
UPDATED_BEFORE = "Not changed since this instant: `updatedAt` is before it."
CREATED_SINCE = "First created at this instant or later."


def check_asset_filter(fields: Mapping[str, Any], page_size: int) -> None:
    """Raise an error if a filter, given as plain values, names more assets than a page has, or a period that is empty."""
    for name in ("uids", "names", "keys"):
        check_entries(name, fields.get(name, ()), page_size)
    for name, values in fields.items():
        for value in values if isinstance(values, list) else ():
            _refuse_unstorable(to_camel_case(name), value)
    since, before = fields.get("updated_since"), fields.get("updated_before")
    if since is not None and before is not None and before <= since:
        raise BadInput(
            f"updatedBefore is {write_instant(before)}. It must be after updatedSince ({write_instant(since)}).",
            field="updatedBefore",
        )


def _refuse_unstorable(field: str, value: Any) -> None:
    """Refuse text that PostgreSQL cannot store, in a value of a filter or in a part of it."""
    if isinstance(value, str):
        refuse_unstorable(field, value)
    elif isinstance(value, dict):
        for name, part in value.items():
            _refuse_unstorable(f"{field}.{to_camel_case(name.rstrip('_'))}", part)
    elif isinstance(value, list):
        for part in value:
            _refuse_unstorable(field, part)


def query_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a filter, given as plain values, as those of a query: lists are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
