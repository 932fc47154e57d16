"""Nodes of the lineage graph: assets of any kind, by their ids."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from db.assets.entity import EntityRow
from db.assets.product import ProductRow
from db.connection import ReadConnection
from db.sql import statement

_UIDS = statement("assets/uids_by_id")
_BY_ID = statement("assets/nodes_by_id")

NodeRow = ProductRow | EntityRow


async def nodes_by_id(connection: ReadConnection, nodes: Sequence[tuple[int, datetime]]) -> list[NodeRow | None]:
    """Find assets by id, each at its instant. An asset that does not exist then is None."""
    parameters = {"assets": [asset_id for asset_id, _ in nodes], "instants": [instant for _, instant in nodes]}
    found: list[NodeRow | None] = [None] * len(nodes)
    for row in await connection.fetch(_BY_ID, parameters):
        found[row.ordinal - 1] = cast(NodeRow, row)
    return found


async def uids_by_id(connection: ReadConnection, sets: Sequence[Sequence[int]]) -> list[list[UUID]]:
    """Find the uids of the assets of each set."""
    uids = {row.id: row.uid for row in await connection.fetch(_UIDS, {"assets": sorted(set().union(*sets))})}
    return [[uids[asset_id] for asset_id in asset_ids] for asset_ids in sets]
