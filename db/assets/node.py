"""Nodes of the lineage graph: assets of any kind, by their ids."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from db.assets.entity import EntityRow, entity_from_row
from db.assets.product import ProductRow, product_from_row
from db.connection import ReadConnection
from db.sql import statement
from db.temporal.kinds import PRODUCT

_UIDS = statement("assets/uids_by_id")
_BY_ID = statement("assets/nodes_by_id")

NodeRow = ProductRow | EntityRow


async def nodes_by_id(connection: ReadConnection, nodes: Sequence[tuple[int, datetime]]) -> list[NodeRow | None]:
    """Find assets by id, each at its instant. An asset that does not exist then is None."""
    parameters = {"assets": [asset_id for asset_id, _ in nodes], "instants": [instant for _, instant in nodes]}
    found: list[NodeRow | None] = [None] * len(nodes)
    for row in await connection.fetch(_BY_ID, parameters):
        index = row.ordinal - 1
        _, instant = nodes[index]
        found[index] = product_from_row(row, instant) if row.kind == PRODUCT.name else entity_from_row(row, instant)
    return found


async def uids_by_id(connection: ReadConnection, sets: Sequence[Sequence[int]]) -> list[list[UUID]]:
    """Find the uids of the assets of each set."""
    uids = {row.id: row.uid for row in await connection.fetch(_UIDS, {"assets": sorted(set().union(*sets))})}
    return [[uids[asset_id] for asset_id in asset_ids] for asset_ids in sets]
