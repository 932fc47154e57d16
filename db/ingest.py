"""The way in for whatever comes in bulk: a batch of statements from any source, in a constant number of SQL statements.

Identities are given or locked in one order, so that two loads cannot wait for each other; what each statement does is judged in
one go, appended to the log, and folded. What is refused is refused by itself and leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db import detail_type, entity_type, link
from db.asset import Ended, Ref, add_or_lock_each, identities
from db.connection import WriteConnection
from db.detail_type import DetailTypeRow
from db.entity_type import EntityTypeRow, Put
from db.errors import HeadwaterError, Interrupted, NameTaken
from db.kinds import ASSET_KINDS
from db.product import PRODUCT, add_domains
from db.temporal import Assertion, Kind, Operation, Outcome, ahead, record_each

# What one transaction takes in: enough to make statements cheap, few enough to hold its locks for moments only.
BATCH = 5_000


class Stated(NamedTuple):
    """The whole state, checked, that a source says an asset has from an instant on; without one, from now on. A product that is
    meant by nothing is the one that bears the name at that instant; if none does, it is a new one."""

    kind: Kind
    ref: Ref
    payload: Mapping[str, Any]
    at: datetime | None = None


Statement: TypeAlias = Stated | link.Stated | Ended
Registered: TypeAlias = EntityTypeRow | DetailTypeRow


async def register(connection: WriteConnection, batch: Sequence[Registered]) -> list[Put | HeadwaterError]:
    """Write entries of registries: what became of each, in its order. A batch says one thing of a code; said again, it changes
    nothing."""
    results: dict[int, Put | HeadwaterError] = {}
    entity_types: dict[str, tuple[int, EntityTypeRow]] = {}
    detail_types: dict[str, tuple[int, DetailTypeRow]] = {}
    for place, it in enumerate(batch):
        if isinstance(it, EntityTypeRow):
            entity_types.setdefault(it.code, (place, it))
        else:
            detail_types.setdefault(it.code, (place, it))
    if entity_types:
        places, entity_rows = zip(*entity_types.values(), strict=True)
        results |= zip(places, await entity_type.put_each(connection, entity_rows), strict=True)
    if detail_types:
        places, detail_rows = zip(*detail_types.values(), strict=True)
        results |= zip(places, await detail_type.put_each(connection, detail_rows), strict=True)
    return [results.get(place, Put(created=False, changed=False)) for place in range(len(batch))]


async def ingest(connection: WriteConnection, batch: Sequence[Statement]) -> list[Outcome | HeadwaterError]:
    """Write a batch: what became of each, in its order. Of a subject at an instant, one request may say one thing."""
    results: dict[int, Outcome | HeadwaterError] = {}
    assets: dict[Kind, dict[int, Stated | Ended]] = {kind: {} for kind in ASSET_KINDS}
    links: dict[int, link.Stated] = {}
    ended: dict[int, Ended] = {}
    for place, it in enumerate(batch):
        if (refused := ahead(it.at, connection.now)) is not None:
            results[place] = refused
        elif isinstance(it, Stated):
            assets[it.kind][place] = it
        elif isinstance(it, Ended):
            ended[place] = it
        else:
            links[place] = it
    kinds = await _kinds(connection, batch, ended) if ended else {}
    for place, end in ended.items():
        if end.uid in kinds:
            assets[kinds[end.uid]][place] = end
    for kind, statements in assets.items():
        if statements:
            results |= await _write(connection, kind, statements)
    ends = {place: end for place, end in ended.items() if end.uid not in kinds}
    if links or ends:
        outcomes = await link.state_each(connection, list(links.values()), ended=list(ends.values()), once=True, early=True)
        results |= zip([*links, *ends], outcomes, strict=True)
    return [results[place] for place in range(len(batch))]


async def _kinds(connection: WriteConnection, batch: Sequence[Statement], ended: Mapping[int, Ended]) -> dict[UUID, Kind]:
    """The kinds of the assets that are to end: of those that are there, and of those that this very batch begins."""
    begun = {it.ref.uid or it.ref.new_uid: it.kind for it in batch if isinstance(it, Stated)}
    uids = list(dict.fromkeys(it.uid for it in ended.values()))
    known = {it.uid: it.kind for it in await identities(connection, uids) if it is not None}
    by_name = {kind.name: kind for kind in ASSET_KINDS}
    kinds = {uid: by_name[known[uid]] if uid in known else begun.get(uid) for uid in uids}
    return {uid: kind for uid, kind in kinds.items() if kind is not None}


async def _write(
    connection: WriteConnection, kind: Kind, statements: Mapping[int, Stated | Ended]
) -> dict[int, Outcome | HeadwaterError]:
    """Write what is said of assets of one kind. A name that is taken fails a whole SQL statement: halving finds whose it is. What
    is said of one asset stays together as long as it can, for its end may be what makes room for a name."""
    try:
        async with connection.savepoint():
            return await _record(connection, kind, statements)
    except NameTaken as taken:
        if len(statements) == 1:
            return dict.fromkeys(statements, taken)
    of_asset: dict[UUID | tuple[str | None, str | None], list[int]] = {}
    for place, it in statements.items():
        of_asset.setdefault(_asset_of(it), []).append(place)
    groups = list(of_asset.values()) if len(of_asset) > 1 else [[place] for place in statements]
    middle = len(groups) // 2
    results: dict[int, Outcome | HeadwaterError] = {}
    for half in groups[:middle], groups[middle:]:
        results |= await _write(connection, kind, {place: statements[place] for group in half for place in group})
    return results


def _asset_of(statement: Stated | Ended) -> UUID | tuple[str | None, str | None]:
    """What tells the assets of a batch apart."""
    if isinstance(statement, Ended):
        return statement.uid
    return statement.ref.uid or statement.ref.new_uid or (statement.ref.type, statement.ref.key)


async def _record(
    connection: WriteConnection, kind: Kind, statements: Mapping[int, Stated | Ended]
) -> dict[int, Outcome | HeadwaterError]:
    refs = await _meant(connection, statements)
    found = await add_or_lock_each(connection, kind, refs)
    if refs != await _meant(connection, statements):
        raise Interrupted("Another writer gave the name of a product to another one meanwhile. Try again.")
    if kind is PRODUCT:
        await add_domains(connection, [it.payload for it in statements.values() if isinstance(it, Stated)])
    results: dict[int, Outcome | HeadwaterError] = {}
    assertions: dict[int, Assertion] = {}
    for (place, it), identity in zip(statements.items(), found, strict=True):
        if isinstance(identity, HeadwaterError):
            results[place] = identity
        elif isinstance(it, Ended):
            assertions[place] = Assertion(identity.asset_id, Operation.DELETE, None, it.at)
        else:
            assertions[place] = Assertion(identity.asset_id, Operation.SET, it.payload, it.at)
    outcomes = await record_each(connection, kind, list(assertions.values()), once=True)
    return results | dict(zip(assertions, outcomes, strict=True))


async def _meant(connection: WriteConnection, statements: Mapping[int, Stated | Ended]) -> list[Ref]:
    """Which assets statements are about, where products that are meant by their names are found by them."""
    refs = [Ref(it.uid, adding=False) if isinstance(it, Ended) else it.ref for it in statements.values()]
    by_name = [
        (number, it)
        for number, it in enumerate(statements.values())
        if isinstance(it, Stated) and it.kind is PRODUCT and it.ref.uid is None
    ]
    if by_name:
        names = [link.End(product=it.payload["name"]) for _, it in by_name]
        bearers = await link.resolve(connection, names, [it.at or connection.now for _, it in by_name])
        for (number, it), bearer in zip(by_name, bearers, strict=True):
            refs[number] = Ref(it.ref.new_uid if bearer is link.NOTHING else bearer.uid)
    return refs
