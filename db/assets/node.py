"""Nodes of the lineage graph: assets of any kind, by their ids."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from db.assets.asset_fields import DISPLAY, PERIOD, computed_fields
from db.assets.entity import EntityRow
from db.assets.product import ProductRow
from db.connection import ReadConnection
from db.filters import distinct
from db.sql import MAX_SHAPES, Statement, statement
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT

_UIDS = statement("assets/uids_by_id")

# Types of the fields that are no text.
_TYPES = {"schema": "jsonb", "details": "jsonb", "tags": "text[]", "keys": "text[]"}

_PERIOD = {it: f"{{}}.{it}" for it in PERIOD} | {"valid_to": "NULLIF({}.valid_to, 'infinity')"}

NodeRow = ProductRow | EntityRow


async def nodes_by_id(connection: ReadConnection, nodes: Sequence[tuple[int, datetime]]) -> list[NodeRow | None]:
    """Find assets by id, each at its instant. An asset that does not exist then is None."""
    parameters = {"assets": [asset_id for asset_id, _ in nodes], "instants": [instant for _, instant in nodes]}
    found: list[NodeRow | None] = [None] * len(nodes)
    for row in await connection.fetch(_by_id(connection.asset_fields), parameters):
        found[row.ordinal - 1] = cast(NodeRow, row)
    return found


async def nodes_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[NodeRow | None]:
    """Find assets by uid at an instant, by default now. An asset that does not exist then is None."""
    parameters = {"uids": distinct(uids), "as_of": as_of or connection.now_if_read}
    rows = await connection.fetch(_by_uid(connection.asset_fields), parameters)
    found = {row.uid: cast(NodeRow, row) for row in rows}
    return [found.get(uid) for uid in uids]


async def displays_by_id(connection: ReadConnection, entities: Sequence[tuple[int, datetime]]) -> list[Mapping[str, Any]]:
    """Read what nodes of a graph show of entities that exist, by id, each at its instant."""
    parameters = {"assets": [asset_id for asset_id, _ in entities], "instants": [instant for _, instant in entities]}
    displays = {row.ordinal: row[DISPLAY] for row in await connection.fetch(_by_id(frozenset({DISPLAY})), parameters)}
    return [displays[ordinal] for ordinal in range(1, len(entities) + 1)]


async def uids_by_id(connection: ReadConnection, sets: Sequence[Sequence[int]]) -> list[list[UUID]]:
    """Find the uids of the assets of each set."""
    uids = {row.id: row.uid for row in await connection.fetch(_UIDS, {"assets": sorted(set().union(*sets))})}
    return [[uids[asset_id] for asset_id in asset_ids] for asset_ids in sets]


@lru_cache(MAX_SHAPES)
def _by_id(fields: frozenset[str] | None) -> Statement:
    return statement("assets/nodes_by_id", **node_fields(fields))


@lru_cache(MAX_SHAPES)
def _by_uid(fields: frozenset[str] | None) -> Statement:
    return statement("assets/nodes_by_uid", **node_fields(fields))


def node_fields(fields: frozenset[str] | None) -> dict[str, str]:
    """Return the tokens of `_node.sql` that select these fields and parts of the period, or else all."""

    def is_selected(name: str) -> bool:
        return fields is None or name in fields

    selected = [(kind, field) for kind in (PRODUCT, ENTITY) for field in kind.fields if is_selected(field)]

    def listed(of: Kind, row: str) -> str:
        period = [f"{_PERIOD[name].format(row)} AS {name}" for name in PERIOD if is_selected(name)]
        state = [
            f'{row}."{field}"' if kind is of else f'CAST(NULL AS {_TYPES.get(field, "text")}) AS "{field}"'
            for kind, field in selected
        ]
        computed = computed_fields(fields, of, row, "a.type", "wanted.instant")
        return ", ".join(period + state + [f"CAST(({it.sql}) AS {it.type}) AS {it.name}" for it in computed])

    return {"product_fields": listed(PRODUCT, "p"), "entity_fields": listed(ENTITY, "e")}
