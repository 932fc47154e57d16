"""What bonds of every kind share: which assets their ends mean, and how they are said and end."""

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db.assets.asset import Deletion
from db.connection import ReadConnection, WriteConnection
from db.consistency.batch_conflicts import Results
from db.consistency.lifecycle import lock_by_id
from db.errors import NotFound, TransactionConflict
from db.fields import storable
from db.instants import write_instant
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, record_changes
from db.temporal.kind import AssociationKind

_RESOLVE = statement("associations/resolve_ends")
_LOCK_SHARED = statement("associations/lock_assets_shared")

# The ends of a bond, and the further parts of its identity.
Key: TypeAlias = tuple[Any, ...]


class AssetRef(NamedTuple):
    """Which asset a bond is said to begin or end at: by one of uid, product name, and entity type with key. A key alone means
    something where the type is known."""

    uid: UUID | None = None
    product: str | None = None
    type: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        if self.uid is not None:
            return f"asset with the uid {self.uid}"
        if self.product is not None:
            return f"product called {self.product[:100]!r}"
        return f"{(self.type or 'asset')[:100]} with the key {(self.key or '')[:100]!r}"


class ResolvedAsset(NamedTuple):
    """What a reference means, whether that is alive at the instant, and whether it ever was before."""

    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    alive: bool
    begun: bool


UNRESOLVED = ResolvedAsset(0, UUID(int=0), "", None, alive=False, begun=False)


class ResolvedState(NamedTuple):
    """What is said of a bond, once it is known what its ends are."""

    key: Key
    uid: UUID
    payload: Mapping[str, Any]
    at: datetime | None


async def resolve(
    connection: ReadConnection, ends: Sequence[AssetRef], instants: Sequence[datetime | None]
) -> list[ResolvedAsset]:
    """What references mean, each at its instant, else now: from then on, that is the now of the request."""
    places: dict[tuple[AssetRef, datetime | None], int] = {}
    for end, instant in zip(ends, instants, strict=True):
        places.setdefault((end, instant), len(places) + 1)
    asked = list(places)
    rows = await connection.fetch(
        _RESOLVE,
        {
            "uids": [end.uid for end, _ in places],
            "products": [storable(end.product) for end, _ in places],
            "types": [storable(end.type) for end, _ in places],
            "keys": [storable(end.key) for end, _ in places],
            "instants": [instant for _, instant in places],
            "now": connection.now,
        },
    )
    now = [row.instant for row, (_, instant) in ((row, asked[row.place - 1]) for row in rows) if instant is None]
    connection.now = max([connection.now, *now])
    found = {row.place: ResolvedAsset(row.id, row.uid, row.kind, row.type, row.alive, row.begun) for row in rows}
    return [found.get(places[it], UNRESOLVED) for it in zip(ends, instants, strict=True)]


async def resolve_and_lock(
    connection: WriteConnection,
    ends: Sequence[AssetRef],
    instants: Sequence[datetime | None],
    *,
    allow_pending_ends: bool,
    exclusive: Collection[int] = (),
) -> list[ResolvedAsset]:
    """What references mean, each at its instant; none of it changes until the transaction ends. Those at the places in
    `exclusive` are kept for this writer; the others may be held by several."""
    if not ends:
        return []
    first = await resolve(connection, ends, instants)
    kept = {first[place].asset_id for place in exclusive} - {UNRESOLVED.asset_id}
    shared = {it.asset_id for it in first} - {UNRESOLVED.asset_id} - kept
    if kept:
        await lock_by_id(connection, kept)
    if shared:
        await connection.fetch(_LOCK_SHARED, {"assets": sorted(shared)})
    if allow_pending_ends and all(end.product is None for end in ends):
        # what bears a uid or a key bears it always, and what was purged since cannot be pointed at
        return first
    # whoever held a lock may have renamed one, or ended it, for good even
    found = await resolve(connection, ends, instants)
    if any(before.asset_id != after.asset_id for before, after in zip(first, found, strict=True)):
        raise TransactionConflict("An end was purged meanwhile, or its name given to another product. Try again.")
    return found


