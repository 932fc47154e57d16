"""Joins, their types and the lives of their ends, written by several at once: nothing gets in that could not have come alone."""

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
from db.associations import relationship
from db.associations.association import AssetRef
from db.associations.relationship import relationship_uid
from db.author import Author
from db.bulk.ingest import ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import BadInput, Conflict, HeadwaterError, NotFound, TransactionConflict, UnknownType
from db.registries import entity_type, relationship_type
from db.registries.relationship_type import CARDINALITIES, all_relationship_types
from db.temporal.kinds import PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields
from tests.db.consistency.test_link_concurrency import WAITING

ATTEMPTS = 30

Write: TypeAlias = Callable[[WriteConnection], Awaitable[Any]]
Held: TypeAlias = list[tuple[int, int, int, int | None]]


def uid(number: int) -> UUID:
    return UUID(int=number)


def join_uid(origin: int, related: int) -> UUID:
    return relationship_uid(declared("MANY_TO_MANY"), uid(origin), uid(related))


def declared(cardinality: str, on_delete: str = "CLOSE") -> relationship_type.RelationshipTypeRow:
    return relationship_type.validate_state("feeds", "fed_by", "PRODUCT", "PRODUCT", cardinality, on_delete)


def join(origin: int, related: int, at: float) -> Write:
    ends = AssetRef(uid=uid(origin)), AssetRef(uid=uid(related))
    stated = relationship.RelationshipState("feeds", *ends, {"attributes": {}}, day(at))
    return lambda connection: relationship.relate(connection, stated)


def early(origin: int, related: int, at: float) -> Write:
    """The same, as a load says it."""
    stated = relationship.RelationshipState(
        "feeds", AssetRef(uid=uid(origin)), AssetRef(uid=uid(related)), {"attributes": {}}, day(at)
    )
    return lambda connection: alone(ingest(connection, [stated]))


def part(origin: int, related: int, at: float) -> Write:
    return lambda connection: relationship.unrelate(connection, join_uid(origin, related), at=day(at))


def end(number: int, at: float) -> Write:
    return lambda connection: asset.delete(connection, PRODUCT, uid(number), at=day(at))


def end_in_bulk(number: int, at: float) -> Write:
    return lambda connection: alone(ingest(connection, [Deletion(uid(number), day(at))]))


def revive(number: int, at: float) -> Write:
    return lambda connection: asset.restore(connection, PRODUCT, uid(number), at=day(at))


def put(cardinality: str, on_delete: str = "CLOSE") -> Write:
    return lambda connection: alone(relationship_type.put_each(connection, [declared(cardinality, on_delete)]))


async def remove(connection: WriteConnection) -> None:
    await relationship_type.remove(connection, "feeds")


async def alone(writing: Awaitable[list[Any]]) -> Any:
    """What became of the only one in a batch."""
    (outcome,) = await writing
    if isinstance(outcome, HeadwaterError):
        raise outcome
    return outcome


async def tried(database: Database, write: Write) -> HeadwaterError | None:
    """What a write is refused with, if it is. Who is interrupted tries again, as the executor does."""
    for _ in range(ATTEMPTS):
        try:
            async with database.transaction(1, Author("writer")) as connection:
                await write(connection)
        except TransactionConflict:
            await asyncio.sleep(0)
        except HeadwaterError as refused:
            return refused
        else:
            return None
    raise AssertionError("it was interrupted every time")


async def set_up(database: Database, before: list[Write]) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        for number in range(1, 5):
            await product.register(connection, product_fields(f"p{number}"), uid=uid(number), at=day(0))
        for write in before:
            await write(connection)


async def one_after_the_other(database: Database, address: str, first: Write, second: Write) -> HeadwaterError | None:
    """The second waits for the first; gives what it is refused with then."""
    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await first(connection)
        waiting = asyncio.create_task(tried(database, second))
        async with asyncio.timeout(10):
            while not await observer.fetchval(WAITING):
                assert not waiting.done(), "the second did not wait"
                await asyncio.sleep(0.002)
    await observer.close()
    return await waiting


