"""Filters that lists of products and lists of entities share: by uid, and by the instants of creation and change.

Cursors of a list without these filters are older than they are, so queries leave them out of their repr.
"""

from typing import Any

from sqlalchemy import ColumnElement, DateTime, Select, Uuid, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from db.filters import TENANT, any_of
from db.tables import asset as assets
from db.temporal.kind import Kind

# Filters of a query, by the parameter that holds their value.
ASSET_FILTERS = ("uids", "updated_since", "updated_before", "created_since")


def digest_parts(query: object, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return what tells cursors of a query from those of queries without these filters."""
    return tuple((name, value) for name in names if (value := getattr(query, name)) is not None)


def asset_conditions(kind: Kind, filters: frozenset[str]) -> list[ColumnElement[bool]]:
    """Build the conditions of these filters on versions."""
    versions = kind.versions.c
    named = assets.alias("named")
    conditions: dict[str, ColumnElement[bool]] = {
        "uids": is_one_of(kind, select(named.c.id).where(named.c.tenant_id == TENANT, named.c.uid == any_of("uids", Uuid))),
        "updated_since": versions.valid_from >= _instant("updated_since"),
        "updated_before": versions.valid_from < _instant("updated_before"),
        "created_since": versions.created_at >= _instant("created_since"),
    }
    return [condition for name, condition in conditions.items() if name in filters]


def is_one_of(kind: Kind, ids: Select[Any]) -> ColumnElement[bool]:
    """Build the condition that an asset is one of those whose ids a statement reads."""
    id_ = kind.versions.c.asset_id
    # PostgreSQL expects an array to have few items, so it looks the assets up, whatever its statistics say
    return id_ == any_(func.array(ids.scalar_subquery(), type_=ARRAY(id_.type)))


def _instant(name: str) -> Any:
    return bindparam(name, type_=DateTime(timezone=True))
