"""Uids of entities that a file names by other means, so that loading the file again finds the same entities."""

from uuid import NAMESPACE_URL, UUID, uuid5

_ENTITY = uuid5(NAMESPACE_URL, "headwater/entity")


def entity_uid(type_: str, display_name: str) -> UUID:
    """Derive the uid of an entity without a key from its type, a NUL, and its display name."""
    return uuid5(_ENTITY, f"{type_}\0{display_name}")
