"""Stubs: entities of a type with an external source, of which only the key is known yet.

Any other assertion about the entity overrides its stub, even one for an earlier instant.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.assets.asset import IdentitySpec, add_or_lock_each
from db.assets.entity import entity_uid_by_key
from db.assets.reference import UNRESOLVED, ResolvedAsset
from db.associations.relationship_fields import is_identifier
from db.connection import WriteConnection
from db.consistency.batch_conflicts import WriteResult, subject_change
from db.consistency.lifecycle import record_asset_changes
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, raise_first_error
from db.temporal.kinds import ENTITY

_SOURCED_TYPES = statement("associations/sourced_types")


class Stub(NamedTuple):
    """An entity that must exist from an instant on, and the index of the batch entry that refers to it. None is now."""

    type: str
    key: str
    at: datetime | None
    entry_index: int

    @property
    def resolved(self) -> ResolvedAsset:
        """The asset once the stub is created, or UNRESOLVED if the key does not allow one."""
        if not is_identifier(self.key):
            return UNRESOLVED
        return ResolvedAsset(0, entity_uid_by_key(self.type, self.key), ENTITY.name, self.type, alive=True, ever_alive=True)


async def sourced_types(connection: WriteConnection, codes: Collection[str]) -> dict[str, str]:
    """Return the labels of those entity types that have an external source, and lock these against changes."""
    return {row.code: row.label for row in await connection.fetch(_SOURCED_TYPES, {"codes": sorted(codes)})}


async def create_stubs(connection: WriteConnection, labels: Mapping[str, str], stubs: Sequence[Stub]) -> WriteResult:
    """Create the entities that do not exist, each from the first instant at which it is needed.

    Return the changes of the entities and the conflicts: relationships that are stored already may become effective with them.
    """
    since: dict[tuple[str, str], datetime | None] = {}
    for stub in stubs:
        since[stub.type, stub.key] = _earlier(since.get((stub.type, stub.key), stub.at), stub.at)
    if not since:
        return WriteResult({})
    specs = [IdentitySpec(None, type_, key, entity_uid_by_key(type_, key)) for type_, key in since]
    identities = dict(zip(since, raise_first_error(await add_or_lock_each(connection, ENTITY, specs)), strict=True))
    assertions = [
        Assertion(identities[type_, key].asset_id, Operation.STUB, _state(labels[type_], key), at)
        for (type_, key), at in since.items()
    ]
    recorded, conflicts = await record_asset_changes(connection, ENTITY, assertions)
    outcomes = dict(zip(since, raise_first_error(recorded), strict=True))
    changes = []
    for stub in stubs:
        first = subject_change(ENTITY, outcomes[stub.type, stub.key], stub.entry_index)
        if stub.at == since[stub.type, stub.key]:
            changes.append(first)
        else:
            # it would create the entity if the first one did not
            changes.append(first._replace(at=stub.at or connection.now, changed=False))
    return WriteResult({}, changes, conflicts)


def _state(label: str, key: str) -> dict[str, Any]:
    return {"display_name": f"{label} {key}", "details": {}, "keys": [key]}


def _earlier(first: datetime | None, second: datetime | None) -> datetime | None:
    """Return the earlier of two instants. None is now, which is later than any instant."""
    if first is None or second is None:
        return first or second
    return min(first, second)
