"""Identities of assets. An identity is given once and never changes; writers lock it to change its asset."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Uuid, select

from db.assets.reference import AssetRef, missing_asset_error
from db.connection import ReadConnection, WriteConnection
from db.consistency import lifecycle
from db.errors import Conflict, HeadwaterError, NotFound, TransactionConflict
from db.fields import storable
from db.filters import TENANT, any_of, distinct
from db.rows import BuiltRow, Row
from db.sql import compose, statement
from db.tables import asset as assets
from db.temporal.change_log import (
    Assertion,
    CurrentVersion,
    Operation,
    Outcome,
    append_in_order,
    current_version,
    raise_first_error,
)
from db.temporal.kind import Kind

_ADD = statement("assets/add_assets")
_LOCK = statement("assets/lock_assets")
_LOCK_BY_UID = statement("assets/lock_assets_by_uid")
_LOCK_BY_REFERENCE = statement("assets/lock_by_reference")
_BY_UID = compose(select(assets).where(assets.c.tenant_id == TENANT, assets.c.uid == any_of("uids", Uuid)))


class Identity(NamedTuple):
    """Identity of an asset."""

    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    key: str | None


class IdentitySpec(NamedTuple):
    """Specification of the asset that a write is about: by uid, by key within its type, or by both. Without either, a new asset.

    Where the spec finds no asset, a new one is added, unless `create_missing` is false.
    """

    uid: UUID | None = None
    type: str | None = None
    key: str | None = None
    # uid of a new asset if `uid` is None; a random one by default
    new_uid: UUID | None = None
    # false: an asset that does not exist is an error
    create_missing: bool = True

    @property
    def is_anonymous(self) -> bool:
        """True if the spec can only mean a new asset."""
        return self.uid is None and self.key is None


class Deletion(NamedTuple):
    """Deletion of the asset or association with a uid at an instant, by default now."""

    uid: UUID
    at: datetime | None = None


class _IdentityIndex:
    """Identities by uid, and by type and key."""

    def __init__(self) -> None:
        self.by_uid: dict[UUID, Identity] = {}
        self._by_key: dict[tuple[str, str], Identity] = {}

    def add(self, identities: Iterable[Identity]) -> None:
        for identity in identities:
            self.by_uid[identity.uid] = identity
            if identity.type is not None and identity.key is not None:
                self._by_key[identity.type, identity.key] = identity

    def find(self, spec: IdentitySpec) -> Identity | None:
        """Find the identity with the uid of a spec, else the one with its key."""
        identity = self.by_uid.get(spec.uid) if spec.uid is not None else None
        if identity is None and spec.type is not None and spec.key is not None:
            return self._by_key.get((spec.type, spec.key))
        return identity


async def identities(connection: ReadConnection, uids: Sequence[UUID]) -> list[Identity | None]:
    """Find identities by uid, in the order of the uids. An unknown uid has None."""
    rows = await connection.fetch(_BY_UID, {"uids": distinct(uids)})
    found = {row.uid: _identity(row) for row in rows}
    return [found.get(uid) for uid in uids]


async def lock(
    connection: WriteConnection,
    kind: Kind,
    ref: UUID | AssetRef,
    *,
    at: datetime | None = None,
    field: str,
    or_deleted: bool = False,
) -> Identity:
    """Lock the asset of a kind that a uid or reference names at an instant, until the transaction ends.

    With `or_deleted`, a name that no product has means the product that was deleted with it. Raise NotFound that names `field` if
    there is no such asset.
    """
    named = AssetRef(ref) if isinstance(ref, UUID) else ref
    if (uid := named.uid) is not None:
        return _require_identity(kind, (await _lock(connection, [IdentitySpec(uid)])).by_uid.get(uid), uid, field)
    parameters = {
        "product": storable(named.product),
        "type": storable(named.type),
        "key": storable(named.key),
        "instant": at,
        "now": connection.now_if_read,
        "or_deleted": or_deleted,
    }
    first = await connection.fetch_one(_LOCK_BY_REFERENCE, parameters)
    # a writer who held the lock until now may have given the name to another asset
    locked = first and await connection.fetch_one(_LOCK_BY_REFERENCE, parameters)
    if first is None or locked is None:
        raise missing_asset_error(named, await connection.instant(at), field=field)
    if locked.id != first.id:
        raise TransactionConflict(f"Another writer has just given another asset what names the {named}. Try again.")
    return _identity(locked)


async def lock_stub(connection: WriteConnection, kind: Kind, uid: UUID) -> Identity | None:
    """Lock the asset with a uid if it is a stub."""
    row = await connection.fetch_one(kind.statement("assets/lock_stub"), {"uid": uid})
    return None if row is None else _identity(row)


async def record(connection: WriteConnection, kind: Kind, identity: Identity, assertion: Assertion) -> Outcome:
    """Record an assertion about a locked asset. The outcome has the row of the asset if it need not be read."""
    (outcome,) = await lifecycle.record_asset_change(connection, kind, [assertion], with_states=True)
    if outcome.version is None:
        return outcome
    return outcome._replace(row=_current_row(identity, outcome.at, outcome.at, outcome.version))


async def patch(
    connection: WriteConnection, kind: Kind, uid: UUID, payload: Mapping[str, Any], at: datetime | None, *, field: str
) -> Outcome:
    """Lock an asset and record a PATCH of it. Raise NotFound that names `field` if no asset has the uid."""
    if connection.author.domains is not None or kind.projections:
        # there is more to do before or after the change is appended
        identity = await lock(connection, kind, uid, field=field)
    else:
        row = await append_in_order(connection, kind, uid, payload, at)
        identity = _require_identity(kind, None if row is None else _identity(row), uid, field)
        if (outcome := _outcome_in_order(kind, row)) is not None:
            return outcome
    return await record(connection, kind, identity, Assertion(identity.asset_id, Operation.PATCH, payload, at))


async def patch_at_once(connection: WriteConnection, kind: Kind, uid: UUID, payload: Mapping[str, Any]) -> Outcome | None:
    """Record a PATCH of an asset as of now with one statement. Return None if that takes more or is an error: nothing was
    written."""
    if connection.author.domains is not None or kind.projections:
        return None
    return _outcome_in_order(kind, await append_in_order(connection, kind, uid, payload, None))


async def add_or_lock(connection: WriteConnection, kind: Kind, spec: IdentitySpec) -> Identity:
    """Lock the asset of a spec until the transaction ends, or add it. Raise Conflict or NotFound if it contradicts the spec."""
    (identity,) = raise_first_error(await add_or_lock_each(connection, kind, [spec]))
    return identity


async def add_or_lock_each(
    connection: WriteConnection, kind: Kind, specs: Sequence[IdentitySpec]
) -> list[Identity | HeadwaterError]:
    """Lock the asset of each spec until the transaction ends, or add it. Return identities, and errors for specs that differ.

    Two writers that add one uid or key: the second waits for the first, and then gets its asset. Names of products are no part of
    an identity: the constraint `product_name_taken` decides about them when the versions are written.
    """
    index = await _lock(connection, specs)
    missing = [spec for spec in specs if spec.create_missing and index.find(spec) is None]
    new_uids = [spec.uid or spec.new_uid or uuid4() for spec in missing]
    if missing:
        added = await connection.fetch(
            _ADD,
            {
                "kind": kind.name,
                "uids": new_uids,
                "types": [spec.type for spec in missing],
                "keys": [spec.key for spec in missing],
            },
        )
        connection.added[kind] += len(added)
        # no other transaction sees these rows yet, so they need no lock
        index.add(Identity(row.id, row.uid, kind.name, row.type, row.key) for row in added)
        # another writer, or another spec, was first to use these uids and keys
        existing = [spec for spec, uid in zip(missing, new_uids, strict=True) if uid not in index.by_uid]
        if existing:
            index.add((await _lock(connection, existing)).by_uid.values())
    anonymous = (index.by_uid[uid] for spec, uid in zip(missing, new_uids, strict=True) if spec.is_anonymous)
    return [_check_identity(kind, spec, next(anonymous) if spec.is_anonymous else index.find(spec)) for spec in specs]


async def delete(
    connection: WriteConnection, kind: Kind, ref: UUID | AssetRef, *, at: datetime | None = None, field: str = "uid"
) -> Outcome:
    """Delete an asset at an instant, and the assets to which its relationships cascade. Earlier versions stay readable."""
    identity = await lock(connection, kind, ref, at=at, field=field, or_deleted=True)
    with _errors_of(field):
        outcome = await lifecycle.delete(connection, kind, identity.asset_id, at)
    return outcome._replace(uid=identity.uid)


async def restore(
    connection: WriteConnection, kind: Kind, ref: UUID | AssetRef, *, at: datetime | None = None, field: str = "uid"
) -> Outcome:
    """Restore an asset at an instant, with the state of its last version before it."""
    identity = await lock(connection, kind, ref, at=at, field=field, or_deleted=True)
    last = await connection.fetch_one(kind.statement("temporal/last_state"), {"subject": identity.asset_id, "instant": at})
    if last is None:
        raise NotFound(
            f"The {kind.label} {identity.uid} has no state to restore: it does not exist before that instant. Give a later at.",
            field="at",
        )
    with _errors_of(field):
        return await record(connection, kind, identity, Assertion(identity.asset_id, Operation.SET, last.state, at))


@contextmanager
def _errors_of(field: str) -> Iterator[None]:
    """Name the field of the reference to an asset in errors about this asset."""
    try:
        yield
    except HeadwaterError as error:
        if error.field == "uid":
            error.field = field
        raise


def _identity(row: Row) -> Identity:
    return Identity(row.id, row.uid, row.kind, row.type, row.key)


def _require_identity(kind: Kind, identity: Identity | None, uid: UUID, field: str) -> Identity:
    """Return the identity that was found with a uid. Raise NotFound that names `field` if there is none of the kind."""
    if identity is None or identity.kind != kind.name:
        missing = f"There is no {kind.label} with the uid {uid}."
        of_another = "" if identity is None else f" It is the uid of an asset of another kind ({identity.kind.lower()})."
        raise NotFound(missing + of_another, field=field, blind=missing)
    return identity


def _outcome_in_order(kind: Kind, row: Row | None) -> Outcome | None:
    """Return the outcome of a change that append_in_order.sql has appended; None: it has not."""
    version = None if row is None else current_version(kind, row)
    if row is None or version is None:
        return None
    current = _current_row(_identity(row), row.instant, row.valid_from, version)
    return Outcome(row.id, row.instant, row.changed, row=current)


def _current_row(identity: Identity, at: datetime, valid_from: datetime, version: CurrentVersion) -> BuiltRow:
    """Build the row of an asset at an instant, from its current version."""
    return BuiltRow(
        kind=identity.kind,
        asset_id=identity.asset_id,
        uid=identity.uid,
        type=identity.type,
        as_of=at,
        valid_from=valid_from,
        valid_to=None,
        created_at=version.created_at,
        **version.state,
    )


def _check_identity(kind: Kind, spec: IdentitySpec, identity: Identity | None) -> Identity | HeadwaterError:
    """Return the identity if it agrees with the spec, else the error."""
    noun = kind.label
    if identity is None and not spec.create_missing:
        return NotFound(f"There is no {noun} with the uid {spec.uid}.", field="uid")
    if identity is None:
        return Conflict(f"Another writer has just given the key {spec.key!r} to another {noun}. Try again.", field="key")
    if identity.kind != kind.name:
        belongs = f"The uid {spec.uid} belongs to an asset of another kind"
        return Conflict(f"{belongs} ({identity.kind.lower()}).", field="uid", blind=f"{belongs}.")
    if spec.type is not None and identity.type != spec.type:
        return Conflict(
            f"The {noun} {identity.uid} has the type {identity.type}, not {spec.type}. A type never changes.",
            field="type",
            blind=f"The {noun} has another type than {spec.type}. A type never changes.",
        )
    if spec.uid is not None and identity.uid != spec.uid:
        belongs = f"The key {spec.key!r} belongs to another {spec.type}"
        return Conflict(f"{belongs}, with the uid {identity.uid}.", field="key", blind=f"{belongs}.")
    if spec.key is not None and identity.key != spec.key:
        has = f"has the key {identity.key!r}" if identity.key is not None else "was created without a key"
        blind = f"The {noun} does not have the key {spec.key!r}. A key never changes."
        return Conflict(f"The {noun} {identity.uid} {has}. A key never changes.", field="key", blind=blind)
    return identity


async def _lock(connection: WriteConnection, specs: Sequence[IdentitySpec]) -> _IdentityIndex:
    """Lock the assets of specs that exist, and index them."""
    if all(spec.is_anonymous for spec in specs):
        return _IdentityIndex()
    parameters: dict[str, Any] = {"uids": [spec.uid for spec in specs if spec.uid is not None]}
    with_key = [spec for spec in specs if spec.key is not None]
    if with_key:
        parameters |= {"types": [spec.type for spec in with_key], "keys": [spec.key for spec in with_key]}
    rows = await connection.fetch(_LOCK if with_key else _LOCK_BY_UID, parameters)
    index = _IdentityIndex()
    index.add(map(_identity, rows))
    return index
