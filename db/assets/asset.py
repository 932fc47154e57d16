"""Identities of assets. An identity is given once and never changes; writers lock it to change its asset."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Uuid, select

from db.assets.reference import AssetRef, missing_asset_error, resolve
from db.connection import ReadConnection, WriteConnection
from db.consistency import lifecycle
from db.errors import Conflict, HeadwaterError, NotFound, TransactionConflict
from db.fields import storable
from db.filters import TENANT, any_of, distinct
from db.instants import just_before
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
_LOCK_STUB = statement("assets/lock_stub")
_LOCK_BY_REFERENCE = statement("assets/lock_by_reference")
_BY_UID = compose(select(assets).where(assets.c.tenant_id == TENANT, assets.c.uid == any_of("uids", Uuid)))


class Identity(NamedTuple):
    """Identity of an asset."""

    asset_id: int
    uid: UUID
    kind: str
    type: str | None


class IdentitySpec(NamedTuple):
    """Specification of the asset that a write is about, by uid; without one, a new asset. `specs_by_name` finds the uid of one
    that is named by its key.

    Where the spec finds no asset, a new one is added, unless `create_missing` is false.
    """

    uid: UUID | None = None
    type: str | None = None
    key: str | None = None
    # uid of a new asset that is not found by its key or name; a random one by default
    new_uid: UUID | None = None
    # false: an asset that does not exist is an error
    create_missing: bool = True


class Deletion(NamedTuple):
    """Deletion of the asset or association with a uid at an instant, by default now."""

    uid: UUID
    at: datetime | None = None


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
) -> Identity:
    """Lock the asset of a kind that a uid or reference means at an instant, until the transaction ends. Raise NotFound that names
    `field` if there is no such asset."""
    named = AssetRef(ref) if isinstance(ref, UUID) else ref
    if (uid := named.uid) is not None:
        return _require_identity(kind, (await _lock(connection, [uid])).get(uid), uid, field)
    parameters = {
        "product": storable(named.product),
        "type": storable(named.type),
        "key": storable(named.key),
        "instant": at,
        "now": connection.now_if_read,
    }
    first = await connection.fetch_one(_LOCK_BY_REFERENCE, parameters)
    # a writer who held the lock until now may have given the name to another asset
    locked = first and await connection.fetch_one(_LOCK_BY_REFERENCE, parameters)
    if first is None or locked is None:
        (missing,) = await resolve(connection, [named], [at])
        raise missing_asset_error(named, await connection.instant(at), missing.holder, field=field)
    if locked.id != first.id:
        raise TransactionConflict(f"Another writer has just given another asset what names the {named}. Try again.")
    return _identity(locked)


async def lock_stub(connection: WriteConnection, name: str, at: datetime | None) -> tuple[Identity | None, bool]:
    """Lock the product with a name if it is a stub. Return also whether a product has the name at that instant or later."""
    row = await connection.fetch_one(_LOCK_STUB, {"name": name, "instant": at})
    assert row is not None, "there is always one row"
    return None if row.id is None else _identity(row), row.is_taken


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
    return await record_patch(connection, kind, identity, payload, at, field=field)


async def record_patch(
    connection: WriteConnection, kind: Kind, identity: Identity, payload: Mapping[str, Any], at: datetime | None, *, field: str
) -> Outcome:
    """Record a PATCH of a locked asset. Raise NotFound that names `field` if the asset does not exist at that instant."""
    with _errors_of(field):
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

    Two writers that add one uid: the second waits for the first, and then gets its asset. Names of products and keys of
    entities are no part of an identity: the constraints `product_name_taken` and `entity_key_taken` decide about them when the
    versions are written.
    """
    uids = [spec.uid or uuid4() for spec in specs]
    given = [spec.uid for spec in specs if spec.uid is not None]
    found = await _lock(connection, given) if given else {}
    missing = [(uid, spec) for uid, spec in zip(uids, specs, strict=True) if spec.create_missing and uid not in found]
    if missing:
        added = await connection.fetch(
            _ADD,
            {
                "kind": kind.name,
                "uids": [uid for uid, _ in missing],
                "types": [spec.type for _, spec in missing],
            },
        )
        connection.added[kind] += len(added)
        # no other transaction sees these rows yet, so they need no lock
        found |= {row.uid: Identity(row.id, row.uid, kind.name, row.type) for row in added}
        # another writer was first to use these uids
        existing = [uid for uid, _ in missing if uid not in found]
        if existing:
            found |= await _lock(connection, existing)
    return [_check_identity(kind, spec, found.get(uid)) for uid, spec in zip(uids, specs, strict=True)]


async def delete(
    connection: WriteConnection, kind: Kind, ref: UUID | AssetRef, *, at: datetime | None = None, field: str = "uid"
) -> Outcome:
    """Delete an asset at an instant, and the assets to which its relationships cascade. Earlier versions stay readable.

    A name or key means the asset that has it until the instant, or else what it means at the instant.
    """
    if at is not None and isinstance(ref, AssetRef) and ref.uid is None:
        (until,) = await resolve(connection, [ref], [just_before(at)])
        ref = AssetRef(until.uid) if until.alive else ref
    identity = await lock(connection, kind, ref, at=at, field=field)
    with _errors_of(field):
        outcome = await lifecycle.delete(connection, kind, identity.asset_id, at)
    return outcome._replace(uid=identity.uid)


async def restore(
    connection: WriteConnection, kind: Kind, ref: UUID | AssetRef, *, at: datetime | None = None, field: str = "uid"
) -> Outcome:
    """Restore an asset at an instant, with the state of its last version before it."""
    identity = await lock(connection, kind, ref, at=at, field=field)
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
        if error.field == "uid" or (error.field is None and isinstance(error, NotFound)):
            error.field = field
        raise


def _identity(row: Row) -> Identity:
    return Identity(row.id, row.uid, row.kind, row.type)


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
    if identity is None:
        return NotFound(f"There is no {noun} with the uid {spec.uid}.", field="uid")
    if identity.kind != kind.name:
        belongs = f"The uid {spec.uid} belongs to an asset of another kind"
        return Conflict(f"{belongs} ({identity.kind.lower()}).", field="uid", blind=f"{belongs}.")
    if spec.type is not None and identity.type != spec.type:
        return Conflict(
            f"The {noun} {identity.uid} has the type {identity.type}, not {spec.type}. A type never changes.",
            field="type",
            blind=f"The {noun} has another type than {spec.type}. A type never changes.",
        )
    return identity


async def _lock(connection: WriteConnection, uids: Sequence[UUID]) -> dict[UUID, Identity]:
    """Lock the assets with these uids that exist."""
    return {row.uid: _identity(row) for row in await connection.fetch(_LOCK, {"uids": list(uids)})}
