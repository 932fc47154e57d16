"""Federation references: the assets that representations from a gateway name."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from db.errors import BadInput
from db.fields import refuse_unstorable
from schema.assets.asset import Asset
from schema.assets.product import PRODUCT_BY_NAME, Product
from schema.execution.context import Info
from schema.execution.federation import Representation
from schema.language.fields import each
from schema.language.node_ids import read_id, read_uid
from schema.lazy import ASSET_TYPES, AssetKey, find_assets


async def resolve_references(
    of: type[Asset] | None, info: Info, representations: Sequence[Representation], are_all: bool
) -> list[Any]:
    """Return the asset that each representation names, of one type or of any, or None, or the error of the representation.

    With `are_all`, the operation names no other assets.
    """
    return await find_assets(info, each(partial(_key, of), representations), are_all=are_all)


def _key(of: type[Asset] | None, representation: Representation) -> AssetKey | None:
    """Return the key that a representation gives. An id carries its instant."""
    if isinstance(id_ := representation.get("id"), str):
        type_name, uid_of_id, pinned = read_id(id_)
        named = next((it for it in ASSET_TYPES.values() if it.__name__ == type_name), None)
        return AssetKey(named, named.by_uid, uid_of_id, pinned) if named is not None and of in (None, named) else None
    if isinstance(uid := representation.get("uid"), str):
        return AssetKey(of, None if of is None else of.by_uid, read_uid(uid), None)
    if of is not Product:
        raise BadInput("representations has an Asset or an Entity without id and uid. Give one of them.", field="representations")
    if isinstance(name := representation.get("name"), str):
        refuse_unstorable("name", name)
        return AssetKey(Product, PRODUCT_BY_NAME, name, None)
    raise BadInput("representations has a Product without id, uid and name. Give one of them.", field="representations")
