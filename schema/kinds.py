"""The GraphQL type of every kind of asset. Who adds one adds it here."""

from datetime import datetime

from db.node import NodeRow
from db.product import ProductRow
from schema.asset import Asset
from schema.entity import Entity
from schema.product import Product

ASSET_TYPES: dict[str, type[Asset]] = {it.kind.name: it for it in (Product, Entity)}


def node_of(row: NodeRow, pinned: datetime | None) -> Asset:
    """An asset out of its row, whatever its kind."""
    return Product.of(row, pinned) if isinstance(row, ProductRow) else Entity.of(row, pinned)
