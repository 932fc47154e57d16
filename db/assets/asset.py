"""The identity of what lives in the graph. It is given once and never changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Uuid, select

from db.connection import ReadConnection, WriteConnection
from db.consistency import lifecycle
from db.errors import Conflict, HeadwaterError, NotFound
from db.filters import any_of
from db.sql import statement
from db.tables import asset as assets
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.kind import Kind

_ADD = statement("assets/add_assets")
_LOCK = statement("assets/lock_assets")


class Identity(NamedTuple):
    """What a uid stands for: it never changes."""

    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    key: str | None


class IdentitySpec(NamedTuple):
    """Which asset is meant: by its uid, by its key within its type, or by both. By neither: a new one."""

    uid: UUID | None = None
    type: str | None = None
    key: str | None = None
    # what a new one is called that is not meant by a uid; any, if nothing is said
    new_uid: UUID | None = None
    # whether one is given its identity that has none yet
    create_missing: bool = True


class Deletion(NamedTuple):
    """That what bears a uid, an asset or a bond, ends at an instant; without one, now."""

    uid: UUID
    at: datetime | None = None


_Found = dict[UUID | tuple[str, str], Identity]


async def identities(connection: ReadConnection, uids: Sequence[UUID]) -> list[Identity | None]:
    """Which assets these uids name."""
    rows = await connection.fetch(
        select(assets).where(assets.c.tenant_id == connection.tenant_id, assets.c.uid == any_of(uids, Uuid))
    )
    found = {row.uid: Identity(row.id, row.uid, row.kind, row.type, row.key) for row in rows}
    return [found.get(uid) for uid in uids]


async def lock(connection: WriteConnection, kind: Kind, uid: UUID, *, field: str) -> int:
    """Find an asset of a kind by its uid and keep other writers off it until the transaction ends."""
    identity = (await _lock(connection, [IdentitySpec(uid)])).get(uid)
    if identity is None or identity.kind != kind.name:
        raise NotFound(f"There is no {kind.label} with the uid {uid}.", field=field)
    return identity.asset_id


async def add_or_lock(connection: WriteConnection, kind: Kind, ref: IdentitySpec) -> Identity:
    """Give an asset its identity, or lock the one it has."""
    (identity,) = await add_or_lock_each(connection, kind, [ref])
    if isinstance(identity, HeadwaterError):
        raise identity
    return identity


async def add_or_lock_each(
    connection: WriteConnection, kind: Kind, refs: Sequence[IdentitySpec]
) -> list[Identity | HeadwaterError]:
    """Give each asset its identity, or lock the one it has. One that is borne by something else is refused by itself."""
    found = await _lock(connection, refs)
    unknown = [ref for ref in refs if ref.create_missing and _found(found, ref) is None]
    proposed = [ref.uid or ref.new_uid or uuid4() for ref in unknown]
    if unknown:
        added = await connection.fetch(
            _ADD,
            {"kind": kind.name, "uids": proposed, "types": [it.type for it in unknown], "keys": [it.key for it in unknown]},
        )
        connection.added[kind] += len(added)
        # what is new is locked by being new
        _index(found, [Identity(row.id, row.uid, kind.name, row.type, row.key) for row in added])
        overtaken = [ref for ref, uid in zip(unknown, proposed, strict=True) if uid not in found]
        if overtaken:
            found |= await _lock(connection, overtaken)
    nameless = (found[uid] for ref, uid in zip(unknown, proposed, strict=True) if ref.uid is None and ref.key is None)
    return [
        _check_identity(kind, ref, next(nameless) if ref.uid is None and ref.key is None else _found(found, ref)) for ref in refs
    ]


async def delete(connection: WriteConnection, kind: Kind, uid: UUID, *, at: datetime | None = None) -> Outcome:
    """End an asset's life, and what joins take along with it. What was before stays readable."""
    return await lifecycle.delete(connection, kind, await lock(connection, kind, uid, field="uid"), at)


async def restore(connection: WriteConnection, kind: Kind, uid: UUID, *, at: datetime | None = None) -> Outcome:
    """Give an asset back the state it had last."""
    asset_id = await lock(connection, kind, uid, field="uid")
    last = await connection.fetch_one(kind.statement("assets/last_state"), {"subject": asset_id, "instant": at})
    if last is None:
        raise NotFound(
            f"The {kind.label} {uid} was never there before that instant, so it cannot return to what it was.", field="at"
        )
    (outcome,) = await lifecycle.record_asset_change(connection, kind, [Assertion(asset_id, Operation.SET, last.state, at)])
    return outcome


def _check_identity(kind: Kind, ref: IdentitySpec, identity: Identity | None) -> Identity | HeadwaterError:
    """The identity, if it is what the reference says of it."""
    if identity is None and not ref.create_missing:
        return NotFound(f"There is no {kind.label} with the uid {ref.uid}.", field="uid")
    if identity is None:
        return Conflict(f"The key {ref.key!r} was given to another {kind.label} meanwhile. Try again.", field="key")
    if identity.kind != kind.name:
        return Conflict(f"The uid {ref.uid} belongs to another kind of asset ({identity.kind.lower()}).", field="uid")
    if ref.type is not None and identity.type != ref.type:
        return Conflict(f"The {kind.label} {identity.uid} is a {identity.type}. A type never changes.", field="type")
    if ref.uid is not None and identity.uid != ref.uid:
        return Conflict(f"The key {ref.key!r} belongs to another {ref.type}, {identity.uid}.", field="key")
    if ref.key is not None and identity.key != ref.key:
        has = f"has the key {identity.key!r}" if identity.key is not None else "was created without a key"
        return Conflict(f"The {kind.label} {identity.uid} {has}. A key never changes.", field="key")
    return identity


async def _lock(connection: WriteConnection, refs: Sequence[IdentitySpec]) -> _Found:
    by_key = [ref for ref in refs if ref.key is not None]
    rows = await connection.fetch(
        _LOCK,
        {
            "uids": [ref.uid for ref in refs if ref.uid is not None],
            "types": [ref.type for ref in by_key],
            "keys": [ref.key for ref in by_key],
        },
    )
    found: _Found = {}
    _index(found, [Identity(row.id, row.uid, row.kind, row.type, row.key) for row in rows])
    return found


def _index(found: _Found, identities: Sequence[Identity]) -> None:
    for identity in identities:
        found[identity.uid] = identity
        if identity.type is not None and identity.key is not None:
            found[identity.type, identity.key] = identity


def _found(found: _Found, ref: IdentitySpec) -> Identity | None:
    """What bears the uid; else what bears the key."""
    by_uid = found.get(ref.uid) if ref.uid is not None else None
    if by_uid is None and ref.type is not None and ref.key is not None:
        return found.get((ref.type, ref.key))
    return by_uid
