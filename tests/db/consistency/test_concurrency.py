"""Writers that meet: whatever they do at once, the log is whole, names are unique, and each is told what became of its write."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext

from db.database import Database
from db.temporal.verification import verify_tenant
from schema.execution.executor import Executor, Request, Response
from schema.execution.principal import Principal
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import DELETE, REGISTER, RESTORE, UPDATE, Api, ApiResponse, day, iso, product_fields

WRITERS = 8
UPDATES = 200

_LOG = text("SELECT subject_id, operation, change_ts, payload FROM change WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY seq")
_VERSIONS = text(
    "SELECT asset_id, name, owner, valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM product_version"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY asset_id, valid_from"
)
_OVERLAPPING = text(
    "SELECT count(*) AS overlapping FROM product_version a JOIN product_version b"
    " ON b.tenant_id = a.tenant_id AND (b.asset_id = a.asset_id OR b.name = a.name)"
    " AND (b.asset_id, b.valid_from) > (a.asset_id, a.valid_from) AND b.valid_from < a.valid_to AND a.valid_from < b.valid_to"
    " WHERE a.tenant_id = CAST(:tenant AS bigint)"
)

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'headwater' AND wait_event_type = 'Lock'"
)


async def stored(database: Database) -> tuple[list[Any], list[Any]]:
    """The log and the versions, once it is sure that both are sound: nothing overlaps, neither in time nor in name."""
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []
        assert (await connection.fetch(_OVERLAPPING))[0].overlapping == 0
        return list(await connection.fetch(_LOG)), list(await connection.fetch(_VERSIONS))


async def at_once(requests: list[Callable[[], Awaitable[ApiResponse]]]) -> list[ApiResponse]:
    async with asyncio.timeout(20):
        return list(await asyncio.gather(*(request() for request in requests)))


def faults(answers: list[ApiResponse]) -> list[tuple[str, str | None]]:
    return [answer.code_and_field for answer in answers if answer.errors]


@asynccontextmanager
async def held(address: str, *names: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Holds the locks of the products with these names; gives a wait for so many others to queue up for a lock."""
    connection, observer = await asyncpg.connect(address), await asyncpg.connect(address)

    async def queued(writers: int) -> None:
        async with asyncio.timeout(10):
            while True:
                if await observer.fetchval(_WAITING) == writers:
                    return
                await asyncio.sleep(0.005)

    try:
        async with connection.transaction():
            locked = await connection.fetch(
                "SELECT FROM asset a JOIN product_version v ON v.asset_id = a.id"
                " WHERE v.name = ANY($1) AND v.valid_to = 'infinity' FOR UPDATE OF a",
                names,
            )
            assert len(locked) == len(names)
            yield queued
    finally:
        await connection.close()
        await observer.close()


@pytest.fixture
async def swift_deadlocks(address: str) -> None:
    """PostgreSQL looks for a deadlock after a second of waiting. Asked for before `api`, this spares the tests that second."""
    connection = await asyncpg.connect(address)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'")
    await connection.close()