async def held(address: str) -> Held:
    """What holds, ever: origin, related, from and until which day."""
    owner = await asyncpg.connect(address)
    rows = await owner.fetch(
        "SELECT o.uid AS origin, r.uid AS related, valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM relationship_effective"
        " JOIN asset o ON o.id = origin_id JOIN asset r ON r.id = related_id ORDER BY 1, 2, 3"
    )
    await owner.close()
    return [
        (it["origin"].int, it["related"].int, (it["valid_from"] - day(0)).days, it["valid_to"] and (it["valid_to"] - day(0)).days)
        for it in rows
    ]


async def assert_sound(database: Database) -> None:
    async with database.snapshot(1) as reader:
        assert (await verify_tenant(reader)).differences == []


@pytest.mark.parametrize("instants", [(1, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("say", [join, early], ids=["one", "bulk"])
@pytest.mark.parametrize(
    ("cardinality", "pairs"),
    [
        ("MANY_TO_ONE", [(1, 2), (1, 3)]),
        ("ONE_TO_MANY", [(1, 3), (2, 3)]),
        ("ONE_TO_ONE", [(1, 2), (1, 3)]),
        ("ONE_TO_ONE", [(1, 3), (2, 3)]),
    ],
)
async def test_of_two_that_collide_one_gets_in_and_the_other_is_told_of_both(
    database: Database, address: str, cardinality: str, pairs: list[tuple[int, int]], say: Any, instants: tuple[int, int]
) -> None:
    await set_up(database, [put(cardinality)])
    one, other = pairs
    refused = await one_after_the_other(database, address, say(*one, instants[0]), say(*other, instants[1]))
    assert isinstance(refused, Conflict)
    assert all(str(join_uid(*it)) in refused.message for it in pairs)
    assert await held(address) == [(*one, instants[0], None)]
    await assert_sound(database)


@pytest.mark.parametrize(
    ("cardinality", "pairs"),
    [
        ("MANY_TO_ONE", [(1, 3), (2, 3)]),
        ("ONE_TO_MANY", [(1, 2), (1, 3)]),
        ("ONE_TO_ONE", [(1, 2), (2, 3)]),
    ],
)
async def test_of_two_that_meet_and_do_not_collide_both_get_in(
    database: Database, address: str, cardinality: str, pairs: list[tuple[int, int]]
) -> None:
    await set_up(database, [put(cardinality)])
    one, other = pairs
    assert await one_after_the_other(database, address, join(*one, 1), join(*other, 1)) is None
    assert await held(address) == [(*it, 1, None) for it in pairs]


async def test_where_any_number_is_allowed_nobody_waits(database: Database, address: str) -> None:
    await set_up(database, [put("MANY_TO_MANY")])
    async with database.transaction(1, Author("first")) as connection:
        await join(1, 2, 1)(connection)
        async with asyncio.timeout(5):
            assert await tried(database, join(1, 3, 1)) is None
    assert await held(address) == [(1, 2, 1, None), (1, 3, 1, None)]


# What is there before, the first, the second, what the second is refused with, what holds in the end.
CASES: dict[str, tuple[list[Write], Write, Write, type[HeadwaterError] | None, Held]] = {
    "the same join twice": ([put("ONE_TO_ONE")], join(1, 2, 1), join(1, 2, 1), None, [(1, 2, 1, None)]),
    "a join, and its end that closes": ([put("MANY_TO_MANY")], join(1, 2, 1), end(1, 5), None, [(1, 2, 1, 5)]),
    "a join, and its other end that closes": ([put("ONE_TO_ONE")], join(1, 2, 1), end(2, 5), None, [(1, 2, 1, 5)]),
    "a join, and its end that it holds": (
        [put("MANY_TO_MANY", "RESTRICT")], join(1, 2, 1), end(1, 5), Conflict, [(1, 2, 1, None)]),
    "a join, and its other end that it holds": (
        [put("ONE_TO_ONE", "RESTRICT")], join(1, 2, 1), end(2, 5), Conflict, [(1, 2, 1, None)]),
    "a join, and its end that is told of in bulk": (
        [put("ONE_TO_ONE", "RESTRICT")], join(1, 2, 1), end_in_bulk(2, 5), None, [(1, 2, 1, 5)]),
    "a join, and its end that takes the other along": (
        [put("MANY_TO_MANY", "CASCADE"), join(2, 3, 1)], join(1, 2, 1), end(1, 5), None, [(1, 2, 1, 5), (2, 3, 1, 5)]),
    "a join, and its other end that takes it along": (
        [put("ONE_TO_ONE", "CASCADE"), join(3, 1, 1)], join(1, 2, 1), end(2, 5), None, [(1, 2, 1, 5), (3, 1, 1, 5)]),
    "an end under way, and a join from before it": (
        [put("MANY_TO_MANY", "RESTRICT")], end(1, 5), join(1, 2, 1), None, [(1, 2, 1, 5)]),
    "an end under way, and a join from after it": ([put("ONE_TO_ONE")], end(1, 5), join(1, 2, 6), NotFound, []),
    "an end under way, and a join from after it in bulk": ([put("ONE_TO_ONE")], end(1, 5), early(1, 2, 6), None, []),
    "what returns, and a new rival": (
        [put("MANY_TO_ONE"), join(1, 2, 1), end(2, 3)], revive(2, 5), join(1, 3, 4), Conflict, [(1, 2, 1, 3), (1, 2, 5, None)]),
    "a new rival, and what returns": (
        [put("MANY_TO_ONE"), join(1, 2, 1), end(2, 3)], join(1, 3, 4), revive(2, 5), Conflict, [(1, 2, 1, 3), (1, 3, 4, None)]),
    "two that return": (
        [put("MANY_TO_ONE"), join(1, 2, 1), end(2, 2), join(1, 3, 3), end(3, 4)], revive(2, 5), revive(3, 5), Conflict,
        [(1, 2, 1, 2), (1, 2, 5, None), (1, 3, 3, 4)]),
    "a join, and a cardinality that would forbid it": (
        [put("MANY_TO_MANY"), join(1, 2, 1)], join(1, 3, 2), put("MANY_TO_ONE"), Conflict, [(1, 2, 1, None), (1, 3, 2, None)]),
    "a join, and a cardinality that allows it": (
        [put("MANY_TO_MANY"), join(1, 2, 1)], join(1, 3, 2), put("ONE_TO_MANY"), None, [(1, 2, 1, None), (1, 3, 2, None)]),
    "a cardinality, and a join that it forbids": (
        [put("MANY_TO_MANY"), join(1, 2, 1)], put("MANY_TO_ONE"), join(1, 3, 2), Conflict, [(1, 2, 1, None)]),
    "what returns, and a cardinality that would forbid it": (
        [put("MANY_TO_MANY"), join(1, 2, 1), end(2, 2), join(1, 3, 3)], revive(2, 5), put("MANY_TO_ONE"), Conflict,
        [(1, 2, 1, 2), (1, 2, 5, None), (1, 3, 3, None)]),
    "a cardinality, and what it keeps from returning": (
        [put("MANY_TO_MANY"), join(1, 2, 1), end(2, 2), join(1, 3, 3)], put("MANY_TO_ONE"), revive(2, 5), Conflict,
        [(1, 2, 1, 2), (1, 3, 3, None)]),
    "a join, and the removal of its type": ([put("MANY_TO_MANY")], join(1, 2, 1), remove, Conflict, [(1, 2, 1, None)]),
    "the removal of a type, and a join by it": ([put("MANY_TO_MANY")], remove, join(1, 2, 1), UnknownType, []),
    "the removal of a type, twice": ([put("MANY_TO_MANY")], remove, remove, NotFound, []),
    "a parting, and an end that takes nothing along then": (
        [put("MANY_TO_MANY", "CASCADE"), join(1, 2, 1), join(2, 3, 1)], part(1, 2, 3), end(1, 5), None,
        [(1, 2, 1, 3), (2, 3, 1, None)]),
    "an end that takes another along, and a parting": (
        [put("MANY_TO_MANY", "CASCADE"), join(1, 2, 1), join(2, 3, 1)], end(1, 5), part(2, 3, 4), None,
        [(1, 2, 1, 5), (2, 3, 1, 4)]),
    "a parting, and an end that nothing holds then": (
        [put("MANY_TO_MANY", "RESTRICT"), join(1, 2, 1)], part(1, 2, 3), end(1, 5), None, [(1, 2, 1, 3)]),
    "both ends of a join that takes along": (
        [put("ONE_TO_ONE", "CASCADE"), join(1, 2, 1)], end(1, 5), end(2, 4), None, [(1, 2, 1, 4)]),
    "a parting, and a rival": (
        [put("MANY_TO_ONE"), join(1, 2, 1)], part(1, 2, 3), join(1, 2, 4), None, [(1, 2, 1, 3), (1, 2, 4, None)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_whoever_comes_second_sees_what_the_first_has_done(database: Database, address: str, case: str) -> None:
    before, first, second, refusal, holds = CASES[case]
    await set_up(database, before)
    refused = await one_after_the_other(database, address, first, second)
    assert type(refused) is type(None) if refusal is None else isinstance(refused, refusal), refused
    assert await held(address) == holds
    await assert_sound(database)


async def test_what_a_parting_leaves_is_free_only_once_it_is_kept(database: Database, address: str) -> None:
    """A rival that comes while a join is being ended is refused by what is known yet, or waits; it never gets in beside it."""
    await set_up(database, [put("MANY_TO_ONE"), join(1, 2, 1)])
    async with database.transaction(1, Author("first")) as connection:
        await part(1, 2, 3)(connection)
        second = asyncio.create_task(tried(database, join(1, 3, 4)))
        await asyncio.wait([second], timeout=0.2)
    assert isinstance(await second, Conflict | None)
    assert await tried(database, join(1, 3, 4)) is None
    assert await held(address) == [(1, 2, 1, 3), (1, 3, 4, None)]
    await assert_sound(database)


Declared: TypeAlias = tuple[str, str, str, str]
FORWARD: Declared = ("feeds", "fed_by", "PRODUCT", "ENTITY")
REVERSED: Declared = ("fed_by", "feeds", "ENTITY", "PRODUCT")


async def declare(connection: WriteConnection, given: Declared) -> None:
    await alone(relationship_type.put_each(connection, [relationship_type.validate_state(*given, "MANY_TO_MANY")]))


@pytest.mark.parametrize("others", [FORWARD, REVERSED], ids=["the same", "reversed"])
async def test_however_many_declare_a_type_at_once_there_is_one(database: Database, others: Declared) -> None:
    for _ in range(5):
        given = [FORWARD, others] * 4
        refused = await asyncio.gather(*(tried(database, partial(declare, given=it)) for it in given))
        async with database.snapshot(1) as reader:
            (kept,) = (await all_relationship_types(reader)).rows
        assert [it is None for it in refused] == [it[0] == kept.key for it in given]
        assert all(isinstance(it, Conflict) for it in refused if it is not None)
        await assert_sound(database)
        assert await tried(database, partial(relationship_type.remove, name=kept.code)) is None


async def test_types_that_come_and_go_at_once_leave_nothing_crooked(database: Database) -> None:
    """Declared forward and reversed, with other keys, and removed, by many: each is refused, or done."""

    async def come_and_go(chance: random.Random) -> None:
        for _ in range(8):
            key, reverse_key, origin, related = chance.choice([FORWARD, REVERSED])
            given = (key, chance.choice((reverse_key, "other")), origin, related)
            refused = await tried(database, partial(declare, given=given))
            assert refused is None or isinstance(refused, Conflict)
            if chance.random() < 0.5:
                refused = await tried(database, partial(relationship_type.remove, name=f"{origin} {key} {related}"))
                assert refused is None or isinstance(refused, NotFound)

    await asyncio.gather(*(come_and_go(random.Random(number)) for number in range(6)))
    await assert_sound(database)


def interposed(write: Write, meanwhile: Mapping[str, list[Callable[[], Coroutine[Any, Any, None]]]]) -> Write:
    """A write, and what others do just before statements of it that hold a text: the next of those each time."""

    async def interrupted(connection: WriteConnection) -> None:
        running = connection._execute

        async def execute(statement: Any, parameters: Any) -> Any:
            for told, steps in meanwhile.items():
                if told in str(statement) and steps:
                    await steps.pop(0)()
            return await running(statement, parameters)

        connection._execute = execute  # type: ignore[method-assign]
        await write(connection)

    return interrupted


async def nothing() -> None:
    """Nobody does anything."""


async def test_a_key_that_another_type_leaves_meanwhile_belongs_to_somebody(database: Database) -> None:
    await set_up(database, [partial(declare, given=FORWARD)])

    async def removed() -> None:
        assert await tried(database, partial(relationship_type.remove, name="PRODUCT feeds ENTITY")) is None

    declaring = interposed(partial(declare, given=REVERSED), {"relationship_key k": [removed]})
    assert await tried(database, declaring) is None
    assert isinstance(await tried(database, partial(declare, given=FORWARD)), Conflict)
    await assert_sound(database)


async def test_a_type_that_comes_and_goes_while_another_declares_it_is_declared(database: Database) -> None:
    async def declared_meanwhile() -> None:
        assert await tried(database, partial(declare, given=FORWARD)) is None

    async def removed() -> None:
        assert await tried(database, partial(relationship_type.remove, name="PRODUCT feeds ENTITY")) is None

    meanwhile = {"INSERT INTO relationship_type": [declared_meanwhile], "Keeps writers that join": [nothing, removed]}
    assert await tried(database, interposed(partial(declare, given=FORWARD), meanwhile)) is None
    assert isinstance(await tried(database, partial(declare, given=REVERSED)), Conflict)
    await assert_sound(database)


async def test_a_type_that_comes_while_somebody_joins_by_it_comes_too_late(database: Database, address: str) -> None:
    """It would not be kept as it is until the join is there."""
    await set_up(database, [])

    async def declared_meanwhile() -> None:
        assert await tried(database, put("MANY_TO_MANY")) is None

    async def changed() -> None:
        assert await tried(database, put("MANY_TO_ONE")) is None

    meanwhile = {"FROM relationship_type \nWHERE": [declared_meanwhile], "What references mean": [changed]}
    assert isinstance(await tried(database, interposed(join(1, 2, 1), meanwhile)), UnknownType | None)
    await assert_sound(database)
    await tried(database, put("MANY_TO_ONE"))
    assert await tried(database, join(1, 2, 1)) is None
    assert isinstance(await tried(database, join(1, 3, 1)), Conflict)
    assert await held(address) == [(1, 2, 1, None)]


async def test_an_entity_type_that_goes_and_a_type_of_joins_with_it(database: Database, address: str) -> None:
    table = ("feeds", "fed_by", "TABLE", "TABLE")
    put_table: Write = lambda it: entity_type.put(it, "TABLE", "Table")  # noqa: E731
    drop_table: Write = lambda it: entity_type.remove(it, "TABLE")  # noqa: E731
    await set_up(database, [put_table])
    refused = await one_after_the_other(database, address, drop_table, partial(declare, given=table))
    assert isinstance(refused, Conflict | BadInput)
    await tried(database, put_table)
    refused = await one_after_the_other(database, address, partial(declare, given=table), drop_table)
    assert isinstance(refused, Conflict)
    await assert_sound(database)


async def test_many_writers_of_everything_leave_an_unbroken_history(database: Database) -> None:
    """Joins that collide, ends that come and go, a type that changes: each is refused or done, and nothing is left crooked."""
    await set_up(database, [put("ONE_TO_ONE", "CASCADE")])

    async def write(chance: random.Random) -> None:
        for _ in range(10):
            one, other = chance.sample(range(1, 5), 2)
            at = chance.randrange(1, 10)
            joining = chance.choice([join, early, part])(one, other, at)
            living = chance.choice([end, end_in_bulk, revive, revive])(one, at)
            declaring = put(chance.choice(CARDINALITIES), chance.choice(("CASCADE", "CLOSE", "RESTRICT")))
            await tried(database, chance.choices([joining, living, declaring], [5, 3, 1])[0])

    await asyncio.gather(*(write(random.Random(number)) for number in range(8)))
    await assert_sound(database)
