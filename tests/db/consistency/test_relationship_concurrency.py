"""Concurrent writers of relationships, of their types and of their ends: the result is one that they could have in turn."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from db.assets import asset, product
from db.assets.asset import Deletion
from db.assets.reference import AssetRef
from db.associations import relationship
from db.associations.reference import relationship_uid
from db.associations.relationship import RelationshipState
from db.author import Author
from db.bulk.ingest import ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import BadInput, Conflict, HeadwaterError, NotFound, TransactionConflict, UnknownType
from db.registries import entity_type, relationship_type
from db.registries.relationship_type import CARDINALITIES, all_relationship_types
from db.sql import statement
from db.temporal.change_log import raise_first_error
from db.temporal.kinds import PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields
from tests.db.consistency.lock_waits import wait_until_queued

ATTEMPTS = 30

Write: TypeAlias = Callable[[WriteConnection], Awaitable[Any]]
# Origin, related end, and the first and the last day of each period in which a relationship is effective.
EffectivePeriods: TypeAlias = list[tuple[int, int, int, int | None]]


def uid(number: int) -> UUID:
    return UUID(int=number)


def uid_of_relationship(origin: int, related: int) -> UUID:
    return relationship_uid(type_row("MANY_TO_MANY"), uid(origin), uid(related))


def type_row(cardinality: str, on_delete: str = "CLOSE") -> relationship_type.RelationshipTypeRow:
    return relationship_type.validate_state("feeds", "fed_by", "PRODUCT", "PRODUCT", cardinality, on_delete)


def state(origin: int, related: int, at: float) -> RelationshipState:
    return RelationshipState("feeds", AssetRef(uid=uid(origin)), AssetRef(uid=uid(related)), {"attributes": {}}, day(at))


def relate(origin: int, related: int, at: float) -> Write:
    return lambda connection: relationship.relate(connection, state(origin, related, at))


def ingest_relationship(origin: int, related: int, at: float) -> Write:
    return lambda connection: raising(ingest(connection, [state(origin, related, at)]))


def unrelate(origin: int, related: int, at: float) -> Write:
    return lambda connection: relationship.unrelate(connection, uid_of_relationship(origin, related), at=day(at))


def delete(number: int, at: float) -> Write:
    return lambda connection: asset.delete(connection, PRODUCT, uid(number), at=day(at))


def ingest_deletion(number: int, at: float) -> Write:
    return lambda connection: raising(ingest(connection, [Deletion(uid(number), day(at))]))


def restore(number: int, at: float) -> Write:
    return lambda connection: asset.restore(connection, PRODUCT, uid(number), at=day(at))


def put(cardinality: str, on_delete: str = "CLOSE") -> Write:
    return lambda connection: raising(relationship_type.put_each(connection, [type_row(cardinality, on_delete)]))


async def remove_type(connection: WriteConnection) -> None:
    await relationship_type.remove(connection, "feeds")


async def raising(write: Awaitable[list[Any]]) -> None:
    raise_first_error(await write)


async def attempt(database: Database, write: Write) -> HeadwaterError | None:
    """Run a write in a transaction and return its error. Repeat it after a TransactionConflict, as the executor does."""
    for _ in range(ATTEMPTS):
        try:
            async with database.transaction(1, Author("writer")) as connection:
                await write(connection)
        except TransactionConflict:
            await asyncio.sleep(0)
        except HeadwaterError as error:
            return error
        else:
            return None
    raise AssertionError("every attempt met a transaction conflict")


async def set_up(database: Database, before: list[Write]) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        for number in range(1, 5):
            await product.register(connection, product_fields(f"p{number}"), uid=uid(number), at=day(0))
        for write in before:
            await write(connection)


async def run_overlapping(database: Database, address: str, first: Write, second: Write) -> HeadwaterError | None:
    """Run two writes of which the second waits for the first to commit. Return the error of the second."""
    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await first(connection)
        task = asyncio.create_task(attempt(database, second))
        await wait_until_queued(observer, task=task)
    await observer.close()
    return await task


async def read_effective(address: str) -> EffectivePeriods:
    owner = await asyncpg.connect(address)
    rows = await owner.fetch(
        "SELECT o.uid AS origin, r.uid AS related, valid_from, NULLIF(valid_to, 'infinity') AS valid_to"
        " FROM relationship_effective JOIN asset o ON o.id = origin_id JOIN asset r ON r.id = related_id ORDER BY 1, 2, 3"
    )
    await owner.close()
    return [
        (
            row["origin"].int,
            row["related"].int,
            (row["valid_from"] - day(0)).days,
            row["valid_to"] and (row["valid_to"] - day(0)).days,
        )
        for row in rows
    ]


async def assert_consistent(database: Database) -> None:
    async with database.snapshot(1) as reader:
        assert (await verify_tenant(reader)).differences == []


@pytest.mark.parametrize("instants", [(1, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("write", [relate, ingest_relationship], ids=["single", "bulk"])
@pytest.mark.parametrize(
    ("cardinality", "pairs"),
    [
        ("MANY_TO_ONE", [(1, 2), (1, 3)]),
        ("ONE_TO_MANY", [(1, 3), (2, 3)]),
        ("ONE_TO_ONE", [(1, 2), (1, 3)]),
        ("ONE_TO_ONE", [(1, 3), (2, 3)]),
    ],
)
async def test_of_two_relationships_that_violate_cardinality_the_second_gets_an_error_that_names_both(
    database: Database, address: str, cardinality: str, pairs: list[tuple[int, int]], write: Any, instants: tuple[int, int]
) -> None:
    await set_up(database, [put(cardinality)])
    first, second = pairs
    error = await run_overlapping(database, address, write(*first, instants[0]), write(*second, instants[1]))
    assert isinstance(error, Conflict)
    assert all(str(uid_of_relationship(*ends)) in error.message for ends in pairs)
    assert await read_effective(address) == [(*first, instants[0], None)]
    await assert_consistent(database)


@pytest.mark.parametrize(
    ("cardinality", "pairs"),
    [
        ("MANY_TO_ONE", [(1, 3), (2, 3)]),
        ("ONE_TO_MANY", [(1, 2), (1, 3)]),
        ("ONE_TO_ONE", [(1, 2), (2, 3)]),
    ],
)
async def test_two_relationships_that_share_an_end_and_keep_cardinality_are_both_accepted(
    database: Database, address: str, cardinality: str, pairs: list[tuple[int, int]]
) -> None:
    await set_up(database, [put(cardinality)])
    first, second = pairs
    assert await run_overlapping(database, address, relate(*first, 1), relate(*second, 1)) is None
    assert await read_effective(address) == [(*ends, 1, None) for ends in pairs]


async def test_writers_of_an_unlimited_cardinality_do_not_wait_for_each_other(database: Database, address: str) -> None:
    await set_up(database, [put("MANY_TO_MANY")])
    async with database.transaction(1, Author("first")) as connection:
        await relate(1, 2, 1)(connection)
        async with asyncio.timeout(5):
            assert await attempt(database, relate(1, 3, 1)) is None
    assert await read_effective(address) == [(1, 2, 1, None), (1, 3, 1, None)]


# Writes before, the first and the second write, the error of the second, and the effective periods at the end.
CASES: dict[str, tuple[list[Write], Write, Write, type[HeadwaterError] | None, EffectivePeriods]] = {
    "relate twice": ([put("ONE_TO_ONE")], relate(1, 2, 1), relate(1, 2, 1), None, [(1, 2, 1, None)]),
    "relate, delete the origin": ([put("MANY_TO_MANY")], relate(1, 2, 1), delete(1, 5), None, [(1, 2, 1, 5)]),
    "relate, delete the related end": ([put("ONE_TO_ONE")], relate(1, 2, 1), delete(2, 5), None, [(1, 2, 1, 5)]),
    "relate, delete the origin that it restricts": (
        [put("MANY_TO_MANY", "RESTRICT")], relate(1, 2, 1), delete(1, 5), Conflict, [(1, 2, 1, None)]),
    "relate, delete the related end that it restricts": (
        [put("ONE_TO_ONE", "RESTRICT")], relate(1, 2, 1), delete(2, 5), Conflict, [(1, 2, 1, None)]),
    "relate, delete in bulk the end that it restricts": (
        [put("ONE_TO_ONE", "RESTRICT")], relate(1, 2, 1), ingest_deletion(2, 5), None, [(1, 2, 1, 5)]),
    "relate, delete the origin and cascade": (
        [put("MANY_TO_MANY", "CASCADE"), relate(2, 3, 1)], relate(1, 2, 1), delete(1, 5), None, [(1, 2, 1, 5), (2, 3, 1, 5)]),
    "relate, delete the related end and cascade": (
        [put("ONE_TO_ONE", "CASCADE"), relate(3, 1, 1)], relate(1, 2, 1), delete(2, 5), None, [(1, 2, 1, 5), (3, 1, 1, 5)]),
    "delete, relate before that instant": (
        [put("MANY_TO_MANY", "RESTRICT")], delete(1, 5), relate(1, 2, 1), None, [(1, 2, 1, 5)]),
    "delete, relate after that instant": ([put("ONE_TO_ONE")], delete(1, 5), relate(1, 2, 6), NotFound, []),
    "delete, relate after that instant in bulk": ([put("ONE_TO_ONE")], delete(1, 5), ingest_relationship(1, 2, 6), None, []),
    "restore an end, relate a rival": (
        [put("MANY_TO_ONE"), relate(1, 2, 1), delete(2, 3)], restore(2, 5), relate(1, 3, 4), Conflict,
        [(1, 2, 1, 3), (1, 2, 5, None)]),
    "relate a rival, restore an end": (
        [put("MANY_TO_ONE"), relate(1, 2, 1), delete(2, 3)], relate(1, 3, 4), restore(2, 5), Conflict,
        [(1, 2, 1, 3), (1, 3, 4, None)]),
    "restore the ends of two rivals": (
        [put("MANY_TO_ONE"), relate(1, 2, 1), delete(2, 2), relate(1, 3, 3), delete(3, 4)], restore(2, 5), restore(3, 5),
        Conflict, [(1, 2, 1, 2), (1, 2, 5, None), (1, 3, 3, 4)]),
    "relate, tighten the cardinality below that": (
        [put("MANY_TO_MANY"), relate(1, 2, 1)], relate(1, 3, 2), put("MANY_TO_ONE"), Conflict,
        [(1, 2, 1, None), (1, 3, 2, None)]),
    "relate, tighten the cardinality to that": (
        [put("MANY_TO_MANY"), relate(1, 2, 1)], relate(1, 3, 2), put("ONE_TO_MANY"), None, [(1, 2, 1, None), (1, 3, 2, None)]),
    "tighten the cardinality, relate beyond it": (
        [put("MANY_TO_MANY"), relate(1, 2, 1)], put("MANY_TO_ONE"), relate(1, 3, 2), Conflict, [(1, 2, 1, None)]),
    "restore an end, tighten the cardinality below that": (
        [put("MANY_TO_MANY"), relate(1, 2, 1), delete(2, 2), relate(1, 3, 3)], restore(2, 5), put("MANY_TO_ONE"), Conflict,
        [(1, 2, 1, 2), (1, 2, 5, None), (1, 3, 3, None)]),
    "tighten the cardinality, restore an end beyond it": (
        [put("MANY_TO_MANY"), relate(1, 2, 1), delete(2, 2), relate(1, 3, 3)], put("MANY_TO_ONE"), restore(2, 5), Conflict,
        [(1, 2, 1, 2), (1, 3, 3, None)]),
    "relate, remove the type": ([put("MANY_TO_MANY")], relate(1, 2, 1), remove_type, Conflict, [(1, 2, 1, None)]),
    "remove the type, relate": ([put("MANY_TO_MANY")], remove_type, relate(1, 2, 1), UnknownType, []),
    "remove the type twice": ([put("MANY_TO_MANY")], remove_type, remove_type, NotFound, []),
    "unrelate, delete after that instant without cascade": (
        [put("MANY_TO_MANY", "CASCADE"), relate(1, 2, 1), relate(2, 3, 1)], unrelate(1, 2, 3), delete(1, 5), None,
        [(1, 2, 1, 3), (2, 3, 1, None)]),
    "delete and cascade, unrelate": (
        [put("MANY_TO_MANY", "CASCADE"), relate(1, 2, 1), relate(2, 3, 1)], delete(1, 5), unrelate(2, 3, 4), None,
        [(1, 2, 1, 5), (2, 3, 1, 4)]),
    "unrelate, delete the end that it restricted": (
        [put("MANY_TO_MANY", "RESTRICT"), relate(1, 2, 1)], unrelate(1, 2, 3), delete(1, 5), None, [(1, 2, 1, 3)]),
    "delete both ends and cascade": (
        [put("ONE_TO_ONE", "CASCADE"), relate(1, 2, 1)], delete(1, 5), delete(2, 4), None, [(1, 2, 1, 4)]),
    "unrelate, relate a rival": (
        [put("MANY_TO_ONE"), relate(1, 2, 1)], unrelate(1, 2, 3), relate(1, 2, 4), None, [(1, 2, 1, 3), (1, 2, 4, None)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_the_second_writer_sees_the_writes_of_the_first(database: Database, address: str, case: str) -> None:
    before, first, second, error_type, effective = CASES[case]
    await set_up(database, before)
    error = await run_overlapping(database, address, first, second)
    assert error is None if error_type is None else isinstance(error, error_type), error
    assert await read_effective(address) == effective
    await assert_consistent(database)


async def test_a_rival_is_accepted_only_after_the_end_of_a_relationship_is_committed(database: Database, address: str) -> None:
    """A rival that is written before gets a conflict or waits."""
    await set_up(database, [put("MANY_TO_ONE"), relate(1, 2, 1)])
    async with database.transaction(1, Author("first")) as connection:
        await unrelate(1, 2, 3)(connection)
        rival = asyncio.create_task(attempt(database, relate(1, 3, 4)))
        await asyncio.wait([rival], timeout=0.2)
    assert isinstance(await rival, Conflict | None)
    assert await attempt(database, relate(1, 3, 4)) is None
    assert await read_effective(address) == [(1, 2, 1, 3), (1, 3, 4, None)]
    await assert_consistent(database)


# Key, reverse key, origin and related end of a type, once as its origin sees it and once as its related end does.
TypeNames: TypeAlias = tuple[str, str, str, str]
FORWARD: TypeNames = ("feeds", "fed_by", "PRODUCT", "ENTITY")
REVERSED: TypeNames = ("fed_by", "feeds", "ENTITY", "PRODUCT")


async def put_type(connection: WriteConnection, names: TypeNames) -> None:
    await raising(relationship_type.put_each(connection, [relationship_type.validate_state(*names, "MANY_TO_MANY")]))


@pytest.mark.parametrize("others", [FORWARD, REVERSED], ids=["the same", "reversed"])
async def test_of_types_with_the_same_names_that_are_put_concurrently_one_is_stored(
    database: Database, others: TypeNames
) -> None:
    for _ in range(5):
        names = [FORWARD, others] * 4
        errors = await asyncio.gather(*(attempt(database, partial(put_type, names=it)) for it in names))
        async with database.snapshot(1) as reader:
            (stored,) = (await all_relationship_types(reader)).rows
        assert [error is None for error in errors] == [key == stored.key for key, *_ in names]
        assert all(isinstance(error, Conflict) for error in errors if error is not None)
        await assert_consistent(database)
        assert await attempt(database, partial(relationship_type.remove, name=stored.code)) is None


async def test_types_that_are_put_and_removed_concurrently_stay_consistent(database: Database) -> None:
    async def put_and_remove(rng: random.Random) -> None:
        for _ in range(8):
            key, reverse_key, origin, related = rng.choice([FORWARD, REVERSED])
            names = (key, rng.choice((reverse_key, "other")), origin, related)
            error = await attempt(database, partial(put_type, names=names))
            assert error is None or isinstance(error, Conflict)
            if rng.random() < 0.5:
                error = await attempt(database, partial(relationship_type.remove, name=f"{origin} {key} {related}"))
                assert error is None or isinstance(error, NotFound)

    await asyncio.gather(*(put_and_remove(random.Random(number)) for number in range(6)))
    await assert_consistent(database)


def interleaved(write: Write, steps: Mapping[str, list[Callable[[], Coroutine[Any, Any, None]]]]) -> Write:
    """Build a write that runs the next of the steps before each statement that contains the SQL they are listed under."""

    async def interleave(connection: WriteConnection) -> None:
        execute_original = connection._execute

        async def execute(run: Any, statement: Any, parameters: Any) -> Any:
            for sql, remaining in steps.items():
                if sql in str(statement) and remaining:
                    await remaining.pop(0)()
            return await execute_original(run, statement, parameters)

        connection._execute = execute  # type: ignore[method-assign]
        await write(connection)

    return interleave


async def do_nothing() -> None:
    """Let a statement pass."""


async def test_a_key_that_another_type_frees_meanwhile_can_be_used(database: Database) -> None:
    await set_up(database, [partial(put_type, names=FORWARD)])

    async def remove_forward() -> None:
        assert await attempt(database, partial(relationship_type.remove, name="PRODUCT feeds ENTITY")) is None

    steps = {"relationship_key k": [remove_forward]}
    assert await attempt(database, interleaved(partial(put_type, names=REVERSED), steps)) is None
    assert not any(steps.values())
    assert isinstance(await attempt(database, partial(put_type, names=FORWARD)), Conflict)
    await assert_consistent(database)


async def test_a_type_that_is_put_and_removed_while_another_writer_puts_it_is_stored(database: Database) -> None:
    async def put_forward() -> None:
        assert await attempt(database, partial(put_type, names=FORWARD)) is None

    async def remove_forward() -> None:
        assert await attempt(database, partial(relationship_type.remove, name="PRODUCT feeds ENTITY")) is None

    lock = str(statement("registries/lock_relationship_type"))
    steps = {"INSERT INTO relationship_type": [put_forward], lock: [do_nothing, remove_forward]}
    assert await attempt(database, interleaved(partial(put_type, names=FORWARD), steps)) is None
    assert not any(steps.values())
    assert isinstance(await attempt(database, partial(put_type, names=REVERSED)), Conflict)
    await assert_consistent(database)


async def test_a_type_that_is_put_while_a_writer_relates_by_it_is_unknown_to_that_writer(
    database: Database, address: str
) -> None:
    """The writer holds no lock of the type, which could change before the relationship is committed."""
    await set_up(database, [])

    async def put_meanwhile() -> None:
        assert await attempt(database, put("MANY_TO_MANY")) is None

    async def tighten() -> None:
        assert await attempt(database, put("MANY_TO_ONE")) is None

    read_types = "FROM relationship_type \nWHERE"
    steps = {read_types: [put_meanwhile], str(statement("assets/resolve_references")): [tighten]}
    assert isinstance(await attempt(database, interleaved(relate(1, 2, 1), steps)), UnknownType | None)
    assert not steps[read_types]
    await assert_consistent(database)
    await attempt(database, put("MANY_TO_ONE"))
    assert await attempt(database, relate(1, 2, 1)) is None
    assert isinstance(await attempt(database, relate(1, 3, 1)), Conflict)
    assert await read_effective(address) == [(1, 2, 1, None)]


async def test_of_the_removal_of_an_entity_type_and_a_relationship_type_between_such_entities_one_succeeds(
    database: Database, address: str
) -> None:
    names = ("feeds", "fed_by", "TABLE", "TABLE")
    put_table: Write = lambda it: entity_type.put(it, "TABLE", "Table")  # noqa: E731
    remove_table: Write = lambda it: entity_type.remove(it, "TABLE")  # noqa: E731
    await set_up(database, [put_table])
    error = await run_overlapping(database, address, remove_table, partial(put_type, names=names))
    assert isinstance(error, Conflict | BadInput)
    await attempt(database, put_table)
    error = await run_overlapping(database, address, partial(put_type, names=names), remove_table)
    assert isinstance(error, Conflict)
    await assert_consistent(database)


async def test_random_concurrent_writes_leave_a_consistent_history(database: Database) -> None:
    """Relationships that violate cardinality, ends that are deleted and restored, and a type that changes."""
    await set_up(database, [put("ONE_TO_ONE", "CASCADE")])

    async def write(rng: random.Random) -> None:
        for _ in range(10):
            origin, related = rng.sample(range(1, 5), 2)
            at = rng.randrange(1, 10)
            relationship_write = rng.choice([relate, ingest_relationship, unrelate])(origin, related, at)
            asset_write = rng.choice([delete, ingest_deletion, restore, restore])(origin, at)
            type_write = put(rng.choice(CARDINALITIES), rng.choice(("CASCADE", "CLOSE", "RESTRICT")))
            await attempt(database, rng.choices([relationship_write, asset_write, type_write], [5, 3, 1])[0])

    await asyncio.gather(*(write(random.Random(number)) for number in range(8)))
    await assert_consistent(database)
