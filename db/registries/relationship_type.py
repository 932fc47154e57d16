"""The registry of relationship types: which joins between assets may be, and what they are called from either end."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Text, select

from db.connection import ReadConnection, WriteConnection
from db.consistency.cardinality import check_cardinality_of_type, defer_cardinality
from db.consistency.consistent_dict import ConsistentDict
from db.errors import BadInput, Conflict, HeadwaterError, NotFound, TransactionConflict, UnknownType
from db.fields import code, line, storable
from db.filters import any_of
from db.registries.entity_type import PutOutcome
from db.sql import statement
from db.tables import entity_type as entity_types
from db.tables import relationship_type as relationship_types
from db.temporal.kinds import ASSET_KINDS

CARDINALITIES = ("ONE_TO_ONE", "ONE_TO_MANY", "MANY_TO_ONE", "MANY_TO_MANY")
ON_DELETE = ("CLOSE", "RESTRICT", "CASCADE")
# What an end may be besides a type of entities: any asset of a kind.
KIND_NAMES = tuple(kind.name for kind in ASSET_KINDS)
# How many of the known types a message names.
_NAMED = 10

_ADD = statement("registries/add_relationship_type")
_ADD_KEYS = statement("registries/add_relationship_keys")
_COUNT_USE = statement("registries/count_relationship_type_use")
_KEYS_TAKEN = statement("registries/relationship_keys_taken")
_LOCK = statement("registries/lock_relationship_type")
_REMOVE = statement("registries/remove_relationship_type")
_REMOVE_KEYS = statement("registries/remove_relationship_keys")
_REPEAT_JOINS = statement("registries/sync_cardinality_of_relationships")
_REPEAT_HELD = statement("registries/sync_cardinality_of_effective")
_SHARE = statement("registries/lock_relationship_types_shared")
_UPDATE = statement("registries/update_relationship_type")


@dataclass(frozen=True, slots=True)
class RelationshipTypeRow:
    """A type of joins, from an origin to what is related to it. An end is a kind of asset, or a type of entities."""

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
        """What tells it apart from all others, where its key alone does not."""
        return f"{self.origin} {self.key} {self.related}"

    @property
    def reverse_code(self) -> str:
        """The same, seen from its other end."""
        return f"{self.related} {self.reverse_key} {self.origin}"

    @property
    def is_symmetric(self) -> bool:
        """Whether it reads alike from both ends: then neither of two is the origin."""
        return (self.origin, self.key) == (self.related, self.reverse_key)

    @property
    def one_origin(self) -> bool:
        """Whether what is related has one origin at most."""
        return self.cardinality in ("ONE_TO_ONE", "ONE_TO_MANY")

    @property
    def one_related(self) -> bool:
        """Whether an origin has one at most that is related to it."""
        return self.cardinality in ("ONE_TO_ONE", "MANY_TO_ONE")

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """What it is called from either end: from where, how, towards what."""
        return sorted({(self.origin, self.key, self.related), (self.related, self.reverse_key, self.origin)})


class RelationshipTypes:
    """The registry as a read or a write sees it."""

    def __init__(self, rows: Iterable[RelationshipTypeRow]) -> None:
        self.rows = list(rows)
        self.by_id = ConsistentDict({row.type_id: row for row in self.rows})

    def matching(self, name: str, *, field: str) -> list[RelationshipTypeRow]:
        """The types that a name means: a key may be that of several, with other ends."""
        found = [row for row in self.rows if name in (row.key, row.code)]
        if found:
            return found
        if turned := [row for row in self.rows if row.reverse_key == name]:
            told = f"{name[:100]!r} is what {turned[0].code} is called from its other end."
            ends = f"and leads from {turned[0].origin} to {turned[0].related}"
            raise UnknownType(f"{told} A type is meant by its key, here {turned[0].key!r}, {ends}.", field=field)
        known = self._known(row.key for row in self.rows)
        raise UnknownType(f"There is no relationship type {name[:100]!r}. {known}", field=field)

    def directed_type_ids(self, key: str) -> "DirectedTypeIds":
        """The types that an asset is joined by under a key, as their origin and as what is related. A key with its ends is one
        type's."""
        forward = tuple(row.type_id for row in self.rows if key in (row.key, row.code))
        reverse = tuple(row.type_id for row in self.rows if key in (row.reverse_key, row.reverse_code))
        if not forward and not reverse:
            known = self._known(it for row in self.rows for it in (row.key, row.reverse_key))
            raise UnknownType(f"No relationship type is called {key[:100]!r} from either end. {known}", field="key")
        return DirectedTypeIds(forward, reverse)

    @staticmethod
    def _known(names: Iterable[str]) -> str:
        known = sorted(set(names))
        if not known:
            return "None is registered yet."
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        return f"There are {', '.join(known[:_NAMED])}{more}."


