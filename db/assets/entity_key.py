"""Keys of entities, and the form in which they are compared."""

import re
from uuid import NAMESPACE_URL, UUID, uuid5

_GROUPS = "[0-9a-f]{4}(-?[0-9a-f]{4}){7}"
_UUID = re.compile(rf"(urn:uuid:)?(?P<digits>{_GROUPS}|\{{{_GROUPS}\}})", re.ASCII | re.IGNORECASE)
_BY_KEY_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/entity/key")


def compared_key(key: str) -> str:
    """Return the form in which a key is compared, as the function of that name in the database: the canonical text of a UUID,
    and else the key."""
    uuid = _UUID.fullmatch(key)
    return key if uuid is None else str(UUID(uuid["digits"]))


def entity_uid_by_key(type_: str, key: str) -> UUID:
    """Compute the uid of an entity with a key that is given no other: a UUID of the type, a NUL and the compared key, the same
    everywhere."""
    return uuid5(_BY_KEY_NAMESPACE, f"{type_}\0{compared_key(key)}")
