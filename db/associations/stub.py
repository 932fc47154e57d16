"""Stubs: assets of which only the name or the key is known yet, because something refers to them.

Any other assertion about the asset overrides its stub, even one for an earlier instant.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from db.assets import entity_fields, product_fields
from db.assets.asset import IdentitySpec, add_or_lock_each, identities
from db.assets.entity_key import compared_key, entity_uid_by_key
from db.assets.product import add_domains_of_products, product_uid_by_name
from db.assets.reference import UNRESOLVED, AssetRef, ResolvedAsset, resolve
from db.associations.association import EndRefs
from db.associations.relationship_fields import is_identifier
from db.connection import WriteConnection
from db.consistency.batch_conflicts import BatchConflict, SubjectChange, WriteResult, subject_change
from db.consistency.lifecycle import record_asset_changes
from db.errors import Conflict, KeyTaken, NameTaken, TransactionConflict
from db.fields import line
from db.registries.type_registry import read_type_registry
from db.sql import statement
from db.temporal.change_log import Assertion, Operation, raise_first_error
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT

_TYPES = statement("associations/stub_types")

# The domain and the owner of a product until it is registered.
UNASSIGNED = "unassigned"


class Stub(NamedTuple):
    """An asset that must exist from an instant on, and the index of the batch entry that refers to it. None is now."""

    ref: AssetRef
    # uid of the asset that has the name or key later only, if one has
    uid: UUID | None
    at: datetime | None
    entry_index: int

    @classmethod
    def of(cls, ref: AssetRef, asset: ResolvedAsset, at: datetime | None, entry_index: int) -> "Stub":
        """Return the stub of a reference that means nothing, or an asset that was never recorded until the instant."""
        return cls(ref, asset.uid if asset.is_found else None, at, entry_index)

    @property
    def subject(self) -> AssetRef:
        """The reference with the key as it is compared, which is the same for all references to one asset."""
        return self.ref if self.ref.key is None else self.ref._replace(key=compared_key(self.ref.key))

    @property
    def identity_spec(self) -> IdentitySpec:
        """The specification of the asset, with the derived uid if it has no other one."""
        return IdentitySpec(self.uid or self.derived_uid, self.ref.type)

    @property
    def derived_uid(self) -> UUID:
        """The uid of an asset of which only the name or key is known."""
        if self.ref.product is not None:
            return product_uid_by_name(self.ref.product)
        return entity_uid_by_key(self.ref.type or "", self.ref.key or "")

    @property
    def resolved(self) -> ResolvedAsset:
        """The entity once the stub is created, or UNRESOLVED if its key does not identify a record in another system."""
        type_, key = self.ref.type, self.ref.key
        if type_ is None or key is None or not is_identifier(key):
            return UNRESOLVED
        return ResolvedAsset(0, self.uid or self.derived_uid, ENTITY.name, type_, alive=True, ever_alive=True)


async def sourced_types(connection: WriteConnection, codes: Collection[str]) -> dict[str, str]:
    """Return the labels of those entity types that have an external source, and lock these against changes."""
    return await _type_labels(connection, codes, with_source=True)


async def create_missing_ends(connection: WriteConnection, refs: EndRefs, *, fields: tuple[str, str]) -> None:
    """Create the ends that were never recorded until the instant. The errors of an end name its field of `fields`.

    A uid identifies an asset that exists, so that it never creates one. An end that was deleted stays deleted.
    """
    named = [(field, ref) for field, ref in zip(fields, (refs.near, refs.far), strict=True) if ref.uid is None]
    resolved = await resolve(connection, [ref for _, ref in named], [refs.at] * len(named))
    missing = {ref: (field, asset) for (field, ref), asset in zip(named, resolved, strict=True) if not asset.ever_alive}
    types = {ref.type for ref in missing if ref.type is not None}
    labels = await _type_labels(connection, types, with_source=False) if types else {}
    for ref, (field, asset) in missing.items():
        if ref.product is not None:
            line(field, ref.product)
        else:
            if ref.type is not None and ref.type not in labels:
                (await read_type_registry(connection)).require_entity(ref.type, field=field)
            entity_fields.key(ref.key or "", field=field)
        if not asset.is_creatable:
            raise _taken_later(ref, asset, field)
    stubs = [Stub.of(ref, asset, refs.at, 0) for ref, (_, asset) in missing.items()]
    created = await create_stubs(connection, labels, stubs)
    for conflict in created.conflicts:
        raise conflict.error


def _taken_later(ref: AssetRef, asset: ResolvedAsset, field: str) -> Conflict:
    """Build the error of a name or key that an asset which exists gets later."""
    taken = f"The {ref} cannot be created, because another asset has that {'key' if ref.product is None else 'name'} later."
    return Conflict(taken if asset.holder is None else f"{taken} {asset.holder}", field=field, blind=taken)


async def create_stubs(connection: WriteConnection, labels: Mapping[str, str], stubs: Sequence[Stub]) -> WriteResult:
    """Create the assets that do not exist, each from the first instant at which it is needed.

    `labels` has the labels of the types of the entities. Return the changes of the assets and the conflicts: relationships that
    are stored already may become effective with them.
    """
    changes: list[SubjectChange] = []
    conflicts: list[BatchConflict] = []
    for kind, of_kind in (
        (PRODUCT, [it for it in stubs if it.ref.product is not None]),
        (ENTITY, [it for it in stubs if it.ref.product is None]),
    ):
        if of_kind:
            created = await _create_stubs(connection, kind, labels, of_kind)
            changes += created.changes
            conflicts += created.conflicts
    return WriteResult({}, changes, conflicts)


async def _create_stubs(connection: WriteConnection, kind: Kind, labels: Mapping[str, str], stubs: Sequence[Stub]) -> WriteResult:
    since: dict[AssetRef, datetime | None] = {}
    first: dict[AssetRef, Stub] = {}
    for stub in await _with_unused_uids(connection, stubs):
        since[stub.subject] = _earlier(since.get(stub.subject, stub.at), stub.at)
        first.setdefault(stub.subject, stub)
    states = {it: _product_state(it) if kind is PRODUCT else _entity_state(first[it].ref, labels) for it in since}
    locked = await add_or_lock_each(connection, kind, [first[it].identity_spec for it in since])
    identity_of = dict(zip(since, raise_first_error(locked), strict=True))
    if kind is PRODUCT:
        await add_domains_of_products(connection, states.values())
    assertions = [Assertion(identity_of[it].asset_id, Operation.STUB, states[it], at) for it, at in since.items()]
    try:
        recorded, conflicts = await record_asset_changes(connection, kind, assertions)
    except (KeyTaken, NameTaken) as error:
        # the next attempt finds the asset
        raise TransactionConflict("Another writer gave one of these names or keys to an asset meanwhile. Try again.") from error
    outcomes = dict(zip(since, raise_first_error(recorded), strict=True))
    changes = []
    for stub in stubs:
        change = subject_change(kind, outcomes[stub.subject], stub.entry_index)
        if stub.at == since[stub.subject]:
            changes.append(change)
        else:
            # it would create the asset if the first one did not
            changes.append(change._replace(at=stub.at or connection.now, changed=False))
    return WriteResult({}, changes, conflicts)


async def _with_unused_uids(connection: WriteConnection, stubs: Sequence[Stub]) -> list[Stub]:
    """Give a random uid to each stub whose derived uid is that of an asset with another name or key."""
    derived = [it.derived_uid for it in stubs if it.uid is None]
    used = {it.uid for it in await identities(connection, derived) if it is not None} if derived else set()
    return [it._replace(uid=uuid4()) if it.uid is None and it.derived_uid in used else it for it in stubs]


def _product_state(ref: AssetRef) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": ref.product, "domain": UNASSIGNED, "owner": UNASSIGNED, "schema": {}, "version": "0.0.0"}
    return product_fields.validate_state(fields)


def _entity_state(ref: AssetRef, labels: Mapping[str, str]) -> dict[str, Any]:
    label = f"{labels[ref.type or '']} {ref.key}"
    return {"display_name": label[: entity_fields.DISPLAY_NAME_LENGTH].strip(), "details": {}, "keys": [ref.key]}


async def _type_labels(connection: WriteConnection, codes: Collection[str], *, with_source: bool) -> dict[str, str]:
    """Return the labels of entity types, and lock the types against changes."""
    rows = await connection.fetch(_TYPES, {"codes": sorted(codes), "with_source": with_source})
    return {row.code: row.label for row in rows}


def _earlier(first: datetime | None, second: datetime | None) -> datetime | None:
    """Return the earlier of two instants. None is now, which is later than any instant."""
    if first is None or second is None:
        return first or second
    return min(first, second)