@dataclass(frozen=True, slots=True)
class DirectedTypeIds:
    """The types along which an asset is joined: those whose origin it is, and those whose related end."""

    forward: tuple[int, ...]
    reverse: tuple[int, ...]


async def all_relationship_types(connection: ReadConnection) -> RelationshipTypes:
    """Every type, in order of its code."""
    t = relationship_types.c
    mine = select(relationship_types).where(t.tenant_id == connection.tenant_id)
    return RelationshipTypes(_row(it) for it in await connection.fetch(mine.order_by(t.origin, t.key, t.related)))


async def lock_types_shared(connection: WriteConnection, names: Collection[str]) -> RelationshipTypes:
    """The registry, of which the types with these names stay as they are until the transaction ends."""
    shared = {row.id for row in await connection.fetch(_SHARE, {"names": sorted(name for name in names if storable(name))})}
    rows = (await all_relationship_types(connection)).rows
    # one that came in between would not stay as it is
    return RelationshipTypes(it for it in rows if it.type_id in shared or not {it.key, it.code} & set(names))


async def put(connection: WriteConnection, **fields: Any) -> RelationshipTypeRow:
    """Register a type, or replace the whole of what is registered of it."""
    row = validate_state(**fields)
    (put,) = await put_each(connection, [row])
    if isinstance(put, HeadwaterError):
        raise put
    return row


def validate_state(
    key: str,
    reverse_key: str,
    origin: str,
    related: str,
    cardinality: str,
    on_delete: str | None = None,
    foreign_key_field: str | None = None,
) -> RelationshipTypeRow:
    """A whole type: what is left out takes its default."""
    if cardinality not in CARDINALITIES:
        raise BadInput(f"cardinality is one of {', '.join(CARDINALITIES)}.", field="cardinality")
    if on_delete is not None and on_delete not in ON_DELETE:
        raise BadInput(f"onDelete is one of {', '.join(ON_DELETE)}. Left out, it is CLOSE.", field="onDelete")
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
        reason = "Where key, reverseKey and the ends are alike there is no one beside many: the cardinality is MANY_TO_MANY."
        raise BadInput(f"{reason} Or call the two ends by two names.", field="cardinality")
    return row


async def put_each(connection: WriteConnection, rows: Sequence[RelationshipTypeRow]) -> list[PutOutcome | HeadwaterError]:
    """Register types, each once, or replace the whole of what is registered of them. Each is accepted or refused by itself; there
    are few, so they are written one by one, always in the same order."""
    known = await _entity_types(connection, {end for row in rows for end in (row.origin, row.related)})
    found: dict[str, PutOutcome | HeadwaterError] = {}
    for row in sorted(rows, key=lambda it: it.code):
        try:
            for name, end in (("origin", row.origin), ("related", row.related)):
                if end not in KIND_NAMES and end not in known:
                    reason = f"There is no entity type {end!r}. An end is one, or {' or '.join(KIND_NAMES)}."
                    raise UnknownType(reason, field=name)
            async with connection.savepoint():
                found[row.code] = await _put(connection, row)
        except (Conflict, UnknownType) as refused:
            found[row.code] = refused
    return [found[row.code] for row in rows]


async def remove(connection: WriteConnection, name: str) -> None:
    """Take a type out of the registry by which nothing is joined, or ever was."""
    rows = [row for row in (await all_relationship_types(connection)).rows if name in (row.key, row.code)]
    if not rows:
        raise NotFound(f"There is no relationship type {name[:100]!r}.", field="code")
    if len(rows) > 1:
        raise Conflict(f"{name} is the key of several types: {_codes(rows)}. Name one of them like this.", field="code")
    (row,) = rows
    # whoever is about to join by it waits for the lock, and whoever just did is counted
    if await _locked(connection, row) is None:
        raise NotFound(f"There is no relationship type {row.code}.", field="code")
    joins = await _joins(connection, row.type_id)
    if joins:
        told = "1 join is" if joins == 1 else f"{joins} joins are"
        raise Conflict(f"{told} of this type (ended ones count: their history needs it). It cannot be removed.", field="code")
    await connection.execute(_REMOVE_KEYS, {"type": row.type_id, "near": [], "keys": [], "far": []})
    await connection.execute(_REMOVE, {"type": row.type_id})


