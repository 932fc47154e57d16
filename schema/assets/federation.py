"""Federation references: the objects that representations from a gateway name."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from db.errors import BadInput
from db.fields import refuse_unstorable
from schema.assets.asset import Asset
from schema.assets.domain import Domain
from schema.assets.entity import ENTITY_BY_KEY, Entity
from schema.assets.product import PRODUCT_BY_NAME, Product
from schema.associations.lineage_link import LineageLink
from schema.associations.relationship import Relationship
from schema.execution.context import Info
from schema.execution.federation import FindReferences, Representation
from schema.language.fields import each
from schema.language.node_ids import ObjectId, read_id, read_uid
from schema.lazy import ASSET_TYPES, AssetKey, find_assets
from schema.registries.entity_type import EntityType

# The keys of types besides assets, in the order in which they are preferred.
_KEYS: Mapping[type[Any], Sequence[str]] = {
    Domain: ("id", "name"),
    EntityType: ("code",),
    LineageLink: ("id", "uid"),
    Relationship: ("id", "uid"),
}


async def _find_assets(of: type[Asset] | None, info: Info, representations: Sequence[Representation], are_all: bool) -> list[Any]:
    """Return the asset that each representation names, of one type or of any, or None, or the error of the representation.

    With `are_all`, the operation names no other assets.
    """
    return await find_assets(info, each(partial(_asset_key, of), representations), are_all=are_all)


def _asset_key(of: type[Asset] | None, representation: Representation) -> AssetKey | None:
    """Return the key that a representation gives. An id carries its instant."""
    if isinstance(id_ := representation.get("id"), str):
        type_name, uid_of_id, pinned = read_id(id_)
        named = next((it for it in ASSET_TYPES.values() if it.__name__ == type_name), None)
        return AssetKey(named, named.by_uid, uid_of_id, pinned) if named is not None and of in (None, named) else None
    if isinstance(uid := representation.get("uid"), str):
        return AssetKey(of, None if of is None else of.by_uid, read_uid(uid), None)
    if of is Product:
        return AssetKey(Product, PRODUCT_BY_NAME, _text(representation, "name", "Product without id, uid and name"), None)
    if of is Entity:
        type_ = representation.get("type")
        without = "Entity without id, uid, or key and type { code }"
        key = _text(representation, "key", without)
        code = _text(type_ if isinstance(type_, dict) else {}, "code", without)
        return AssetKey(Entity, ENTITY_BY_KEY, (code, key), None)
    raise _without_key("Asset without id and uid")


async def _find_others(of: type[Any], info: Info, representations: Sequence[Representation], _: bool) -> list[Any]:
    """Return the object of one type that each representation names, or None, or the error of the representation.

    They are looked for together, so that loaders find those of one instant with one statement.
    """

    async def find(key: ObjectId | Exception) -> Any:
        if isinstance(key, Exception):
            return key
        return await of.find(info, key.key, key.instant) if key.type_name == of.__name__ else None

    keys = each(partial(_key, of), representations)
    return await asyncio.gather(*map(find, keys), return_exceptions=True)


def _key(of: type[Any], representation: Representation) -> ObjectId:
    """Return the key that a representation gives. An id carries its instant; the other keys mean now."""
    names = _KEYS[of]
    name = next((it for it in names if isinstance(representation.get(it), str)), None)
    if name is None:
        raise _without_key(f"{of.__name__} without {' and '.join(names)}")
    value = representation[name]
    refuse_unstorable(name, value)
    if name == "id":
        return read_id(value)
    return ObjectId(of.__name__, read_uid(value) if name == "uid" else value, None)


def _text(values: Mapping[str, Any], name: str, without: str) -> str:
    """Return a text that is part of a key."""
    value = values.get(name)
    if not isinstance(value, str):
        raise _without_key(without)
    refuse_unstorable(name, value)
    return value


def _without_key(what: str) -> BadInput:
    return BadInput(f"representations has an entry of the type {what}. Give one of them.", field="representations")


# Finds the objects that representations name, by the type that they give.
REFERENCES: Mapping[str, FindReferences] = {
    **{"Asset" if it is None else it.__name__: partial(_find_assets, it) for it in (None, Entity, Product)},
    **{it.__name__: partial(_find_others, it) for it in _KEYS},
}
