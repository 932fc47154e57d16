"""The way in for whatever comes in bulk: a batch of statements from any source, in a constant number of SQL statements.

Identities are given or locked in one order, so that two loads cannot wait for each other; what each statement does is judged in
one go, appended to the log, and folded. What is refused is refused by itself and leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import text

from db import detail_type, entity_type, link
from db.asset import Ended, Ref, add_or_lock_each, identities
from db.connection import WriteConnection
from db.detail_type import DetailTypeRow
from db.entity_type import EntityTypeRow, Put
from db.errors import HeadwaterError, Interrupted, NameTaken, NotFound
from db.kinds import ASSET_KINDS
from db.product import PRODUCT, add_domains
from db.sql import load
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
# What became of statements, by their places in the batch.
_Results: TypeAlias = dict[int, Outcome | HeadwaterError]

_CLASHING = text(load("clashing_names"))
_NAMES_LATER = text("SET CONSTRAINTS product_name_taken DEFERRED")
_NAMES_NOW = text("SET CONSTRAINTS product_name_taken IMMEDIATE")


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
    results: _Results = {}
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
            write = _write_products if kind is PRODUCT else _write
            results |= await write(connection, kind, statements)
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


async def _write_products(connection: WriteConnection, kind: Kind, statements: Mapping[int, Stated | Ended]) -> _Results:
    """Write what is said of products. Names may pass from one to another: it counts where they are in the end. What takes a name
    that another product keeps is left out, and the rest is written once more."""
    taken: _Results = {}
    while True:
        heard = {place: it for place, it in statements.items() if place not in taken}
        try:
            async with connection.savepoint():
                await connection.execute(_NAMES_LATER)
                results = await _write(connection, kind, heard)
                try:
                    async with connection.savepoint():
                        await connection.execute(_NAMES_NOW)
                except NameTaken as reason:
                    taken |= dict.fromkeys(await _taking(connection, heard, results), reason)
                    raise
                return results | taken
        except NameTaken:
            if not taken.keys() & heard.keys():
                raise Interrupted("Another writer gave the name of a product to another one meanwhile. Try again.") from None


async def _taking(connection: WriteConnection, statements: Mapping[int, Stated | Ended], results: _Results) -> set[int]:
    """Which statements take a name that another product keeps. Where there are none, but several that want the same: those that
    want it later, as if each were heard at its instant."""
    said: dict[tuple[int, str], list[tuple[datetime, int]]] = {}
    for place, outcome in results.items():
        it = statements[place]
        if isinstance(outcome, Outcome) and isinstance(it, Stated):
            said.setdefault((outcome.subject_id, it.payload["name"]), []).append((outcome.at, place))
    wanting: dict[tuple[int, int, str], list[tuple[datetime, int]]] = {}
    for row in await connection.fetch(_CLASHING, {"products": list({product for product, _ in said})}):
        wanted = [
            it
            for it in said.get((row.asset_id, row.name), ())
            if row.valid_from <= it[0] and (row.valid_to is None or it[0] < row.valid_to)
        ]
        wanting.setdefault((row.asset_id, row.other_id, row.name), []).extend(wanted)
    kept: set[int] = set()
    later: set[int] = set()
    for (product, other, name), wanted in wanting.items():
        rivals = wanting.get((other, product, name))
        if not rivals:
            kept.update(place for _, place in wanted)
        elif wanted and min(wanted) > min(rivals):
            later.update(place for _, place in wanted)
    return kept or later


async def _write(connection: WriteConnection, kind: Kind, statements: Mapping[int, Stated | Ended]) -> _Results:
    """Write what is said of assets of one kind."""
    refs = await _meant(connection, statements)
    known = {place: ref for place, ref in refs.items() if ref is not None}
    found = dict(zip(known, await add_or_lock_each(connection, kind, list(known.values())), strict=True))
    if refs != await _meant(connection, statements):
        raise Interrupted("Another writer gave the name of a product to another one meanwhile. Try again.")
    if kind is PRODUCT:
        await add_domains(connection, [it.payload for it in statements.values() if isinstance(it, Stated)])
    results: _Results = {}
    assertions: dict[int, Assertion] = {}
    for place, it in statements.items():
        identity = found.get(place)
        if identity is None:
            results[place] = NotFound(
                "No product has this name then: the one that had it first has another. Give its uid.", field="name"
            )
        elif isinstance(identity, HeadwaterError):
            results[place] = identity
        elif isinstance(it, Ended):
            assertions[place] = Assertion(identity.asset_id, Operation.DELETE, None, it.at)
        else:
            assertions[place] = Assertion(identity.asset_id, Operation.SET, it.payload, it.at)
    outcomes = await record_each(connection, kind, list(assertions.values()), once=True)
    return results | dict(zip(assertions, outcomes, strict=True))


async def _meant(connection: WriteConnection, statements: Mapping[int, Stated | Ended]) -> dict[int, Ref | None]:
    """Which assets statements are about. A product that is meant by its name is the one that bears it at that instant, or else
    the one with a uid made of the name; where that has another name by then, nobody can tell which is meant."""
    refs: dict[int, Ref | None] = {}
    by_name: dict[int, Stated] = {}
    for place, it in statements.items():
        if isinstance(it, Ended):
            refs[place] = Ref(it.uid, adding=False)
        elif it.kind is PRODUCT and it.ref.uid is None:
            by_name[place] = it
        else:
            refs[place] = it.ref
    if by_name:
        asked = [it.at or connection.now for it in by_name.values()]
        names = [link.End(product=it.payload["name"]) for it in by_name.values()]
        uids = [link.End(uid=it.ref.new_uid) for it in by_name.values()]
        found = await link.resolve(connection, names + uids, asked * 2)
        for (place, it), bearer, first in zip(by_name.items(), found, found[len(names) :], strict=False):
            if bearer is not link.NOTHING:
                refs[place] = Ref(bearer.uid)
            else:
                refs[place] = None if first.alive else Ref(it.ref.new_uid)
    return refs