def missing_end_error(
    end: AssetRef, found: ResolvedAsset, instant: datetime, *, field: str, needs: str, allow_pending_ends: bool
) -> NotFound | None:
    """Why there is no such end at an instant, if there is none. An `early` bond holds as soon as both are there."""
    if found is UNRESOLVED:
        when = f" at {write_instant(instant)}" if end.product is not None else ""
        return NotFound(f"There is no {end}{when}.", field=field)
    if not found.alive and not allow_pending_ends:
        return NotFound(f"The {end} does not exist at {write_instant(instant)}, and {needs} needs both of its ends.", field=field)
    return None


async def write(
    connection: WriteConnection,
    bond: AssociationKind,
    stated: Mapping[int, ResolvedState],
    ended: Mapping[int, Deletion],
    *,
    reject_restatement: bool,
    called: str,
) -> tuple[Results, dict[int, int]]:
    """Write what is said of bonds, and which of them end, whose ends are held: what became of each, and of which bond it is said.
    Each is accepted or refused by itself."""
    uids = {it.key: it.uid for it in stated.values()}
    ids = await _add_or_lock(connection, bond, uids)
    said = {place: ids[it.key] for place, it in stated.items()}
    assertions = {place: Assertion(said[place], Operation.SET, it.payload, it.at) for place, it in stated.items()}
    results: Results = {}
    known = await _lock_by_uid(connection, bond, {it.uid for it in ended.values()}, {uids[key]: it for key, it in ids.items()})
    for place, end in ended.items():
        if end.uid in known:
            assertions[place] = Assertion(known[end.uid], Operation.DELETE, None, end.at)
        else:
            results[place] = NotFound(f"There is no {called} with the uid {end.uid}.", field="uid")
    if assertions:
        outcomes = await record_changes(connection, bond, list(assertions.values()), reject_restatement=reject_restatement)
        results |= zip(assertions, outcomes, strict=True)
    return results, said


async def _add_or_lock(connection: WriteConnection, bond: AssociationKind, uids: Mapping[Key, UUID]) -> dict[Key, int]:
    """Give bonds their identities, or lock the ones they have."""
    if not uids:
        return {}
    found = await _lock(connection, bond, list(uids))
    unknown = [it for it in uids if it not in found]
    if unknown:
        given = {"uids": [uids[it] for it in unknown], **_columns(bond, unknown)}
        added = await connection.fetch(bond.statement("associations/add_associations"), given)
        connection.added[bond] += len(added)
        # what is new is locked by being new
        found |= {tuple(row[1:]): row.id for row in added}
        overtaken = [it for it in unknown if it not in found]
        if overtaken:
            found |= await _lock(connection, bond, overtaken)
    return found


async def _lock(connection: WriteConnection, bond: AssociationKind, wanted: Sequence[Key]) -> dict[Key, int]:
    rows = await connection.fetch(bond.statement("associations/lock_associations"), _columns(bond, wanted))
    return {tuple(row[1:]): row.id for row in rows}


async def _lock_by_uid(
    connection: WriteConnection, bond: AssociationKind, wanted: Set[UUID], locked: Mapping[UUID, int]
) -> dict[UUID, int]:
    """Bonds by their uids: those that are locked already, and others that are locked now."""
    others = wanted - locked.keys()
    if not others:
        return dict(locked)
    rows = await connection.fetch(bond.statement("associations/lock_associations_by_uid"), {"uids": list(others)})
    return {**locked, **{row.uid: row.id for row in rows}}


def _columns(bond: AssociationKind, keys: Sequence[Key]) -> dict[str, list[Any]]:
    """The parts of identities, column by column, as statements are given them."""
    names = ("near", "far", *bond.parts)
    return {name: [key[place] for key in keys] for place, name in enumerate(names)}
