"""Changes of assets and their effects: on lifetimes, on the associations that are clipped to these, and on related assets."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from db.connection import WriteConnection
from db.consistency.batch_conflicts import BatchConflict
from db.consistency.cardinality import check_cardinality, defer_cardinality
from db.errors import HeadwaterError, ResolvableConflict
from db.instants import write_instant
from db.rows import Row
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, Outcome, append_changes, outcomes_of, raise_first_error, rebuild_since
from db.temporal.kind import AssociationKind, Kind
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS, RELATIONSHIP

_ON_DELETE_TARGETS = statement("consistency/on_delete_targets")
_LOCK = statement("consistency/lock_assets_by_id")


class AssetChanges(NamedTuple):
    """Outcomes of assertions about assets in their order, and the cardinality conflicts that they cause."""

    outcomes: list[Outcome | HeadwaterError]
    conflicts: list[BatchConflict]


async def record_asset_change(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, with_states: bool = False
) -> list[Outcome]:
    """Record assertions about assets (one or several) with their effects, and raise the first conflict or error.

    The caller has locked the assets. With `with_states`, outcomes have the versions that they began.
    """
    outcomes, conflicts = await record_asset_changes(connection, kind, assertions, with_states=with_states)
    if conflicts:
        raise conflicts[0].error
    return raise_first_error(outcomes)


async def record_asset_changes(
    connection: WriteConnection,
    kind: Kind,
    assertions: Sequence[Assertion],
    *,
    reject_restatement: bool = False,
    with_states: bool = False,
) -> AssetChanges:
    """Record assertions about assets with their effects, and return their outcomes, errors and conflicts instead of raising them.

    Each assertion is accepted or rejected independently of the others. The caller has locked the assets, and rolls back if there
    are conflicts.
    """
    rows = await append_changes(connection, kind, assertions, reject_restatement=reject_restatement, with_states=with_states)
    clipping_changes = _clipping_changes(await _rebuild_lifetimes(connection, kind, rows))
    conflicts: list[BatchConflict] = []
    if clipping_changes:
        extends_lifetimes = any(
            row.changes_lifetime and assertion.operation is not Operation.DELETE
            for row, assertion in zip(rows, assertions, strict=True)
        )
        associations = await _lock_associations(connection, clipping_changes)
        conflicts = await _clip(connection, clipping_changes, associations, extends_lifetimes=extends_lifetimes)
    return AssetChanges(outcomes_of(kind, rows), conflicts)


async def delete(connection: WriteConnection, kind: Kind, asset_id: int, at: datetime | None) -> Outcome:
    """Delete a locked asset, and level by level the assets that relationships with onDelete CASCADE delete with it.

    Raise ResolvableConflict if a relationship with onDelete RESTRICT protects one of them.
    """
    outcomes, targets = await _delete_level(connection, kind, [(asset_id, at)])
    while targets:
        await lock_by_id(connection, {row.other_id for row in targets})
        level, targets = targets, []
        for target_kind in ASSET_KINDS:
            deletions = list(dict.fromkeys((row.other_id, row.instant) for row in level if row.other_kind == target_kind.name))
            if deletions:
                _, further_targets = await _delete_level(connection, target_kind, deletions)
                targets += further_targets
    (outcome,) = raise_first_error(outcomes)
    return outcome


async def lock_by_id(connection: WriteConnection, asset_ids: Collection[int]) -> None:
    """Lock assets against other writers until the transaction ends."""
    await connection.fetch(_LOCK, {"assets": sorted(asset_ids)})


async def _delete_level(
    connection: WriteConnection, kind: Kind, deletions: Sequence[tuple[int, datetime | None]]
) -> tuple[list[Outcome | HeadwaterError], list[Row]]:
    """Delete assets, each at its instant. Return the outcomes, and the assets that are to be deleted with these."""
    rows = await append_changes(connection, kind, [Assertion(asset_id, Operation.DELETE, None, at) for asset_id, at in deletions])
    clipping_changes = _clipping_changes(await _rebuild_lifetimes(connection, kind, rows))
    targets: list[Row] = []
    if clipping_changes:
        associations = await _lock_associations(connection, clipping_changes)
        if associations[RELATIONSHIP]:
            targets = await _on_delete_targets(connection, clipping_changes)
            if (error := _restriction_error(targets)) is not None:
                raise error
        await _clip(connection, clipping_changes, associations, extends_lifetimes=False)
    return outcomes_of(kind, rows), targets


async def _rebuild_lifetimes(connection: WriteConnection, kind: Kind, rows: Sequence[Row]) -> list[Row]:
    """Rebuild the lifetimes that begin or end with some changes, and return these changes."""
    lifetime_changes = [row for row in rows if row.changes_lifetime]
    await rebuild_since(connection, kind, "consistency/project_lifetimes", lifetime_changes)
    return lifetime_changes


def _clipping_changes(lifetime_changes: Sequence[Row]) -> list[Row]:
    """Return those changes of lifetimes to which associations have to be clipped: a new subject cannot have an association."""
    return [row for row in lifetime_changes if not row.is_new_subject]


async def _lock_associations(connection: WriteConnection, clipping_changes: Sequence[Row]) -> dict[AssociationKind, list[int]]:
    """Lock the associations of assets against other writers that would clip them, and return their ids."""
    subjects = sorted({row.subject_id for row in clipping_changes})
    rows_by_kind = {
        kind: await connection.fetch(kind.statement("consistency/lock_associations_of_assets"), {"subjects": subjects})
        for kind in ASSOCIATION_KINDS
    }
    return {kind: [row.id for row in rows] for kind, rows in rows_by_kind.items()}


async def _clip(
    connection: WriteConnection,
    clipping_changes: Sequence[Row],
    associations: Mapping[AssociationKind, list[int]],
    *,
    extends_lifetimes: bool,
) -> list[BatchConflict]:
    """Clip associations to the changed lifetimes of their ends. Return the cardinality conflicts that follow.

    There can be none if all changes shorten lifetimes.
    """
    conflicts: list[BatchConflict] = []
    for kind, ids in associations.items():
        if ids:
            check = extends_lifetimes and kind is RELATIONSHIP
            if check:
                await defer_cardinality(connection)
            await rebuild_since(connection, kind, "consistency/clip_associations", clipping_changes)
            if check:
                conflicts += await check_cardinality(connection, ids, field="uid")
    return conflicts


async def _on_delete_targets(connection: WriteConnection, deletions: Sequence[Row]) -> list[Row]:
    """Find the relationships by which deletions are restricted, or cascade to other assets."""
    parameters = {"subjects": [row.subject_id for row in deletions], "instants": [row.instant for row in deletions]}
    return list(await connection.fetch(_ON_DELETE_TARGETS, parameters))


def _restriction_error(targets: Sequence[Row]) -> ResolvableConflict | None:
    restriction = next((row for row in targets if row.on_delete == "RESTRICT"), None)
    if restriction is None:
        return None
    return ResolvableConflict(
        f"{restriction.type} restricts deletion: from {write_instant(restriction.since)} on, {restriction.label} is related to"
        f" {restriction.other} (relationship {restriction.uid}). End that relationship first.",
        field="uid",
        blind="A relationship restricts this deletion. End that relationship first.",
    )
