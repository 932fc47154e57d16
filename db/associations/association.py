"""Writes that lineage links and relationships share: resolve and lock the ends, check them, and assert states."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db.assets.asset import Deletion
from db.assets.reference import AssetRef, ResolvedAsset, missing_asset_error, resolve
from db.connection import ReadConnection, WriteConnection
from db.consistency.batch_conflicts import Results, WriteResult, subject_change
from db.consistency.lifecycle import lock_by_id
from db.errors import HeadwaterError, NotFound, TransactionConflict
from db.instants import write_instant
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, Outcome, record_changes
from db.temporal.kind import AssociationKind

_LOCK_SHARED = statement("associations/lock_assets_shared")

# The identity of an association: the ids of both ends, and the further parts of its kind.
Key: TypeAlias = tuple[Any, ...]


class EndRefs(NamedTuple):
    """References to both ends of an association, and the instant at which they are resolved; None is now."""

    near: AssetRef
    far: AssetRef
    at: datetime | None


class Ends(NamedTuple):
    """The resolved ends of an association."""

    near: ResolvedAsset
    far: ResolvedAsset


class ResolvedState(NamedTuple):
    """The whole state of an association from an instant on, and its identity. Without an instant it holds from now on."""

    key: Key
    uid: UUID
    payload: Mapping[str, Any]
    at: datetime | None


async def resolve_ends(connection: ReadConnection, refs: Mapping[int, EndRefs]) -> dict[int, Ends]:
    """Resolve the ends of associations, by the same indexes as their references."""
    await connection.ensure_now()
    near, far = [it.near for it in refs.values()], [it.far for it in refs.values()]
    resolved = await resolve(connection, near + far, [it.at for it in refs.values()] * 2)
    return dict(zip(refs, map(Ends, resolved[: len(refs)], resolved[len(refs) :]), strict=True))


async def resolve_and_lock(
    connection: WriteConnection, refs: Mapping[int, EndRefs], *, allow_pending_ends: bool, exclusive: Collection[int] = ()
) -> dict[int, Ends]:
    """Resolve the ends of associations and lock them against changes until the transaction ends.

    Several writers may hold the lock of an end at once, but not if the index of its association is in `exclusive`.
    """
    if not refs:
        return {}
    ends = await resolve_ends(connection, refs)
    exclusive_ids = _asset_ids(ends[index] for index in exclusive)
    shared_ids = _asset_ids(ends.values()) - exclusive_ids
    if exclusive_ids:
        await lock_by_id(connection, exclusive_ids)
    if shared_ids:
        await connection.fetch(_LOCK_SHARED, {"assets": sorted(shared_ids)})
    if allow_pending_ends and all(it.near.uid is not None and it.far.uid is not None for it in refs.values()):
        # uids never pass to another asset, and an association cannot be added to an asset that was purged meanwhile
        return ends
    # until the locks were granted, another writer may have renamed, deleted or purged an asset, or changed its keys
    locked_ends = await resolve_ends(connection, refs)
    if any(
        before.asset_id != after.asset_id
        for index, locked in locked_ends.items()
        for before, after in zip(ends[index], locked, strict=True)
    ):
        raise TransactionConflict("An end was purged meanwhile, or its name or key given to another asset. Try again.")
    return locked_ends


def missing_end_error(
    kind: AssociationKind, refs: EndRefs, ends: Ends, now: datetime, *, allow_pending_ends: bool
) -> NotFound | None:
    """Return the error if an end does not exist at the instant. A pending end may begin to exist later; it has an identity."""
    instant = refs.at or now
    for column, ref, asset in ((kind.ends[0], refs.near, ends.near), (kind.ends[1], refs.far, ends.far)):
        field = column.removesuffix("_id")
        is_creatable = ref.uid is None and asset.is_creatable and not allow_pending_ends
        remedy = " With createMissing: true it becomes a stub." if is_creatable else ""
        if not asset.is_found:
            return missing_asset_error(ref, instant, asset.holder, field=field, remedy=remedy)
        if not asset.alive and not allow_pending_ends:
            return NotFound(
                f"The {ref} does not exist at {write_instant(instant)}. A {kind.label} needs both of its ends.{remedy}",
                field=field,
            )
    return None


async def write(
    connection: WriteConnection,
    kind: AssociationKind,
    states: Mapping[int, ResolvedState | HeadwaterError],
    deletions: Mapping[int, Deletion],
    *,
    reject_restatement: bool,
) -> WriteResult:
    """Assert states of associations whose ends are locked, and deletions, each accepted or rejected independently.

    An error among the states is its own outcome. The result names the associations that are stated.
    """
    resolved = {index: it for index, it in states.items() if isinstance(it, ResolvedState)}
    outcomes: Results = {index: it for index, it in states.items() if isinstance(it, HeadwaterError)}
    uids = {it.key: it.uid for it in resolved.values()}
    ids = await _add_or_lock(connection, kind, uids)
    assertions = {index: Assertion(ids[it.key], Operation.SET, it.payload, it.at) for index, it in resolved.items()}
    locked = {uids[key]: association_id for key, association_id in ids.items()}
    ids_by_uid = await _lock_by_uid(connection, kind, {it.uid for it in deletions.values()}, locked)
    for index, deletion in deletions.items():
        if deletion.uid in ids_by_uid:
            assertions[index] = Assertion(ids_by_uid[deletion.uid], Operation.DELETE, None, deletion.at)
        else:
            outcomes[index] = _unknown_uid_error(kind, deletion.uid)
    if assertions:
        recorded = await record_changes(connection, kind, list(assertions.values()), reject_restatement=reject_restatement)
        outcomes |= zip(assertions, recorded, strict=True)
    changes = [subject_change(kind, it, index) for index, it in outcomes.items() if index in resolved and isinstance(it, Outcome)]
    return WriteResult(outcomes, changes)


async def lock_one(connection: WriteConnection, kind: AssociationKind, uid: UUID) -> int | NotFound:
    """Lock the association with a uid and return its id. A deletion of one of its ends locks it, too, before it clips it."""
    ids = await _lock_by_uid(connection, kind, {uid}, {})
    return ids[uid] if uid in ids else _unknown_uid_error(kind, uid)


async def record_one(connection: WriteConnection, kind: AssociationKind, assertion: Assertion, *, field: str) -> Outcome:
    """Record an assertion about a locked association. An error that names no field is one of the input `field`."""
    (outcome,) = await record_changes(connection, kind, [assertion])
    if isinstance(outcome, HeadwaterError):
        outcome.field = outcome.field or field
        raise outcome
    return outcome


def without_end_error(kind: AssociationKind, at: datetime, *, field: str) -> NotFound:
    """Build the error of a state that an association cannot have, because one of its ends does not exist then."""
    return NotFound(
        f"An end of the {kind.label} does not exist at {write_instant(at)}. A {kind.label} needs both of its ends.", field=field
    )


async def _add_or_lock(connection: WriteConnection, kind: AssociationKind, uids: Mapping[Key, UUID]) -> dict[Key, int]:
    """Add the identities that do not exist yet and lock the others. Return the ids of all."""
    if not uids:
        return {}
    ids = await _lock(connection, kind, list(uids))
    missing = [key for key in uids if key not in ids]
    if missing:
        parameters = {"uids": [uids[key] for key in missing], **_columns(kind, missing)}
        rows = await connection.fetch(kind.statement("associations/add_associations"), parameters)
        connection.added[kind] += len(rows)
        # no other transaction sees a new row, so it needs no lock
        ids |= _ids_by_key(kind, rows)
        added_by_others = [key for key in missing if key not in ids]
        if added_by_others:
            ids |= await _lock(connection, kind, added_by_others)
    return ids


async def _lock(connection: WriteConnection, kind: AssociationKind, keys: Sequence[Key]) -> dict[Key, int]:
    return _ids_by_key(kind, await connection.fetch(kind.statement("associations/lock_associations"), _columns(kind, keys)))


async def _lock_by_uid(
    connection: WriteConnection, kind: AssociationKind, uids: Set[UUID], locked: Mapping[UUID, int]
) -> dict[UUID, int]:
    """Lock the associations with these uids that are not locked already. Return the ids of all that exist."""
    others = uids - locked.keys()
    if not others:
        return dict(locked)
    rows = await connection.fetch(kind.statement("associations/lock_associations_by_uid"), {"uids": list(others)})
    return {**locked, **{row.uid: row.id for row in rows}}


def _unknown_uid_error(kind: AssociationKind, uid: UUID) -> NotFound:
    return NotFound(f"There is no {kind.label} with the uid {uid}.", field="uid")


def _asset_ids(ends: Iterable[Ends]) -> set[int]:
    return {asset.asset_id for pair in ends for asset in pair if asset.is_found}


def _columns(kind: AssociationKind, keys: Sequence[Key]) -> dict[str, list[Any]]:
    """Build the array parameters of identities, one for each part."""
    names = ("near", "far", *kind.parts)
    return {name: [key[part] for key in keys] for part, name in enumerate(names)}


def _ids_by_key(kind: AssociationKind, rows: Sequence[Any]) -> dict[Key, int]:
    key_of = attrgetter(*kind.ends, *kind.parts)
    return {key_of(row): row.id for row in rows}
