"""Registry of relationship types: the relationships that assets may have, with a key from either end."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Text, select

from db.connection import ReadConnection, WriteConnection
from db.consistency.cardinality import check_cardinality_of_type, defer_cardinality
from db.consistency.consistent_dict import ConsistentDict
from db.entry_list import EntryList
from db.errors import BadInput, Conflict, HeadwaterError, NotFound, TransactionConflict, UnknownType
from db.fields import code, excerpt, line, storable
from db.filters import TENANT, any_of, distinct
from db.registries.registry import PutOutcome, RegistryRecord, put_one, record_of, unknown_type
from db.sql import compose, statement
from db.tables import entity_type as entity_types
from db.tables import relationship_type as relationship_types
from db.temporal.kinds import ASSET_KINDS

CARDINALITIES = ("ONE_TO_ONE", "ONE_TO_MANY", "MANY_TO_ONE", "MANY_TO_MANY")
ON_DELETE = ("CLOSE", "RESTRICT", "CASCADE")
# An end is an entity type or one of these, which admit any asset of the kind.
KIND_NAMES = tuple(kind.name for kind in ASSET_KINDS)

_KNOWN_ENTITY_TYPES = compose(
    select(entity_types.c.code).where(entity_types.c.tenant_id == TENANT, entity_types.c.code == any_of("codes", Text))
)
_ADD = statement("registries/add_relationship_type")
_ADD_KEYS = statement("registries/add_relationship_keys")
_COUNT_USE = statement("registries/count_relationship_type_use")
_KEYS_TAKEN = statement("registries/relationship_keys_taken")
_LOCK = statement("registries/lock_relationship_type")
_LOCK_SHARED = statement("registries/lock_relationship_types_shared")
_REMOVE = statement("registries/remove_relationship_type")
_REMOVE_KEYS = statement("registries/remove_relationship_keys")
_SYNC_RELATIONSHIPS = statement("registries/sync_cardinality_of_relationships")
_SYNC_EFFECTIVE = statement("registries/sync_cardinality_of_effective")
_UPDATE = statement("registries/update_relationship_type")


@dataclass(frozen=True, slots=True)
class RelationshipTypeRow(RegistryRecord):
    """A type of relationships that lead from an origin to a related asset. Each end is an entity type or a kind of asset."""

    origin: str
    key: str
    related: str
    reverse_key: str
    cardinality: str
    on_delete: str
    foreign_key_field: str | None
    type_id: int = field(default=0, compare=False)

    @property
    def code(self) -> str:
        """The key with both ends, which no other type has."""
        return f"{self.origin} {self.key} {self.related}"

    @property
    def reverse_code(self) -> str:
        """The reverse key with both ends."""
        return f"{self.related} {self.reverse_key} {self.origin}"

    @property
    def is_symmetric(self) -> bool:
        """True if key and ends are the same from both sides, so that neither asset of a relationship is the origin."""
        return (self.origin, self.key) == (self.related, self.reverse_key)

    @property
    def one_origin(self) -> bool:
        """True if a related asset has at most one origin."""
        return self.cardinality in ("ONE_TO_ONE", "ONE_TO_MANY")

    @property
    def one_related(self) -> bool:
        """True if an origin has at most one related asset."""
        return self.cardinality in ("ONE_TO_ONE", "MANY_TO_ONE")

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """The keys from both sides, each with its near end and its far end."""
        return sorted({(self.origin, self.key, self.related), (self.related, self.reverse_key, self.origin)})


@dataclass(frozen=True, slots=True)
class DirectedTypeIds:
    """The types of the relationships of an asset: those of which it is the origin, and those of which it is the related asset."""

    forward: tuple[int, ...]
    reverse: tuple[int, ...]


def _row(row: Any) -> RelationshipTypeRow:
    return RelationshipTypeRow(
        origin=row.origin,
        key=row.key,
        related=row.related,
        reverse_key=row.reverse_key,
        cardinality=row.cardinality,
        on_delete=row.on_delete,
        foreign_key_field=row.foreign_key_field,
        type_id=row.id,
        **record_of(row),
    )


_T = relationship_types.c
# All relationship types, in order of their codes.
RELATIONSHIP_TYPES = EntryList(relationship_types, _row, _T.origin, _T.key, _T.related)


class RelationshipTypes:
    """Relationship types with look-ups by id and by name."""

    def __init__(self, rows: Iterable[RelationshipTypeRow]) -> None:
        self.rows = list(rows)
        self.by_id = ConsistentDict({row.type_id: row for row in self.rows})

    def named(self, name: str) -> list[RelationshipTypeRow]:
        """Return the types with a name, if there are any."""
        return [row for row in self.rows if name in (row.key, row.code)]

    def matching(self, name: str, *, field: str, like: str | None = None) -> list[RelationshipTypeRow]:
        """Return the types with a name: a code, or a key, which types with different ends may share. The error for an unknown
        name lists the keys that are most like `like` first."""
        rows = self.named(name)
        if rows:
            return rows
        for row in self.rows:
            if row.reverse_key == name:
                raise UnknownType(
                    f"{excerpt(name)} is the reverse key of the relationship type {row.code}. Name the type by its key,"
                    f" {row.key!r}: it leads from {row.origin} to {row.related}.",
                    field=field,
                    blind=f"{excerpt(name)} is the reverse key of a relationship type. Name the type by its key.",
                )
        raise unknown_type(
            f"There is no relationship type {excerpt(name)}.", {row.key for row in self.rows}, field=field, like=like
        )

    def directed_type_ids(self, key: str) -> DirectedTypeIds:
        """Return the types that an asset sees under a key or code, from their origin and from their other end."""
        forward = tuple(row.type_id for row in self.rows if key in (row.key, row.code))
        reverse = tuple(row.type_id for row in self.rows if key in (row.reverse_key, row.reverse_code))
        if not forward and not reverse:
            known = {name for row in self.rows for name in (row.key, row.reverse_key)}
            raise unknown_type(f"No relationship type has the key or reverse key {excerpt(key)}.", known, field="key", like=key)
        return DirectedTypeIds(forward, reverse)


async def all_relationship_types(connection: ReadConnection) -> RelationshipTypes:
    """Read all relationship types in order of their codes."""
    return RelationshipTypes(await RELATIONSHIP_TYPES.all(connection))


async def lock_types_shared(connection: WriteConnection, names: Collection[str]) -> RelationshipTypes:
    """Read all relationship types. Those with these names, keys or codes, do not change before the transaction ends."""
    rows = await connection.fetch(_LOCK_SHARED, {"names": sorted(name for name in names if storable(name))})
    locked = {row.id for row in rows}
    types = (await all_relationship_types(connection)).rows
    # a type that was added between the two statements is not locked, so it is left out
    return RelationshipTypes(it for it in types if it.type_id in locked or not {it.key, it.code} & set(names))


async def put(connection: WriteConnection, **fields: Any) -> RelationshipTypeRow:
    """Register a relationship type, or replace the one with this key and these ends."""
    return await put_one(connection, validate_state(**fields), put_each)


def validate_state(
    key: str,
    reverse_key: str,
    origin: str,
    related: str,
    cardinality: str,
    on_delete: str | None = None,
    foreign_key_field: str | None = None,
) -> RelationshipTypeRow:
    """Validate a whole relationship type."""
    if cardinality not in CARDINALITIES:
        raise BadInput(
            f"cardinality is {excerpt(cardinality)}. It must be one of {', '.join(CARDINALITIES)}.", field="cardinality"
        )
    if on_delete is not None and on_delete not in ON_DELETE:
        raise BadInput(
            f"onDelete is {excerpt(on_delete)}. It must be one of {', '.join(ON_DELETE)}, or left out for CLOSE.",
            field="onDelete",
        )
    row = RelationshipTypeRow(
        origin=code("origin", origin),
        key=code("key", key),
        related=code("related", related),
        reverse_key=code("reverseKey", reverse_key),
        cardinality=cardinality,
        on_delete=on_delete or "CLOSE",
        foreign_key_field=None if foreign_key_field is None else line("foreignKeyField", foreign_key_field),
    )
    if row.is_symmetric and row.cardinality != "MANY_TO_MANY":
        raise BadInput(
            f"cardinality is {row.cardinality}. It must be MANY_TO_MANY if key and ends are the same from both sides. Or"
            f" give another"
            " reverseKey.",
            field="cardinality",
        )
    return row


async def put_each(connection: WriteConnection, rows: Sequence[RelationshipTypeRow]) -> list[PutOutcome | HeadwaterError]:
    """Register relationship types with different codes, or replace those with their codes. Return the outcome or the error of
    each.

    They are few, so they are written one by one, in order of the code, so that two batches cannot deadlock.
    """
    known = await _known_entity_types(connection, {end for row in rows for end in (row.origin, row.related)})
    outcomes: dict[str, PutOutcome | HeadwaterError] = {}
    for row in sorted(rows, key=lambda it: it.code):
        outcomes[row.code] = _end_error(row, known) or await _put_or_roll_back(connection, row)
    return [outcomes[row.code] for row in rows]


async def remove(connection: WriteConnection, name: str) -> None:
    """Remove the relationship type with a name: a code, or a key that no other type has. Raise Conflict if it has or had a
    relationship."""
    rows = (await all_relationship_types(connection)).named(name)
    if len(rows) > 1:
        codes = ", ".join(row.code for row in rows)
        several = f"Several relationship types have the key {name!r}"
        remedy = "Name one of them by its code."
        raise Conflict(f"{several}: {codes}. {remedy}", field="code", blind=f"{several}. {remedy}")
    # the lock waits for writers that have used the type, and later writers wait for it, so the count below is exact
    if not rows or await _lock(connection, rows[0]) is None:
        raise NotFound(f"There is no relationship type {excerpt(name)}.", field="code")
    (row,) = rows
    relationships = await _count_relationships(connection, row.type_id)
    if relationships:
        have = "1 relationship has" if relationships == 1 else f"{relationships} relationships have"
        consequence = "ended relationships included. It cannot be removed."
        blind = f"Relationships have the type {name!r}, {consequence}"
        raise Conflict(f"{have} the type {row.code}, {consequence}", field="code", blind=blind)
    await connection.execute(_REMOVE_KEYS, {"type": row.type_id, "near": [], "keys": [], "far": []})
    await connection.execute(_REMOVE, {"type": row.type_id})


async def _put_or_roll_back(connection: WriteConnection, row: RelationshipTypeRow) -> PutOutcome | HeadwaterError:
    """Put a relationship type. Undo its writes and return the error if it conflicts with others."""
    try:
        async with connection.savepoint():
            return await _put(connection, row)
    except (Conflict, UnknownType) as error:
        return error


async def _put(connection: WriteConnection, row: RelationshipTypeRow) -> PutOutcome:
    fields = {
        "origin": row.origin,
        "key": row.key,
        "related": row.related,
        "reverse_key": row.reverse_key,
        "cardinality": row.cardinality,
        "on_delete": row.on_delete,
        "foreign_key_field": row.foreign_key_field,
        "actor": connection.author.actor,
    }
    before = await _lock(connection, row)
    added = await connection.fetch_one(_ADD, fields) if before is None else None
    if added is not None:
        await _put_keys(connection, replace(row, type_id=added.id))
        return PutOutcome(created=True, changed=True, record=RegistryRecord(**record_of(added)))
    # another writer may have added it since the first attempt to lock it
    before = before or await _lock(connection, row)
    if before is None:
        raise _concurrent_removal()
    if before == row:
        return PutOutcome(created=False, changed=False, record=RegistryRecord(**record_of(before)))
    if before.is_symmetric != row.is_symmetric and await _count_relationships(connection, before.type_id):
        raise Conflict(
            f"The relationship type {row.code} has relationships, which have an origin only if key or ends differ from"
            f" both sides."
            f" Keep the reverseKey {before.reverse_key!r}.",
            field="reverseKey",
            blind="The relationship type has relationships, which have an origin only if key or ends differ from both sides. Keep"
            " the reverseKey.",
        )
    (updated,) = await connection.fetch(_UPDATE, {**fields, "type": before.type_id})
    await _put_keys(connection, replace(row, type_id=before.type_id))
    if before.cardinality != row.cardinality:
        await defer_cardinality(connection)
        await connection.execute(_SYNC_RELATIONSHIPS, {"type": before.type_id})
        await connection.execute(_SYNC_EFFECTIVE, {"type": before.type_id})
        if (conflict := await check_cardinality_of_type(connection, before.type_id)) is not None:
            raise conflict
    return PutOutcome(created=False, changed=True, record=RegistryRecord(**record_of(updated)))


async def _put_keys(connection: WriteConnection, row: RelationshipTypeRow) -> None:
    """Register the keys of a type from either end. Raise Conflict if another type has one of them."""
    near, keys, far = zip(*row.keys, strict=True)
    parameters = {"type": row.type_id, "near": list(near), "keys": list(keys), "far": list(far)}
    await connection.execute(_REMOVE_KEYS, parameters)
    await connection.execute(_ADD_KEYS, parameters)
    taken = await connection.fetch_one(_KEYS_TAKEN, parameters)
    if taken is None:
        return
    if taken.code is None:
        raise _concurrent_removal()
    field = "key" if (taken.near, taken.key, taken.far) == (row.origin, row.key, row.related) else "reverseKey"
    raise Conflict(
        f"{field} is {taken.key!r}, which from {taken.near} to {taken.far} is {taken.use} of the relationship type {taken.code}."
        " Choose another.",
        field=field,
        blind=f"{field} is taken by another relationship type between the same ends. Choose another.",
    )


def _end_error(row: RelationshipTypeRow, known: Collection[str]) -> UnknownType | None:
    """Return an error if an end of a type is neither a known entity type nor a kind of asset."""
    for field_name, end in (("origin", row.origin), ("related", row.related)):
        if end not in KIND_NAMES and end not in known:
            return UnknownType(
                f"{field_name} is {excerpt(end)}, which is not an entity type. Register it, or give {' or '.join(KIND_NAMES)}.",
                field=field_name,
            )
    return None


async def _count_relationships(connection: WriteConnection, type_id: int) -> int:
    """Count the relationships that have a type, ended ones included."""
    use = await connection.fetch_one(_COUNT_USE, {"type": type_id})
    return int(use.relationships) if use else 0


def _concurrent_removal() -> TransactionConflict:
    """Build the error for a type that was in the way of a write and is gone when it is read."""
    return TransactionConflict("Another writer has just removed a relationship type. Try again.")


async def _lock(connection: WriteConnection, row: RelationshipTypeRow) -> RelationshipTypeRow | None:
    """Lock the registered type with the code of a row until the transaction ends, and return it."""
    registered = await connection.fetch_one(_LOCK, {"origin": row.origin, "key": row.key, "related": row.related})
    return None if registered is None else _row(registered)


async def _known_entity_types(connection: ReadConnection, codes: Collection[str]) -> set[str]:
    """Return those of these codes that entity types have."""
    rows = await connection.fetch(_KNOWN_ENTITY_TYPES, {"codes": distinct(codes)})
    return {row.code for row in rows}
