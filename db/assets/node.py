"""The nodes of the graph: assets of whatever kind, as they were at an instant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from db.assets.entity import EntityRow
from db.assets.product import ProductRow
from db.connection import ReadConnection
from db.sql import statement
from db.temporal.kinds import PRODUCT

_UIDS = statement("assets/uids_by_id")
_BY_ID = statement("assets/nodes_by_id")

NodeRow = ProductRow | EntityRow


async def nodes_by_id(connection: ReadConnection, readings: Sequence[tuple[int, datetime]]) -> list[NodeRow | None]:
    """The assets with these ids, each as it was at an instant of its own; None: it did not live then."""
    asked = {"assets": [asset_id for asset_id, _ in readings], "instants": [instant for _, instant in readings]}
    found: list[NodeRow | None] = [None] * len(readings)
    for row in await connection.fetch(_BY_ID, asked):
        found[row[0] - 1] = _node(row, readings[row[0] - 1][1])
    return found


async def uids_by_id(connection: ReadConnection, sets: Sequence[Sequence[int]]) -> list[list[UUID]]:
    """The uids of sets of assets, by their ids."""
    found = {row.id: row.uid for row in await connection.fetch(_UIDS, {"assets": sorted(set().union(*sets))})}
    return [[found[it] for it in ids] for ids in sets]


def _node(row: Any, instant: datetime) -> NodeRow:
    _, asset_id, uid, kind, type_, key, valid_from, valid_to, created_at, *product, display_name, details = row
    if kind == PRODUCT.name:
        return ProductRow(asset_id, uid, instant, valid_from, valid_to, created_at, *product)
    return EntityRow(asset_id, uid, type_, key, instant, valid_from, valid_to, created_at, display_name, details)
