"""Federation references: the assets that representations from a gateway name."""

from collections.abc import Mapping, Sequence
from typing import Any

from db.errors import BadInput
from db.fields import refuse_unstorable
from schema.assets.asset import Asset
from schema.assets.product import PRODUCT_BY_NAME, Product
from schema.execution.context import Info
from schema.language.fields import each
from schema.language.node_ids import read_id, read_uid
from schema.lazy import ASSET_TYPES, AssetKey, find_assets


async def resolve_references(
    of: type[Asset] | None, info: Info, representations: Sequence[Mapping[str, str | None]]
) -> list[Any]:
    """Return the asset that each representation names, of one type or of any, or None, or the error of the representation."""
    return await find_assets(info, each(lambda representation: _key(of, representation), representations))


def _key(of: type[Asset] | None, representation: Mapping[str, str | None]) -> AssetKey | None:
    """Return the key that a representation gives. An id carries its instant."""
    id_, uid, name = (representation.get(key) for key in ("id", "uid", "name"))
    if id_ is not None:
        type_name, uid_of_id, pinned = read_id(id_)
        named = next((it for it in ASSET_TYPES.values() if it.__name__ == type_name), None)
        return AssetKey(named, named.by_uid, uid_of_id, pinned) if named is not None and of in (None, named) else None
    if uid is not None:
        return AssetKey(of, None if of is None else of.by_uid, read_uid(uid), None)
    if of is not Product:
        raise BadInput("representations has an Asset or an Entity without id and uid. Give one of them.", field="representations")
    if name is not None:
        refuse_unstorable("name", name)
        return AssetKey(Product, PRODUCT_BY_NAME, name, None)
    raise BadInput("representations has a Product without id, uid and name. Give one of them.", field="representations")
