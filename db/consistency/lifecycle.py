"""What is said of assets, and what follows of it: when they live, which bonds hold between them, and what ends with them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from db.connection import WriteConnection
from db.consistency.cardinality import deferred_cardinality_check
from db.errors import HeadwaterError, ResolvableConflict
from db.instants import write_instant
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, Outcome, append_changes, outcomes_of, raise_first_error, rebuild_since
from db.temporal.kind import AssociationKind, Kind
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS, RELATIONSHIP

_ON_DELETE_TARGETS = statement("consistency/on_delete_targets")
_LOCK = statement("consistency/lock_assets_by_id")


async def record_asset_change(connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion]) -> list[Outcome]:
    """Write assertions about assets, and what follows of them; the first that is refused is raised. The caller holds the assets'
    locks."""
    return raise_first_error(await record_asset_changes(connection, kind, assertions))


async def record_asset_changes(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, reject_restatement: bool = False
) -> list[Outcome | HeadwaterError]:
    """The same, where each is accepted or refused by itself. Joins that cannot be together are raised, as a quarrel."""
    rows = await append_changes(connection, kind, assertions, reject_restatement=reject_restatement)
    turned = await _apply_lifetimes(connection, kind, rows)
    if turned:
        begins = any(
            row.changes_lifetime and it.operation is not Operation.DELETE for row, it in zip(rows, assertions, strict=True)
        )
        await _clip(connection, turned, await _lock_associations(connection, turned), begins=begins)
    return outcomes_of(kind, rows)


async def delete(connection: WriteConnection, kind: Kind, asset_id: int, at: datetime | None) -> Outcome:
    """End an asset that is locked, and with it what joins that cascade take along, level by level. A join that restricts holds
    them all."""
    first, falling = await _delete_level(connection, kind, [(asset_id, at)])
    while falling:
        await lock_by_id(connection, {row.other_id for row in falling})
        level, falling = falling, []
        for kind_ in ASSET_KINDS:
            ending = list(dict.fromkeys((row.other_id, row.instant) for row in level if row.other_kind == kind_.name))
            if ending:
                _, further = await _delete_level(connection, kind_, ending)
                falling += further
    (outcome,) = raise_first_error(first)
    return outcome


async def lock_by_id(connection: WriteConnection, asset_ids: Collection[int]) -> None:
    """Keep other writers off some assets until the transaction ends."""
    await connection.fetch(_LOCK, {"assets": sorted(asset_ids)})


async def _delete_level(
    connection: WriteConnection, kind: Kind, ending: Sequence[tuple[int, datetime | None]]
) -> tuple[list[Outcome | HeadwaterError], list[Row[Any]]]:
    """End assets: what became of it, and what falls with them."""
    rows = await append_changes(connection, kind, [Assertion(asset_id, Operation.DELETE, None, at) for asset_id, at in ending])
    turned = await _apply_lifetimes(connection, kind, rows)
    falling: list[Row[Any]] = []
    if turned:
        bound = await _lock_associations(connection, turned)
        if bound[RELATIONSHIP]:
            falling = await _on_delete_targets(connection, turned)
        await _clip(connection, turned, bound, begins=False)
    return outcomes_of(kind, rows), falling


async def _apply_lifetimes(connection: WriteConnection, kind: Kind, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Bring lives up to what was heard. Which of it began or ended the life of something that others may hang on?"""
    turned = [row for row in rows if row.changes_lifetime]
    await rebuild_since(connection, kind, "consistency/project_lifetimes", turned)
    # nothing hangs on what nobody had heard of
    return [row for row in turned if not row.is_new_subject]


async def _lock_associations(connection: WriteConnection, turned: Sequence[Row[Any]]) -> dict[AssociationKind, list[int]]:
    """Keep others from cutting what hangs on assets. Which is it?"""
    subjects = sorted({row.subject_id for row in turned})
    found = {
        bond: await connection.fetch(bond.statement("consistency/lock_associations_of_assets"), {"subjects": subjects})
        for bond in ASSOCIATION_KINDS
    }
    return {bond: [row.id for row in rows] for bond, rows in found.items()}


async def _clip(
    connection: WriteConnection, turned: Sequence[Row[Any]], bound: dict[AssociationKind, list[int]], *, begins: bool
) -> None:
    """Bring what hangs on lives up to them. What only ends makes room."""
    for bond, ids in bound.items():
        if ids:
            async with deferred_cardinality_check(connection, limited=bond is RELATIONSHIP and begins, field="uid") as touched:
                touched += ids
                await rebuild_since(connection, bond, "consistency/clip_associations", turned)


async def _on_delete_targets(connection: WriteConnection, ended: Sequence[Row[Any]]) -> list[Row[Any]]:
    """What falls with assets that end, if no join holds them."""
    asked = {"subjects": [row.subject_id for row in ended], "instants": [row.instant for row in ended]}
    found = await connection.fetch(_ON_DELETE_TARGETS, asked)
    held = next((row for row in found if row.on_delete == "RESTRICT"), None)
    if held is not None:
        told = f"{held.type} restricts: from {write_instant(held.since)} on {held.label} is joined with {held.other}"
        raise ResolvableConflict(f"{told} (relationship {held.uid}). End that join first.", field="uid")
    return list(found)
