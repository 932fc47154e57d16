"""Stubs: entities whose records are kept in another system, and of which nothing is known here but their key there. Whatever else
is said of one counts more, whenever it is said."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from db.assets.asset import IdentitySpec, add_or_lock_each
from db.assets.entity import entity_uid_by_key
from db.associations.association import UNRESOLVED, ResolvedAsset
from db.associations.relationship_fields import is_identifier
from db.connection import WriteConnection
from db.consistency.batch_conflicts import ChangesOfSubject, subject_of
from db.consistency.lifecycle import record_asset_change
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, raise_first_error
from db.temporal.kinds import ENTITY

_SOURCED = statement("associations/sourced_types")


class Stub(NamedTuple):
    """An entity that is to be there from an instant on; without one, from now on."""

    type: str
    key: str
    at: datetime | None
    # which statement wants it
    place: int

    @property
    def found(self) -> ResolvedAsset:
        """What it will be, if it can be."""
        if not is_identifier(self.key):
            return UNRESOLVED
        return ResolvedAsset(0, entity_uid_by_key(self.type, self.key), ENTITY.name, self.type, alive=True, begun=True)


async def sourced_types(connection: WriteConnection, codes: Collection[str]) -> dict[str, str]:
    """The labels of those of these types whose records live elsewhere; they stay what they are until the transaction ends."""
    return {row.code: row.label for row in await connection.fetch(_SOURCED, {"codes": sorted(codes)})}


async def create_stubs(
    connection: WriteConnection, labels: Mapping[str, str], stubs: Sequence[Stub], said: ChangesOfSubject
) -> None:
    """Have entities be there, called by their type and key, each from the first instant at which it is wanted; and note who wants
    it, for joins may hold with it that cannot be together."""
    first: dict[tuple[str, str], datetime | None] = {}
    for it in stubs:
        known = first.get((it.type, it.key), it.at)
        first[it.type, it.key] = min(known, it.at) if known is not None and it.at is not None else known or it.at
    if not first:
        return
    refs = [IdentitySpec(None, type_, key, entity_uid_by_key(type_, key)) for type_, key in first]
    identities = raise_first_error(await add_or_lock_each(connection, ENTITY, refs))
    assertions = [
        Assertion(it.asset_id, Operation.STUB, {"display_name": f"{labels[type_]} {key}", "details": {}}, at)
        for it, ((type_, key), at) in zip(identities, first.items(), strict=True)
    ]
    ids = {key: it.asset_id for key, it in zip(first, identities, strict=True)}
    for stub in stubs:
        said.setdefault(subject_of(ENTITY, ids[stub.type, stub.key]), []).append((stub.at or connection.now, stub.place))
    await record_asset_change(connection, ENTITY, assertions)
