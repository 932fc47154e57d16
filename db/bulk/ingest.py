"""Ingestion: write a batch of entries from any source, in a constant number of SQL statements.

Each entry is accepted or rejected independently, and a rejected one leaves nothing behind.

Each SQL statement adds or locks identities in one order, so that two loads cannot deadlock on the identities of a kind. They may
on other locks, such as those of names or of associations that a new lifetime clips: the loser gets TransactionConflict, and its
transaction is run again.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db.assets import entity_fields
from db.assets.asset import Deletion, IdentitySpec, add_or_lock_each, identities
from db.assets.entity_key import compared_key
from db.assets.naming import Naming, specs_by_name
from db.assets.product import add_domains_of_products
from db.assets.reference import AssetRef, missing_asset_error, resolve
from db.associations import lineage_link, relationship
from db.associations.reference import LinkEnds, RelationshipEnds, lock_ends_of_links, lock_ends_of_relationships, named_by
from db.connection import WriteConnection
from db.consistency.batch_conflicts import (
    BatchConflict,
    Results,
    SubjectChange,
    WriteResult,
    subject_change,
    subject_of,
    write_resolving_conflicts,
)
from db.consistency.lifecycle import record_asset_changes
from db.errors import HeadwaterError, KeyTaken, NameTaken, NotFound, TransactionConflict
from db.registries import detail_type, entity_type, relationship_type
from db.registries.detail_type import DetailTypeRow
from db.registries.entity_type import EntityTypeRow
from db.registries.registry import PutOutcome
from db.registries.relationship_type import RelationshipTypeRow
from db.sql import Statement, statement, text
from db.temporal.change_log import Assertion, Operation, Outcome, future_instant_error
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, ENTITY, KIND_OF, LINK, PRODUCT, RELATIONSHIP

# Entries of one transaction: enough to make each cheap, few enough to hold locks only briefly.
BATCH = 5_000

# The time between two instants that follow each other.
_RESOLUTION = timedelta(microseconds=1)


class AssetState(NamedTuple):
    """The whole, validated state of an asset from an instant on. Without an instant it holds from now on.

    A product may have no uid in its `ref`: then `_identity_specs` finds it by its name.
    """

    kind: Kind
    ref: IdentitySpec
    payload: Mapping[str, Any]
    at: datetime | None = None


class NamedDeletion(NamedTuple):
    """Deletion of the asset, link or relationship that a reference names until an instant, by default now.

    What it names is what existed just before the instant, so that a repetition of the deletion means the same.
    """

    ref: AssetRef | LinkEnds | RelationshipEnds
    at: datetime | None = None
    # a name that no asset has then means the asset that was deleted with it
    or_deleted: bool = False

    def before(self, connection: WriteConnection) -> datetime:
        """Return the last instant before the deletion."""
        return (self.at or connection.now) - _RESOLUTION


BatchEntry: TypeAlias = AssetState | lineage_link.LinkState | relationship.RelationshipState | Deletion | NamedDeletion
_AssetEntry: TypeAlias = AssetState | Deletion | NamedDeletion
RegistryEntry: TypeAlias = EntityTypeRow | DetailTypeRow | RelationshipTypeRow

# The registries, each after those that its entries may refer to.
_REGISTRIES: dict[type[RegistryEntry], Any] = {
    EntityTypeRow: entity_type.put_each,
    DetailTypeRow: detail_type.put_each,
    RelationshipTypeRow: relationship_type.put_each,
}


class _UniqueNames(NamedTuple):
    """The names or keys of a kind, which no two assets have at the same time: the statements that defer and enforce the
    constraint, the one that finds those that overlap, and the error of the loser."""

    defer: Statement
    enforce: Statement
    overlapping: Statement
    error: type[NameTaken] | type[KeyTaken]

    @classmethod
    def of(cls, constraint: str, overlapping: str, error: type[NameTaken] | type[KeyTaken]) -> "_UniqueNames":
        defer, enforce = (text(f"SET CONSTRAINTS {constraint} {mode}") for mode in ("DEFERRED", "IMMEDIATE"))
        return cls(defer, enforce, statement(overlapping), error)


_UNIQUE_NAMES = {
    PRODUCT: _UniqueNames.of("product_name_taken", "bulk/overlapping_names", NameTaken),
    ENTITY: _UniqueNames.of("entity_key_taken", "bulk/overlapping_keys", KeyTaken),
}


async def register(connection: WriteConnection, batch: Sequence[RegistryEntry]) -> list[PutOutcome | HeadwaterError]:
    """Write entries of registries. Return the outcomes in the order of the batch.

    Of several entries with the same code the first counts, and the others change nothing.
    """
    results: dict[int, PutOutcome | HeadwaterError] = {}
    for row_type, put_each in _REGISTRIES.items():
        first_of_code: dict[str, tuple[int, RegistryEntry]] = {}
        for index, entry in enumerate(batch):
            if isinstance(entry, row_type):
                first_of_code.setdefault(entry.code, (index, entry))
        if first_of_code:
            indexes, entries = zip(*first_of_code.values(), strict=True)
            results |= zip(indexes, await put_each(connection, entries), strict=True)
    return [results.get(index, PutOutcome(created=False, changed=False)) for index in range(len(batch))]


async def ingest(connection: WriteConnection, batch: Sequence[BatchEntry]) -> list[Outcome | HeadwaterError]:
    """Write a batch. Return the outcomes in its order. One request may give a subject one state at an instant."""
    results: Results = {}
    assets: dict[Kind, dict[int, _AssetEntry]] = {kind: {} for kind in ASSET_KINDS}
    links: dict[int, lineage_link.LinkState] = {}
    relationships: dict[int, relationship.RelationshipState] = {}
    deletions: dict[int, Deletion] = {}
    named_links: dict[int, LinkEnds] = {}
    named_relationships: dict[int, RelationshipEnds] = {}
    before: dict[int, datetime | None] = {}
    for index, it in enumerate(batch):
        if (error := future_instant_error(it.at, connection.now)) is not None:
            results[index] = error
        elif isinstance(it, AssetState):
            assets[it.kind][index] = it
        elif isinstance(it, Deletion):
            deletions[index] = it
        elif isinstance(it, lineage_link.LinkState):
            links[index] = it
        elif isinstance(it, relationship.RelationshipState):
            relationships[index] = it
        elif isinstance(it.ref, AssetRef):
            assets[ENTITY if it.ref.product is None else PRODUCT][index] = it
        else:
            before[index] = it.before(connection)
            if isinstance(it.ref, LinkEnds):
                named_links[index] = it.ref
            else:
                named_relationships[index] = it.ref
    asset_kinds = await _kinds_of_assets(connection, batch, deletions) if deletions else {}
    for index, deletion in deletions.items():
        if deletion.uid in asset_kinds:
            assets[asset_kinds[deletion.uid]][index] = deletion
    for kind, entries in assets.items():
        if entries:
            results |= await write_resolving_conflicts(connection, entries, partial(_write_assets, connection, kind))
    # the uid of another deletion is a link's, or else a relationship's
    others = {index: deletion for index, deletion in deletions.items() if deletion.uid not in asset_kinds}
    named, errors = _found(batch, await lock_ends_of_links(connection, named_links, before), field="link")
    results |= errors
    if links or others or named:
        outcomes = await lineage_link.upsert_each(
            connection,
            list(links.values()),
            deletions=[*others.values(), *named.values()],
            reject_restatement=True,
            allow_pending_ends=True,
        )
        results |= zip([*links, *others, *named], outcomes, strict=True)
        results |= {index: named_by(LINK, results[index], named_links[index], field="link") for index in named}
        others = {index: deletion for index, deletion in others.items() if isinstance(results[index], NotFound)}
    named, errors = _found(batch, await lock_ends_of_relationships(connection, named_relationships, before), field="relationship")
    results |= errors
    if relationships or others or named:
        outcomes = await relationship.upsert_each(
            connection,
            list(relationships.values()),
            deletions=[*others.values(), *named.values()],
            reject_restatement=True,
            allow_pending_ends=True,
        )
        results |= zip([*relationships, *others, *named], outcomes, strict=True)
        results |= {
            index: named_by(RELATIONSHIP, results[index], named_relationships[index], field="relationship") for index in named
        }
        for index, deletion in others.items():
            if isinstance(results[index], NotFound):
                results[index] = NotFound(
                    f"There is no asset, lineage link or relationship with the uid {deletion.uid}.", field="uid"
                )
    return [results[index] for index in range(len(batch))]


def _found(
    batch: Sequence[BatchEntry], uids: Mapping[int, UUID | HeadwaterError], *, field: str
) -> tuple[dict[int, Deletion], dict[int, HeadwaterError]]:
    """Return the deletions of what was found by its ends, and the errors of what was not."""
    deletions = {index: Deletion(it, batch[index].at) for index, it in uids.items() if isinstance(it, UUID)}
    errors = {index: it for index, it in uids.items() if isinstance(it, HeadwaterError)}
    for error in errors.values():
        error.field = error.field or field
    return deletions, errors


async def _kinds_of_assets(
    connection: WriteConnection, batch: Sequence[BatchEntry], deletions: Mapping[int, Deletion]
) -> dict[UUID, Kind]:
    """Return the kinds of the assets among the deletions, whether they exist or are created by this batch."""
    created = {it.ref.uid or it.ref.new_uid: it.kind for it in batch if isinstance(it, AssetState)}
    uids = list(dict.fromkeys(it.uid for it in deletions.values()))
    existing = {it.uid: KIND_OF[it.kind] for it in await identities(connection, uids) if it is not None}
    kinds = {uid: existing.get(uid) or created.get(uid) for uid in uids}
    return {uid: kind for uid, kind in kinds.items() if kind is not None}


async def _write_assets(connection: WriteConnection, kind: Kind, entries: Mapping[int, _AssetEntry]) -> WriteResult:
    """Write entries about assets of one kind in one round.

    Names of products and keys of entities may pass from one asset to another within the batch: they must be unique at its end.
    Enforcing that waits for other writers that have written one of these names and have not committed yet. A rival is an asset of
    the batch, or one that is committed.
    """
    names = _UNIQUE_NAMES[kind]
    await connection.execute(names.defer)
    result = await _write_changes(connection, kind, entries)
    if result.conflicts:
        return result
    try:
        async with connection.savepoint():
            await connection.execute(names.enforce)
    except names.error as error:
        conflicts = await _name_conflicts(connection, kind, result.outcomes)
        if not conflicts:
            # the rival is gone: another writer has renamed, deleted or purged it since, so the names may be unique now
            raise TransactionConflict(f"Another writer changed the names of {kind.plural} meanwhile. Try again.") from error
        return result._replace(conflicts=conflicts)
    return result


async def _name_conflicts(connection: WriteConnection, kind: Kind, outcomes: Results) -> list[BatchConflict]:
    """Find the written assets that have a name or key at the same time as another asset, of the batch or not."""
    names = _UNIQUE_NAMES[kind]
    subjects = {it.subject_id for it in outcomes.values() if isinstance(it, Outcome)}
    return [
        BatchConflict(
            (subject_of(kind, row.asset_id), subject_of(kind, row.other_id)), row.since, row.until, names.error(row.name)
        )
        for row in await connection.fetch(names.overlapping, {"subjects": sorted(subjects)})
    ]


async def _write_changes(connection: WriteConnection, kind: Kind, entries: Mapping[int, _AssetEntry]) -> WriteResult:
    """Write entries stage by stage, until there is a conflict."""
    outcomes: Results = {}
    changes: list[SubjectChange] = []
    for stage in _stages(entries, connection.now):
        written = await _write_stage(connection, kind, stage)
        outcomes |= written.outcomes
        changes += written.changes
        if written.conflicts:
            return WriteResult(outcomes, changes, written.conflicts)
    return WriteResult(outcomes, changes)


def _stages(entries: Mapping[int, _AssetEntry], now: datetime) -> list[Mapping[int, _AssetEntry]]:
    """Split entries into stages that are written one after the other.

    A deletion by name follows what states the asset, and the next asset with the name follows the deletion. So a name means in
    each stage what it would if all were written in the order of their instants.
    """
    if not any(isinstance(it, NamedDeletion) for it in entries.values()):
        return [entries]
    stage_of = dict.fromkeys(entries, 0)
    deletions: Counter[AssetRef] = Counter()
    for index, it in sorted(entries.items(), key=lambda entry: entry[1].at or now):
        name = name_of(it)
        if name is not None:
            name = name if name.key is None else name._replace(key=compared_key(name.key))
            stage_of[index] = 2 * deletions[name] + isinstance(it, NamedDeletion)
            deletions[name] += isinstance(it, NamedDeletion)
    stages: defaultdict[int, dict[int, _AssetEntry]] = defaultdict(dict)
    for index, it in entries.items():
        stages[stage_of[index]][index] = it
    return [stages[number] for number in sorted(stages)]


def _missing_error(deletion: NamedDeletion, now: datetime) -> NotFound:
    """Build the error of a deletion whose name no asset of the kind had until its instant."""
    assert isinstance(deletion.ref, AssetRef), "a deletion of an asset"
    field = "entity" if deletion.ref.product is None else "product"
    return missing_asset_error(deletion.ref, deletion.at or now, field=field)


def name_of(entry: _AssetEntry) -> AssetRef | None:
    """Return the name or key by which an entry means its asset. None: it has a uid, or no name."""
    if isinstance(entry, NamedDeletion):
        return entry.ref if isinstance(entry.ref, AssetRef) else None
    if isinstance(entry, Deletion) or entry.ref.uid is not None:
        return None
    if entry.kind is PRODUCT:
        return AssetRef(product=entry.payload["name"])
    return None if entry.ref.key is None else AssetRef(type=entry.ref.type, key=entry.ref.key)


async def _write_stage(connection: WriteConnection, kind: Kind, entries: Mapping[int, _AssetEntry]) -> WriteResult:
    """Add or lock the assets of entries and record the changes, with their effects."""
    specs = await _identity_specs(connection, entries)
    known = {index: spec for index, spec in specs.items() if spec is not None}
    locked = dict(zip(known, await add_or_lock_each(connection, kind, list(known.values())), strict=True))
    if specs != await _identity_specs(connection, entries):
        # until the locks were granted, another writer may have given a name or key to another asset
        raise TransactionConflict(f"Another writer changed the names of {kind.plural} meanwhile. Try again.")
    if kind is PRODUCT:
        await add_domains_of_products(connection, [it.payload for it in entries.values() if isinstance(it, AssetState)])
    outcomes: Results = {}
    assertions: dict[int, Assertion] = {}
    for index, it in entries.items():
        identity = locked.get(index)
        if isinstance(it, NamedDeletion) and identity is None:
            outcomes[index] = _missing_error(it, connection.now)
        elif identity is None and kind is ENTITY:
            outcomes[index] = entity_fields.ambiguous_key()
        elif identity is None:
            outcomes[index] = NotFound(
                "No product has this name at that instant, and the product that had it first has another one. Give its uid.",
                field="name",
            )
        elif isinstance(identity, HeadwaterError):
            outcomes[index] = identity
        elif isinstance(it, Deletion | NamedDeletion):
            assertions[index] = Assertion(identity.asset_id, Operation.DELETE, None, it.at)
        else:
            assertions[index] = Assertion(identity.asset_id, Operation.SET, it.payload, it.at)
    recorded = await record_asset_changes(connection, kind, list(assertions.values()), reject_restatement=True)
    outcomes |= zip(assertions, recorded.outcomes, strict=True)
    changes = [
        subject_change(kind, it, index)
        for index, it in outcomes.items()
        if isinstance(it, Outcome) and isinstance(entries[index], AssetState)
    ]
    return WriteResult(outcomes, changes, recorded.conflicts)


async def _identity_specs(connection: WriteConnection, entries: Mapping[int, _AssetEntry]) -> dict[int, IdentitySpec | None]:
    """Return the assets that entries are about. One without uid is found by its name or key, as `specs_by_name` does."""
    specs: dict[int, IdentitySpec | None] = {}
    namings: dict[int, Naming] = {}
    deletions: dict[int, NamedDeletion] = {}
    for index, it in entries.items():
        if isinstance(it, Deletion):
            specs[index] = IdentitySpec(it.uid, create_missing=False)
        elif isinstance(it, NamedDeletion):
            deletions[index] = it
        elif (name := name_of(it)) is None:
            specs[index] = it.ref
        else:
            namings[index] = Naming(name, it.ref.new_uid, it.at or connection.now)
    if namings:
        specs |= await specs_by_name(connection, namings)
    if deletions:
        specs |= await _specs_of_deletions(connection, deletions)
    return specs


async def _specs_of_deletions(
    connection: WriteConnection, deletions: Mapping[int, NamedDeletion]
) -> dict[int, IdentitySpec | None]:
    """Return the assets that deletions name just before their instants. None: there is no such asset."""
    refs = [it.ref for it in deletions.values() if isinstance(it.ref, AssetRef)]
    instants = [it.before(connection) for it in deletions.values()]
    resolved = await resolve(connection, refs, instants)
    specs: dict[int, IdentitySpec | None] = {}
    for (index, it), asset in zip(deletions.items(), resolved, strict=True):
        is_meant = asset.alive or (it.or_deleted and asset.ever_alive)
        specs[index] = IdentitySpec(asset.uid, create_missing=False) if is_meant else None
    return specs