@pytest.fixture
def deadlocks(swift_deadlocks: None, api: Api) -> list[str]:
    """The deadlocks that the service's transactions were victims of."""
    victims: list[str] = []

    def hear(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "40P01":
            victims.append(str(context.statement))

    event.listen(api.database.engine.sync_engine, "handle_error", hear)
    return victims


async def test_many_writers_on_one_product_lose_nothing(address: str) -> None:
    database = Database(address, pool_size=WRITERS)
    executor = Executor(schema, database)
    principal = Principal(1, "tester", frozenset(Scope))
    acknowledged: dict[str, datetime] = {}

    async def execute(query: str, **content: Any) -> Response:
        return await executor.execute(Request(query, {"input": content}), principal, "request-1")

    async def write(writer: int) -> None:
        for number in range(UPDATES):
            owner = f"{writer}-{number}"
            # one in ten is late, some of those at instants that are taken
            late = {"at": iso(day(1 + (writer * 7 + number) % 60))} if number % 10 == 0 else {}
            response = await execute(UPDATE, product={"name": "orders"}, owner=owner, **late)
            assert response.errors == [], response.errors
            assert response.data
            answer = response.data["updateProduct"]
            assert answer["changed"]
            assert answer["product"]["owner"] == owner
            acknowledged[owner] = datetime.fromisoformat(answer["product"]["validFrom"])
            assert not late or answer["product"]["validFrom"] == late["at"]

    try:
        assert (await execute(REGISTER, **product_fields(at=iso(day(0))))).errors == []
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        log, versions = await stored(database)
    finally:
        await database.close()
    assert len(acknowledged) == WRITERS * UPDATES
    assert {change.payload["owner"]: change.change_ts for change in log[1:]} == acknowledged
    assert len(log) == 1 + WRITERS * UPDATES
    in_order = [change.change_ts for change in log if change.payload["owner"].endswith(tuple("123456789"))]
    assert in_order == sorted(set(in_order)), "what is written as of now holds after all that was written before"
    assert [version.valid_to for version in versions].count(None) == 1
    assert all(before.valid_to == after.valid_from for before, after in pairwise(versions))


async def test_of_many_that_register_one_name_exactly_one_succeeds(api: Api) -> None:
    answers = await at_once([lambda: api(REGISTER, input=product_fields())] * WRITERS)
    assert faults(answers) == [("CONFLICT", "name")] * (WRITERS - 1)
    log, versions = await stored(api.database)
    assert (len(log), len(versions)) == (1, 1)


async def test_of_many_that_register_one_uid_exactly_one_succeeds(api: Api) -> None:
    uid = str(uuid4())
    answers = await at_once(
        [lambda n=n: api(REGISTER, input=product_fields(f"p{n}", uid=uid)) for n in range(WRITERS)]  # type: ignore[misc]
    )
    assert faults(answers) == [("CONFLICT", "uid")] * (WRITERS - 1)
    log, versions = await stored(api.database)
    assert (len(log), len(versions)) == (1, 1)


UID = str(uuid4())
REPEATED = {
    "register": (REGISTER, product_fields("returns")),
    "register with a uid": (REGISTER, product_fields("returns", uid=str(uuid4()))),
    "register at an instant": (REGISTER, product_fields("returns", at=iso(day(1)))),
    "register with a uid at an instant": (REGISTER, product_fields("returns", uid=str(uuid4()), at=iso(day(1)))),
    "update by name": (UPDATE, {"product": {"name": "orders"}, "owner": "bob"}),
    "update by uid": (UPDATE, {"product": {"uid": UID}, "owner": "bob"}),
    "update late": (UPDATE, {"product": {"uid": UID}, "owner": "bob", "at": iso(day(1))}),
    "rename": (UPDATE, {"product": {"name": "orders"}, "name": "purchases"}),
    "delete": (DELETE, {"uid": UID}),
    "restore": (RESTORE, {"uid": UID}),
}


@pytest.mark.parametrize("write", REPEATED)
async def test_one_request_sent_many_times_at_once_is_done_once_and_answered_alike(api: Api, write: str) -> None:
    mutation, content = REPEATED[write]
    await api.register("orders", uid=UID)
    await api.update("orders", description="so that a late change is late", at=day(2))
    if write == "restore":
        await api(DELETE, input={"uid": UID, "at": iso(day(3))})
    before, _ = await stored(api.database)
    answers = await at_once([lambda: api(mutation, input={**content, "idempotencyKey": "once"})] * WRITERS)
    assert faults(answers) == []
    assert all(answer.data == answers[0].data for answer in answers)
    log, _ = await stored(api.database)
    assert len(log) == len(before) + 1


@pytest.mark.parametrize("subjects", ["one product", "a product each", "a new product each"])
async def test_of_many_requests_with_one_key_and_different_contents_one_wins(api: Api, subjects: str) -> None:
    for n in range(WRITERS):
        await api.register(f"p{n}")
    before, _ = await stored(api.database)

    def request(n: int) -> Callable[[], Awaitable[ApiResponse]]:
        key = {"idempotencyKey": "once"}
        match subjects:
            case "one product":
                return lambda: api(UPDATE, input={"product": {"name": "p0"}, "owner": f"owner {n}", **key})
            case "a product each":
                return lambda: api(UPDATE, input={"product": {"name": f"p{n}"}, "owner": "bob", **key})
            case _:
                return lambda: api(REGISTER, input=product_fields(f"new {n}", **key))

    answers = await at_once([request(n) for n in range(WRITERS)])
    assert faults(answers) == [("CONFLICT", "idempotencyKey")] * (WRITERS - 1)
    log, _ = await stored(api.database)
    assert len(log) == len(before) + 1


async def test_two_requests_that_lock_two_products_in_opposite_order_both_succeed(
    address: str, deadlocks: list[str], api: Api
) -> None:
    await api.register("orders")
    await api.register("returns")
    both = (
        "mutation ($one: UpdateProductInput!, $two: UpdateProductInput!) {"
        " one: updateProduct(input: $one) { product { owner } } two: updateProduct(input: $two) { product { owner } } }"
    )

    def request(owner: str, *names: str) -> asyncio.Task[ApiResponse]:
        one, two = ({"product": {"name": name}, "owner": owner} for name in names)
        return asyncio.create_task(api(both, one=one, two=two))

    async with asyncio.timeout(20), held(address, "orders") as queued:
        bob = request("bob", "orders", "returns")
        await queued(1)
        carl = request("carl", "returns", "orders")
        await queued(2)
    async with asyncio.timeout(20):
        for task, owner in ((bob, "bob"), (carl, "carl")):
            assert (await task).data == {"one": {"product": {"owner": owner}}, "two": {"product": {"owner": owner}}}
    assert len(deadlocks) == 1
    log, versions = await stored(api.database)
    assert len(log) == 2 + 4
    (last,) = {version.owner for version in versions if version.valid_to is None}
    assert last in ("bob", "carl")


async def test_two_products_renamed_to_each_others_names_at_once_collide_and_say_so(
    address: str, deadlocks: list[str], api: Api
) -> None:
    await api.register("orders")
    await api.register("returns")
    before = await stored(api.database)
    # who closes first waits for the other, or meets what the other has not given up: either way nobody may have the name
    for _ in range(10):
        async with asyncio.timeout(20):
            async with held(address, "orders", "returns") as queued:
                renames = [
                    asyncio.create_task(api.update("orders", name="returns")),
                    asyncio.create_task(api.update("returns", name="orders")),
                ]
                await queued(2)
            assert faults([await rename for rename in renames]) == [("CONFLICT", "name")] * 2
    assert await stored(api.database) == before
    assert len(deadlocks) <= 10


async def test_a_name_that_many_want_when_a_rename_frees_it_goes_to_one(api: Api) -> None:
    await api.register("orders")
    for n in range(WRITERS):
        await api.register(f"p{n}")
    await api.update("orders", name="purchases", at=day(10))
    answers = await at_once(
        [lambda n=n: api.update(f"p{n}", name="orders", at=day(10)) for n in range(WRITERS)]  # type: ignore[misc]
    )
    assert faults(answers) == [("CONFLICT", "name")] * (WRITERS - 1)
    _, versions = await stored(api.database)
    assert [(it.valid_from, it.valid_to) for it in versions if it.name == "orders"] == [(day(0), day(10)), (day(10), None)]


@pytest.mark.parametrize("since", [2, 1], ids=["stretches that touch", "stretches that overlap"])
async def test_late_renames_at_once_take_what_is_free_and_no_more(api: Api, since: int) -> None:
    for n in range(WRITERS):
        await api.register(f"p{n}")
        await api.update(f"p{n}", name=f"q{n}", at=day(2 * n + 4))
    before, _ = await stored(api.database)
    answers = await at_once(
        [lambda n=n: api.update(f"p{n}", name="star", at=day(2 * n + since)) for n in range(WRITERS)]  # type: ignore[misc]
    )
    refused = faults(answers)
    assert refused == [("CONFLICT", "name")] * len(refused)
    log, versions = await stored(api.database)
    assert len(log) == len(before) + WRITERS - len(refused)
    assert Counter(it.name for it in versions)["star"] == WRITERS - len(refused)
    # of neighbours that overlap, at most every second can have it, and whoever has no neighbour with it can
    assert len(refused) == 0 if since == 2 else WRITERS / 2 <= len(refused) <= WRITERS * 2 / 3


async def test_a_rename_frees_the_name_at_that_instant_and_not_before(api: Api) -> None:
    await api.register("orders")
    await api.register("returns")
    await api.update("orders", name="purchases", at=day(10))
    before = await stored(api.database)
    refused = await api.update("returns", name="orders", at=day(10) - timedelta(microseconds=1))
    assert refused.code_and_field == ("CONFLICT", "name")
    assert await stored(api.database) == before
    assert (await api.update("returns", name="orders", at=day(10))).data["updateProduct"]["changed"]
    _, versions = await stored(api.database)
    assert [(it.valid_from, it.valid_to) for it in versions if it.name == "orders"] == [(day(0), day(10)), (day(10), None)]


async def test_what_would_take_a_taken_stretch_of_a_name_is_refused_and_leaves_nothing(api: Api) -> None:
    """`orders` is the first product's until day 10, the second's until day 20, and the first's again from then on."""
    first = (await api.register("orders"))["uid"]
    second = (await api.register("returns"))["uid"]
    third = (await api.register("refunds"))["uid"]
    await api.update("refunds", description="changed later", at=day(30))
    for at, uid, name in ((10, first, "purchases"), (10, second, "orders"), (20, second, "returns"), (20, first, "orders")):
        answer = await api(UPDATE, input={"product": {"uid": uid}, "name": name, "at": iso(day(at))})
        assert answer.data["updateProduct"]["changed"]
    await api(DELETE, input={"uid": third, "at": iso(day(40))})
    await api.register("refunds", at=iso(day(50)))
    before = await stored(api.database)

    async def refused(mutation: str, **content: Any) -> None:
        assert (await api(mutation, input=content)).code_and_field == ("CONFLICT", "name")
        assert await stored(api.database) == before

    # late, onto a stretch that has been given up since, and one that is held still
    for at in (1, 12, 25):
        await refused(UPDATE, product={"uid": third}, name="orders", at=iso(day(at)))
    await refused(UPDATE, product={"uid": second}, name="orders", at=iso(day(5)))
    # the later word at the instant of the rename, which would have the name stay where it was
    await refused(UPDATE, product={"uid": second}, name="orders", at=iso(day(20)))
    await refused(UPDATE, product={"uid": first}, name="orders", at=iso(day(10)))
    # a life that begins, or begins anew, under a name that is taken then, or would be later
    await refused(REGISTER, **product_fields("orders", at=iso(day(-5))))
    await refused(REGISTER, **product_fields("purchases", at=iso(day(9))))
    await refused(RESTORE, uid=third, at=iso(day(45)))
    await refused(RESTORE, uid=third)


async def test_a_write_by_name_that_waits_for_a_rename_does_not_reach_what_was_renamed(address: str, api: Api) -> None:
    await api.register("orders")
    async with asyncio.timeout(20):
        async with held(address, "orders") as queued:
            rename = asyncio.create_task(api.update("orders", name="purchases"))
            await queued(1)
            update = asyncio.create_task(api.update("orders", owner="bob"))
            await queued(2)
        assert (await rename).data["updateProduct"]["changed"]
        # names are resolved at the instant of the write, and a write as of now comes after what it waited for
        assert (await update).code_and_field == ("NOT_FOUND", "product")
    log, versions = await stored(api.database)
    assert len(log) == 2
    assert {version.owner for version in versions} == {"ann"}
