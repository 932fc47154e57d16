"""The nodes of the graph: assets of whatever kind, as they were at an instant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.connection import ReadConnection
from db.entity import EntityRow
from db.product import PRODUCT, ProductRow
from db.sql import load

_UIDS = text(load("uids_by_asset"))
_BY_ID = text(load("nodes_by_id"))

NodeRow = ProductRow | EntityRow


async def nodes_by_id(connection: ReadConnection, ids: Sequence[int], as_of: datetime | None) -> dict[int, NodeRow]:
    """The assets with these ids that live at an instant, by their ids."""
    instant = as_of or connection.now
    return {row[0]: _node(row, instant) for row in await connection.fetch(_BY_ID, {"assets": list(ids), "instant": instant})}


async def uids_by_asset(connection: ReadConnection, ids: Sequence[int]) -> list[UUID]:
    """The uids of the assets with these ids."""
    found = {row.id: row.uid for row in await connection.fetch(_UIDS, {"assets": list(ids)})}
    return [found[it] for it in ids]


def _node(row: Any, instant: datetime) -> NodeRow:
    asset_id, uid, kind, type_, key, valid_from, valid_to, created_at, *product, display_name, details = row
    if kind == PRODUCT.name:
        return ProductRow(asset_id, uid, instant, valid_from, valid_to, created_at, *product)
    return EntityRow(asset_id, uid, type_, key, instant, valid_from, valid_to, created_at, display_name, details)