async def _put(connection: WriteConnection, row: RelationshipTypeRow) -> PutOutcome:
    stated = {
        "origin": row.origin,
        "key": row.key,
        "related": row.related,
        "reverse_key": row.reverse_key,
        "cardinality": row.cardinality,
        "on_delete": row.on_delete,
        "foreign_key_field": row.foreign_key_field,
    }
    before = await _locked(connection, row)
    added = await connection.fetch_one(_ADD, stated) if before is None else None
    if added is not None:
        await _call(connection, replace(row, type_id=added.id))
        return PutOutcome(created=True, changed=True)
    # another writer may have registered it meanwhile
    before = before or await _locked(connection, row)
    if before is None:
        raise _overtaken()
    if before == row:
        return PutOutcome(created=False, changed=False)
    if before.is_symmetric != row.is_symmetric and await _joins(connection, before.type_id):
        told = "There are joins of this type. One that reads alike from both ends has no origin, so only a type without joins can"
        raise Conflict(f"{told} become one, or cease to be one.", field="reverseKey")
    await connection.execute(_UPDATE, {**stated, "type": before.type_id})
    await _call(connection, replace(row, type_id=before.type_id))
    if before.cardinality != row.cardinality:
        await defer_cardinality(connection)
        await connection.execute(_REPEAT_JOINS, {"type": before.type_id})
        await connection.execute(_REPEAT_HELD, {"type": before.type_id})
        if (conflict := await check_cardinality_of_type(connection, before.type_id)) is not None:
            raise conflict
    return PutOutcome(created=False, changed=True)


async def _call(connection: WriteConnection, row: RelationshipTypeRow) -> None:
    """Let a type be called as it says from either end, if nothing else is called so."""
    near, keys, far = zip(*row.keys, strict=True)
    called = {"type": row.type_id, "near": list(near), "keys": list(keys), "far": list(far)}
    await connection.execute(_REMOVE_KEYS, called)
    await connection.execute(_ADD_KEYS, called)
    taken = await connection.fetch_one(_KEYS_TAKEN, called)
    if taken is not None:
        if taken.code is None:
            raise _overtaken()
        at_fault = "key" if (taken.near, taken.key, taken.far) == (row.origin, row.key, row.related) else "reverseKey"
        told = f"{taken.near} {taken.key} {taken.far} is what the type {taken.code} is called from {taken.seen_from}."
        raise Conflict(f"{told} Nothing is called so twice.", field=at_fault)


async def _joins(connection: WriteConnection, type_id: int) -> int:
    """How many joins are of a type, or ever were."""
    use = await connection.fetch_one(_COUNT_USE, {"type": type_id})
    return int(use.joins) if use else 0


def _overtaken() -> TransactionConflict:
    """Another type was in the way when this one was written, and is gone by now."""
    return TransactionConflict("Another writer removed a relationship type meanwhile. Try again.")


async def _locked(connection: WriteConnection, row: RelationshipTypeRow) -> RelationshipTypeRow | None:
    found = await connection.fetch_one(_LOCK, {"origin": row.origin, "key": row.key, "related": row.related})
    return None if found is None else _row(found)


async def _entity_types(connection: ReadConnection, codes: Collection[str]) -> set[str]:
    """Which of these are types of entities."""
    t = entity_types.c
    rows = await connection.fetch(select(t.code).where(t.tenant_id == connection.tenant_id, t.code == any_of(codes, Text)))
    return {row.code for row in rows}


def _codes(rows: Iterable[RelationshipTypeRow]) -> str:
    return ", ".join(row.code for row in rows)


def _row(row: Any) -> RelationshipTypeRow:
    return RelationshipTypeRow(
        row.origin, row.key, row.related, row.reverse_key, row.cardinality, row.on_delete, row.foreign_key_field, row.id
    )
