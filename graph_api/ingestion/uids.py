"""The uids of what a file gives none, so that the same file meets the same things again. They are UUIDs of version 5."""

from uuid import NAMESPACE_URL, UUID, uuid5

_ENTITY = uuid5(NAMESPACE_URL, "headwater/entity")
_PRODUCT = uuid5(NAMESPACE_URL, "headwater/product")


def entity_uid(type_: str, display_name: str) -> UUID:
    """That of an entity known by nothing but its name: over the type, a NUL, and the name."""
    return uuid5(_ENTITY, f"{type_}\0{display_name}")


def product_uid(name: str) -> UUID:
    """That of a product: over its name."""
    return uuid5(_PRODUCT, name)
