"""Identities of entities in files, so that loading a file again finds the same entities."""

from uuid import NAMESPACE_URL, UUID, uuid5

from db.assets.asset import IdentitySpec
from db.assets.entity_key import entity_uid_by_key

_ENTITY = uuid5(NAMESPACE_URL, "headwater/entity")


def entity_spec(uid: UUID | None, type_: str, key: str | None, display_name: str) -> IdentitySpec:
    """Return the spec of an entity. Without a uid, it is the one with the key, or else that with the derived uid."""
    if key is None:
        return IdentitySpec(uid or entity_uid(type_, display_name), type_)
    return IdentitySpec(uid, type_, key, entity_uid_by_key(type_, key) if uid is None else None)


def entity_uid(type_: str, display_name: str) -> UUID:
    """Derive the uid of an entity without a key from its type, a NUL, and its display name."""
    return uuid5(_ENTITY, f"{type_}\0{display_name}")
