"""Columns of assets that statements may leave out. They are few, so that there are few shapes of each statement."""

from collections.abc import Iterable
from typing import NamedTuple

from db.sql import render
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT

# Documents, long texts and lists.
_LARGE = frozenset({"schema", "details", "description", "tags", "keys"})
# The instants of a version. The driver takes longer to decode them than all the rest of a row.
PERIOD = ("valid_from", "valid_to", "created_at")
_PERIOD = frozenset(PERIOD)
# The instant of the read, which is the same in many rows.
AS_OF = "as_of"
# The numbers of assets that feed an asset directly, and that it feeds, each with the number of links that were read for it. They
# are no columns of the versions, and are selected only if they are named.
UPSTREAM_COUNT = "upstream_count"
DOWNSTREAM_COUNT = "downstream_count"
_ENDS = {UPSTREAM_COUNT: ("target_id", "source_id"), DOWNSTREAM_COUNT: ("source_id", "target_id")}
# What nodes of a graph show of an entity: the label and the domain of its type, and its details that play a role. It is no
# column, either.
DISPLAY = "display"
# The details of an entity with their types. It is no column of the versions, and is selected only if it is named.
DETAIL_ROWS = "detail_rows"
# The periods of these details.
DETAIL_PERIODS = "detail_periods"
# The roles of their types, and when and by whom these were registered.
DETAIL_TYPE_RECORDS = "detail_type_records"
_PERIOD_MEMBERS = ", 'valid_from', d.valid_from, 'valid_to', NULLIF(d.valid_to, 'infinity')"
_RECORD_MEMBERS = ", 'role', t.role, 'created_at', t.created_at, 'updated_at', t.updated_at, 'actor', t.actor"
_NAMED = frozenset({DETAIL_ROWS, DETAIL_PERIODS, DETAIL_TYPE_RECORDS, DISPLAY, UPSTREAM_COUNT, DOWNSTREAM_COUNT, AS_OF})
_SMALL = frozenset(PRODUCT.fields + ENTITY.fields) - _LARGE


def fields_to_select(columns: Iterable[str]) -> frozenset[str]:
    """Return the columns to select for a reader of these: all small fields; the large ones, those that are no columns of the
    versions, and the instant as far as it reads them; and the period if it reads a part of it."""
    read = frozenset(columns)
    return _SMALL | ((_LARGE | _NAMED) & read) | (_PERIOD if _PERIOD & read else frozenset())


class Computed(NamedTuple):
    """A selected value that is no column of the versions: its name, its type, and its SQL."""

    name: str
    type: str
    sql: str


def computed_fields(fields: frozenset[str] | None, kind: Kind, version: str, type_: str, instant: str) -> list[Computed]:
    """Return the values that are no columns of the versions, as far as a reader of these fields selects them, of a row of the
    versions of a kind and the code of its type. Those that the kind does not have are NULL."""
    selected: list[Computed] = []
    if fields is None:
        return selected
    if DETAIL_ROWS in fields:
        members = _PERIOD_MEMBERS if DETAIL_PERIODS in fields else ""
        members += _RECORD_MEMBERS if DETAIL_TYPE_RECORDS in fields else ""
        details = render("assets/_detail_rows", {"entity": version, "instant": instant, "members": members})
        selected.append(Computed(DETAIL_ROWS, "jsonb", details if kind is ENTITY else "NULL"))
    if DISPLAY in fields:
        display = render("assets/_display", {"entity": version, "type": type_})
        selected.append(Computed(DISPLAY, "jsonb", display if kind is ENTITY else "NULL"))
    selected += [Computed(it, "bigint[]", neighbour_count(it, version, instant)) for it in _ENDS if it in fields]
    return selected


def neighbour_count(name: str, asset: str, instant: str) -> str:
    """Return the SQL of a count of the neighbours of a row with the columns tenant_id and asset_id."""
    near, far = _ENDS[name]
    return render("assets/_neighbour_count", {"asset": asset, "instant": instant, "near": near, "far": far})
