"""Federation references: the asset that a representation from a gateway names."""

from typing import Any

from db.errors import BadInput
from schema.assets.asset import Asset
from schema.assets.product import Product, product_by_name
from schema.execution.context import Info
from schema.language.node_ids import read_id, read_uid
from schema.lazy import ASSET_TYPES, find_asset


async def resolve_reference(
    of: type[Asset] | None, info: Info, /, id: str | None = None, uid: str | None = None, name: str | None = None, **_: Any
) -> Asset | None:
    """Return the asset that a representation names, of one type or of any. An id carries its instant."""
    if id is not None:
        type_name, uid_of_id, pinned = read_id(id)
        named = next((it for it in ASSET_TYPES.values() if it.__name__ == type_name), None)
        return await named.find(info, uid_of_id, pinned) if named is not None and of in (None, named) else None
    if uid is not None:
        return await find_asset(info, read_uid(uid), None) if of is None else await of.find(info, read_uid(uid), None)
    if of is not Product:
        raise BadInput("representations has an Asset or an Entity without id and uid. Give one of them.", field="representations")
    if name is not None:
        return await product_by_name(info, name, None)
    raise BadInput("representations has a Product without id, uid and name. Give one of them.", field="representations")
