"""The way in for whatever comes in bulk: a batch of statements from any source, in a constant number of SQL statements.

Identities are given or locked in one order, so that two loads cannot wait for each other; what each statement does is judged in
one go, appended to the log, and folded. What is refused is refused by itself and leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import text

from db.assets.asset import Deletion, IdentitySpec, add_or_lock_each, identities
from db.assets.product import add_domains
from db.associations import lineage_link, relationship
from db.associations.association import UNRESOLVED, AssetRef, resolve
from db.connection import WriteConnection
from db.consistency.batch_conflicts import (
    BatchConflict,
    BatchConflictError,
    ChangesOfSubject,
    ConflictSide,
    Results,
    subject_of,
    write_resolving_conflicts,
)
from db.consistency.lifecycle import record_asset_changes
from db.errors import HeadwaterError, NameTaken, NotFound, TransactionConflict
from db.registries import detail_type, entity_type, relationship_type
from db.registries.detail_type import DetailTypeRow
from db.registries.entity_type import EntityTypeRow, PutOutcome
from db.registries.relationship_type import RelationshipTypeRow
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, Outcome, future_instant_error
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, KIND_OF, PRODUCT

# What one transaction takes in: enough to make statements cheap, few enough to hold its locks for moments only.
BATCH = 5_000


class AssetState(NamedTuple):
    """The whole state, checked, that a source says an asset has from an instant on; without one, from now on. A product that is
    meant by nothing is the one that bears the name at that instant; if none does, it is a new one."""

    kind: Kind
    ref: IdentitySpec
    payload: Mapping[str, Any]
    at: datetime | None = None


Statement: TypeAlias = AssetState | lineage_link.LinkState | relationship.RelationshipState | Deletion
Registered: TypeAlias = EntityTypeRow | DetailTypeRow | RelationshipTypeRow

# The registries, in the order in which what is in one may rest on what is in another.
_REGISTRIES: dict[type[Registered], Any] = {
    EntityTypeRow: entity_type.put_each,
    DetailTypeRow: detail_type.put_each,
    RelationshipTypeRow: relationship_type.put_each,
}

_CLASHING = statement("bulk/overlapping_names")
_NAMES_LATER = text("SET CONSTRAINTS product_name_taken DEFERRED")
_NAMES_NOW = text("SET CONSTRAINTS product_name_taken IMMEDIATE")


async def register(connection: WriteConnection, batch: Sequence[Registered]) -> list[PutOutcome | HeadwaterError]:
    """Write entries of registries: what became of each, in its order. A batch says one thing of a code; said again, it changes
    nothing."""
    results: dict[int, PutOutcome | HeadwaterError] = {}
    for registry, put_each in _REGISTRIES.items():
        said: dict[str, tuple[int, Registered]] = {}
        for place, it in enumerate(batch):
            if isinstance(it, registry):
                said.setdefault(it.code, (place, it))
        if said:
            places, rows = zip(*said.values(), strict=True)
            results |= zip(places, await put_each(connection, rows), strict=True)
    return [results.get(place, PutOutcome(created=False, changed=False)) for place in range(len(batch))]


async def ingest(connection: WriteConnection, batch: Sequence[Statement]) -> list[Outcome | HeadwaterError]:
    """Write a batch: what became of each, in its order. Of a subject at an instant, one request may say one thing."""
    results: Results = {}
    assets: dict[Kind, dict[int, AssetState | Deletion]] = {kind: {} for kind in ASSET_KINDS}
    links: dict[int, lineage_link.LinkState] = {}
    joins: dict[int, relationship.RelationshipState] = {}
    ended: dict[int, Deletion] = {}
    for place, it in enumerate(batch):
        if (refused := future_instant_error(it.at, connection.now)) is not None:
            results[place] = refused
        elif isinstance(it, AssetState):
            assets[it.kind][place] = it
        elif isinstance(it, Deletion):
            ended[place] = it
        elif isinstance(it, lineage_link.LinkState):
            links[place] = it
        else:
            joins[place] = it
    kinds = await _kinds(connection, batch, ended) if ended else {}
    for place, end in ended.items():
        if end.uid in kinds:
            assets[kinds[end.uid]][place] = end
    for kind, statements in assets.items():
        if statements:
            results |= await write_resolving_conflicts(connection, statements, partial(_write_assets, connection, kind))
    # what ends and is no asset is a join, if it is no link
    ends = {place: end for place, end in ended.items() if end.uid not in kinds}
    if links or ends:
        outcomes = await lineage_link.upsert_each(
            connection, list(links.values()), ended=list(ends.values()), reject_restatement=True, allow_pending_ends=True
        )
        results |= zip([*links, *ends], outcomes, strict=True)
        ends = {place: end for place, end in ends.items() if isinstance(results[place], NotFound)}
    if joins or ends:
        outcomes = await relationship.upsert_each(
            connection, list(joins.values()), ended=list(ends.values()), reject_restatement=True, allow_pending_ends=True
        )
        results |= zip([*joins, *ends], outcomes, strict=True)
        for place, end in ends.items():
            if isinstance(results[place], NotFound):
                results[place] = NotFound(f"There is nothing with the uid {end.uid}.", field="uid")
    return [results[place] for place in range(len(batch))]


async def _kinds(connection: WriteConnection, batch: Sequence[Statement], ended: Mapping[int, Deletion]) -> dict[UUID, Kind]:
    """The kinds of the assets that are to end: of those that are there, and of those that this very batch begins."""
    begun = {it.ref.uid or it.ref.new_uid: it.kind for it in batch if isinstance(it, AssetState)}
    uids = list(dict.fromkeys(it.uid for it in ended.values()))
    known = {it.uid: KIND_OF[it.kind] for it in await identities(connection, uids) if it is not None}
    kinds = {uid: known.get(uid) or begun.get(uid) for uid in uids}
    return {uid: kind for uid, kind in kinds.items() if kind is not None}


async def _write_assets(
    connection: WriteConnection, kind: Kind, statements: Mapping[int, AssetState | Deletion], said: ChangesOfSubject
) -> Results:
    """Write what is said of assets of one kind. Names of products may pass from one to another: it counts where they are in the
    end."""
    if kind is not PRODUCT:
        return await _write(connection, kind, statements, said)
    await connection.execute(_NAMES_LATER)
    results = await _write(connection, kind, statements, said)
    try:
        async with connection.savepoint():
            await connection.execute(_NAMES_NOW)
    except NameTaken as reason:
        raise BatchConflictError(await _quarrels(connection, statements, results, reason)) from reason
    return results


async def _quarrels(
    connection: WriteConnection, statements: Mapping[int, AssetState | Deletion], results: Results, reason: NameTaken
) -> list[BatchConflict]:
    """Which products bear a name that another one bears at the same time."""
    products = {it.subject_id for it in results.values() if isinstance(it, Outcome)}
    return [
        BatchConflict(
            (
                ConflictSide((subject_of(PRODUCT, row.asset_id),), row.valid_from, row.valid_to),
                ConflictSide((subject_of(PRODUCT, row.other_id),), row.other_from, row.other_to),
            ),
            reason,
        )
        for row in await connection.fetch(_CLASHING, {"products": sorted(products)})
    ]


async def _write(
    connection: WriteConnection, kind: Kind, statements: Mapping[int, AssetState | Deletion], said: ChangesOfSubject
) -> Results:
    """Write what is said of assets of one kind, with all that follows of it."""
    refs = await _meant(connection, statements)
    known = {place: ref for place, ref in refs.items() if ref is not None}
    found = dict(zip(known, await add_or_lock_each(connection, kind, list(known.values())), strict=True))
    if refs != await _meant(connection, statements):
        raise TransactionConflict("Another writer gave the name of a product to another one meanwhile. Try again.")
    if kind is PRODUCT:
        await add_domains(connection, [it.payload for it in statements.values() if isinstance(it, AssetState)])
    results: Results = {}
    assertions: dict[int, Assertion] = {}
    for place, it in statements.items():
        identity = found.get(place)
        if identity is None:
            results[place] = NotFound(
                "No product has this name then: the one that had it first has another. Give its uid.", field="name"
            )
        elif isinstance(identity, HeadwaterError):
            results[place] = identity
        elif isinstance(it, Deletion):
            assertions[place] = Assertion(identity.asset_id, Operation.DELETE, None, it.at)
        else:
            assertions[place] = Assertion(identity.asset_id, Operation.SET, it.payload, it.at)
            said.setdefault(subject_of(kind, identity.asset_id), []).append((it.at or connection.now, place))
    outcomes = await record_asset_changes(connection, kind, list(assertions.values()), reject_restatement=True)
    return results | dict(zip(assertions, outcomes, strict=True))


async def _meant(connection: WriteConnection, statements: Mapping[int, AssetState | Deletion]) -> dict[int, IdentitySpec | None]:
    """Which assets statements are about. A product that is meant by its name is the one that bears it at that instant, or else
    the one with a uid made of the name; where that has another name by then, nobody can tell which is meant."""
    refs: dict[int, IdentitySpec | None] = {}
    by_name: dict[int, AssetState] = {}
    for place, it in statements.items():
        if isinstance(it, Deletion):
            refs[place] = IdentitySpec(it.uid, create_missing=False)
        elif it.kind is PRODUCT and it.ref.uid is None:
            by_name[place] = it
        else:
            refs[place] = it.ref
    if by_name:
        asked = [it.at or connection.now for it in by_name.values()]
        names = [AssetRef(product=it.payload["name"]) for it in by_name.values()]
        uids = [AssetRef(uid=it.ref.new_uid) for it in by_name.values()]
        found = await resolve(connection, names + uids, asked * 2)
        for (place, it), bearer, first in zip(by_name.items(), found, found[len(names) :], strict=False):
            if bearer is not UNRESOLVED:
                refs[place] = IdentitySpec(bearer.uid)
            else:
                refs[place] = None if first.alive else IdentitySpec(it.ref.new_uid)
    return refs
