"""What is said of assets, and what follows of it: when they live, which bonds hold between them, and what ends with them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from db.cardinality import kept_among
from db.connection import WriteConnection
from db.errors import Contested, HeadwaterError
from db.instants import write_instant
from db.kind import Bond, Kind
from db.kinds import ASSET_KINDS, BONDS, RELATIONSHIP
from db.sql import load
from db.temporal import Assertion, Operation, Outcome, accepted, follow, hear, outcomes_of

_FALLING = text(load("falling"))
_LOCK = text(load("lock_assets_by_id"))


async def record(connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion]) -> list[Outcome]:
    """Write assertions about assets, and what follows of them; the first that is refused is raised. The caller holds the assets'
    locks."""
    return accepted(await record_each(connection, kind, assertions))


async def record_each(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, once: bool = False
) -> list[Outcome | HeadwaterError]:
    """The same, where each is accepted or refused by itself. Joins that cannot be together are raised, as a quarrel."""
    rows = await hear(connection, kind, assertions, once=once)
    turned = await _turn(connection, kind, rows)
    if turned:
        begins = any(row.of_life and it.operation is not Operation.DELETE for row, it in zip(rows, assertions, strict=True))
        await _cut(connection, turned, await _lock_bonds(connection, turned), begins=begins)
    return outcomes_of(kind, rows)


async def end(connection: WriteConnection, kind: Kind, asset_id: int, at: datetime | None) -> Outcome:
    """End an asset that is locked, and with it what joins that cascade take along, level by level. A join that restricts holds
    them all."""
    first, falling = await _end_level(connection, kind, [(asset_id, at)])
    while falling:
        await lock_by_id(connection, {row.other_id for row in falling})
        level, falling = falling, []
        for kind_ in ASSET_KINDS:
            ending = list(dict.fromkeys((row.other_id, row.instant) for row in level if row.other_kind == kind_.name))
            if ending:
                _, further = await _end_level(connection, kind_, ending)
                falling += further
    (outcome,) = accepted(first)
    return outcome


async def lock_by_id(connection: WriteConnection, asset_ids: Collection[int]) -> None:
    """Keep other writers off some assets until the transaction ends."""
    await connection.fetch(_LOCK, {"assets": sorted(asset_ids)})


async def _end_level(
    connection: WriteConnection, kind: Kind, ending: Sequence[tuple[int, datetime | None]]
) -> tuple[list[Outcome | HeadwaterError], list[Row[Any]]]:
    """End assets: what became of it, and what falls with them."""
    rows = await hear(connection, kind, [Assertion(asset_id, Operation.DELETE, None, at) for asset_id, at in ending])
    turned = await _turn(connection, kind, rows)
    falling: list[Row[Any]] = []
    if turned:
        bound = await _lock_bonds(connection, turned)
        if bound[RELATIONSHIP]:
            falling = await _falling(connection, turned)
        await _cut(connection, turned, bound, begins=False)
    return outcomes_of(kind, rows), falling


async def _turn(connection: WriteConnection, kind: Kind, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Bring lives up to what was heard. Which of it began or ended the life of something that others may hang on?"""
    turned = [row for row in rows if row.of_life]
    await follow(connection, kind, "project_lives", turned)
    # nothing hangs on what nobody had heard of
    return [row for row in turned if not row.unheard]


async def _lock_bonds(connection: WriteConnection, turned: Sequence[Row[Any]]) -> dict[Bond, list[int]]:
    """Keep others from cutting what hangs on assets. Which is it?"""
    subjects = sorted({row.subject_id for row in turned})
    found = {bond: await connection.fetch(bond.statement("lock_bonds_of_assets"), {"subjects": subjects}) for bond in BONDS}
    return {bond: [row.id for row in rows] for bond, rows in found.items()}


async def _cut(connection: WriteConnection, turned: Sequence[Row[Any]], bound: dict[Bond, list[int]], *, begins: bool) -> None:
    """Bring what hangs on lives up to them. What only ends makes room."""
    for bond, ids in bound.items():
        if ids:
            async with kept_among(connection, limited=bond is RELATIONSHIP and begins, field="uid") as touched:
                touched += ids
                await follow(connection, bond, "cut_bonds", turned)


async def _falling(connection: WriteConnection, ended: Sequence[Row[Any]]) -> list[Row[Any]]:
    """What falls with assets that end, if no join holds them."""
    asked = {"subjects": [row.subject_id for row in ended], "instants": [row.instant for row in ended]}
    found = await connection.fetch(_FALLING, asked)
    held = next((row for row in found if row.on_delete == "RESTRICT"), None)
    if held is not None:
        told = f"{held.type} restricts: from {write_instant(held.since)} on {held.label} is joined with {held.other}"
        raise Contested(f"{told} (relationship {held.uid}). End that join first.", field="uid")
    return list(found)
