"""Assets that a write names by their name or key, and that may not exist yet."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from db.assets.asset import IdentitySpec
from db.assets.reference import AssetRef, resolve
from db.connection import ReadConnection

Index = TypeVar("Index")


class Naming(NamedTuple):
    """Name or key of an asset that a write states at an instant, and the uid that is derived from it, if one is."""

    ref: AssetRef
    new_uid: UUID | None
    at: datetime | None


async def specs_by_name(connection: ReadConnection, namings: Mapping[Index, Naming]) -> dict[Index, IdentitySpec | None]:
    """Return the assets that writes name.

    That is the product that has the name at the instant, or the entity that the key means. If there is none, it is the asset with
    the derived uid, which is created, or restored if it was deleted. If that exists at the instant, under another name, the write
    is ambiguous, and its value is None.
    """
    derived = {index: AssetRef(uid=it.new_uid) for index, it in namings.items() if it.new_uid is not None}
    instants = [it.at for it in namings.values()] + [namings[index].at for index in derived]
    resolved = await resolve(connection, [it.ref for it in namings.values()] + list(derived.values()), instants)
    by_uid = dict(zip(derived, resolved[len(namings) :], strict=True))
    specs: dict[Index, IdentitySpec | None] = {}
    for (index, it), named in zip(namings.items(), resolved, strict=False):
        if named.is_found and (named.named or it.ref.product is None):
            specs[index] = IdentitySpec(named.uid, it.ref.type)
        elif index in by_uid and by_uid[index].alive:
            specs[index] = None
        else:
            specs[index] = IdentitySpec(it.new_uid, it.ref.type)
    return specs
