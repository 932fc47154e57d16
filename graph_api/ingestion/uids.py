"""Uids of assets that a file names by other means, so that loading the file again finds the same assets. UUIDs of version 5."""

from uuid import NAMESPACE_URL, UUID, uuid5

_ENTITY = uuid5(NAMESPACE_URL, "headwater/entity")
_PRODUCT = uuid5(NAMESPACE_URL, "headwater/product")


def entity_uid(type_: str, display_name: str) -> UUID:
    """Derive the uid of an entity without a key from its type, a NUL, and its display name."""
    return uuid5(_ENTITY, f"{type_}\0{display_name}")


def product_uid(name: str) -> UUID:
    """Derive the uid of a product from its name."""
    return uuid5(_PRODUCT, name)
