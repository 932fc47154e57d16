"""What is said of assets, and what follows of it: when they live, what ends with them, and which bonds hold between them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text

from db.cardinality import kept_among
from db.connection import WriteConnection
from db.errors import Contested, HeadwaterError
from db.instants import write_instant
from db.kind import Bond, Kind
from db.kinds import ASSET_KINDS, BONDS, RELATIONSHIP
from db.quarrel import Quarrel, Quarrels, Side, Subject
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
    """The same, where each is accepted or refused by itself. What joins forbid is raised, as a quarrel."""
    rows = await hear(connection, kind, assertions, once=once)
    turned = [(row, it.operation) for row, it in zip(rows, assertions, strict=True) if row.of_life]
    await follow(connection, kind, "project_lives", [row for row, _ in turned])
    # nothing hangs on what nobody had heard of
    heard = [(row, operation) for row, operation in turned if not row.unheard]
    if heard:
        await _follow_bonds(connection, [row for row, _ in heard], [row for row, it in heard if it is Operation.DELETE])
    return outcomes_of(kind, rows)


async def lock_by_id(connection: WriteConnection, asset_ids: Collection[int]) -> None:
    """Keep other writers off some assets until the transaction ends."""
    await connection.fetch(_LOCK, {"assets": sorted(asset_ids)})


def ending_of(subject_id: int) -> Subject:
    """What a quarrel about the end of an asset is about."""
    return "ending", subject_id


async def _follow_bonds(connection: WriteConnection, turned: Sequence[Row[Any]], ended: Sequence[Row[Any]]) -> None:
    """Bring what hangs on lives up to them."""
    subjects = sorted({row.subject_id for row in turned})
    bound: dict[Bond, list[int]] = {}
    for bond in BONDS:
        found = await connection.fetch(bond.statement("lock_bonds_of_assets"), {"subjects": subjects})
        bound[bond] = [row.id for row in found]
    joins = bound[RELATIONSHIP]
    falling = await _falling(connection, ended) if joins and ended else []
    for bond, ids in bound.items():
        if ids:
            # what only ends makes room
            async with kept_among(connection, limited=bond is RELATIONSHIP and len(ended) < len(turned), field="uid") as touched:
                touched += ids
                await follow(connection, bond, "cut_bonds", turned)
    if falling:
        await _take_along(connection, falling)


async def _falling(connection: WriteConnection, ended: Sequence[Row[Any]]) -> list[Row[Any]]:
    """What else ends with assets, if joins do not hold them."""
    asked = {"subjects": [row.subject_id for row in ended], "instants": [row.instant for row in ended]}
    found = await connection.fetch(_FALLING, asked)
    held = [row for row in found if row.on_delete == "RESTRICT"]
    if held:
        raise Quarrels([_held(row) for row in held])
    return list(found)


async def _take_along(connection: WriteConnection, falling: Sequence[Row[Any]]) -> None:
    """End the other ends of joins that cascade, at the instants of their fellows."""
    await lock_by_id(connection, {row.other_id for row in falling})
    for kind in ASSET_KINDS:
        ending = {(row.other_id, row.instant): row for row in falling if row.other_kind == kind.name}
        if not ending:
            continue
        try:
            await record(connection, kind, [Assertion(other_id, Operation.DELETE, None, at) for other_id, at in ending])
        except Quarrels as quarrels:
            # whoever began it is the one to give way
            along = {ending_of(row.other_id): ending_of(row.asset_id) for row in ending.values()}
            raise Quarrels([_carried(quarrel, along) for quarrel in quarrels.quarrels]) from quarrels


def _held(row: Row[Any]) -> Quarrel:
    told = f"{row.type} restricts: from {write_instant(row.since)} on it is joined with {row.other} (relationship {row.uid})."
    side = Side((ending_of(row.asset_id),), row.valid_from, row.valid_to)
    return Quarrel((side,), Contested(f"{told} End that join first.", field="uid"))


def _carried(quarrel: Quarrel, along: Mapping[Subject, Subject]) -> Quarrel:
    """The same quarrel, about those that take along whom it is about."""
    sides = (side._replace(subjects=tuple(along.get(it, it) for it in side.subjects)) for side in quarrel.sides)
    return quarrel._replace(sides=tuple(sides))
