"""The GraphQL type of every kind of asset. Who adds one adds it here."""

from datetime import datetime
from typing import Any
from uuid import UUID

from db.assets.node import NodeRow
from db.assets.product import ProductRow
from db.errors import BadInput
from schema.assets.asset import Asset
from schema.assets.entity import Entity
from schema.assets.product import Product, product_by_name
from schema.execution.context import Info
from schema.language.node_ids import read_id, read_uid

ASSET_TYPES: dict[str, type[Asset]] = {it.kind.name: it for it in (Product, Entity)}


def asset_from_row(row: NodeRow, pinned: datetime | None) -> Asset:
    """An asset out of its row, whatever its kind."""
    return Product.of(row, pinned) if isinstance(row, ProductRow) else Entity.of(row, pinned)


async def find_asset(info: Info, uid: UUID, pinned: datetime | None) -> Asset | None:
    """The asset with a uid, whatever its kind, at the instant that was asked for, else now."""
    identity = await info.context.loaders.identity_by_uid.load((uid,))
    return None if identity is None else await ASSET_TYPES[identity.kind].find(info, uid, pinned)


async def resolve_reference(
    of: type[Asset] | None, info: Info, /, id: str | None = None, uid: str | None = None, name: str | None = None, **_: Any
) -> Asset | None:
    """Finds the asset that a gateway means, of one kind or of any; the instant travels inside the id."""
    if id is not None:
        type_name, known, pinned = read_id(id)
        found = next((it for it in ASSET_TYPES.values() if it.__name__ == type_name), None)
        return await found.find(info, known, pinned) if found is not None and of in (None, found) else None
    if uid is not None:
        return await find_asset(info, read_uid(uid), None) if of is None else await of.find(info, read_uid(uid), None)
    if of is not Product:
        raise BadInput("A representation of an Asset or an Entity names its id or its uid.", field="representations")
    if name is not None:
        return await product_by_name(info, name, None)
    raise BadInput("A representation of a Product names its id, its uid or its name.", field="representations")
