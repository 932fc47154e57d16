"""Concurrent writers of products: the log keeps every write, names stay unique, and each writer gets its own outcome."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from db.database import Database
from db.sql import text
from db.temporal.verification import verify_tenant
from schema.execution.executor import Executor
from schema.execution.operation import Request, Response
from schema.execution.principal import Principal
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import DELETE, REGISTER, RESTORE, UPDATE, Api, ApiResponse, day, iso, product_fields
from tests.db.consistency.lock_waits import wait_until_queued
from tests.hooks import ErrorHook
from tests.randomness import size

WRITERS = 8
UPDATES = size(quick=50, soak=200)

_LOG = text("SELECT subject_id, operation, change_ts, payload FROM change WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY seq")
_VERSIONS = text(
    "SELECT asset_id, name, owner, valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM product_version"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY asset_id, valid_from"
)
_OVERLAPS = text(
    "SELECT count(*) AS overlaps FROM product_version a JOIN product_version b"
    " ON b.tenant_id = a.tenant_id AND (b.asset_id = a.asset_id OR b.name = a.name)"
    " AND (b.asset_id, b.valid_from) > (a.asset_id, a.valid_from) AND b.valid_from < a.valid_to AND a.valid_from < b.valid_to"
    " WHERE a.tenant_id = CAST(:tenant AS bigint)"
)


async def read_stored(database: Database) -> tuple[list[Any], list[Any]]:
    """Read the log and the versions, after a check that they agree and that no two versions overlap in asset or in name."""
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []
        assert (await connection.fetch(_OVERLAPS))[0].overlaps == 0
        return list(await connection.fetch(_LOG)), list(await connection.fetch(_VERSIONS))


async def run_concurrently(requests: list[Callable[[], Awaitable[ApiResponse]]]) -> list[ApiResponse]:
    async with asyncio.timeout(20):
        return list(await asyncio.gather(*(request() for request in requests)))


def codes_and_fields(responses: list[ApiResponse]) -> list[tuple[str, str | None]]:
    return [response.code_and_field for response in responses if response.errors]


@asynccontextmanager
async def locked(address: str, *names: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Lock the products with these names. Yield a function that waits until so many writers queue for a lock."""
    connection, observer = await asyncpg.connect(address), await asyncpg.connect(address)
    try:
        async with connection.transaction():
            rows = await connection.fetch(
                "SELECT FROM asset a JOIN product_version v ON v.asset_id = a.id"
                " WHERE v.name = ANY($1) AND v.valid_to = 'infinity' FOR UPDATE OF a",
                names,
            )
            assert len(rows) == len(names)
            yield partial(wait_until_queued, observer)
    finally:
        await connection.close()
        await observer.close()


@pytest.fixture
async def short_deadlock_timeout(address: str) -> None:
    """Let PostgreSQL look for deadlocks after 20 ms instead of a second. Request it before `api`."""
    connection = await asyncpg.connect(address)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'")
    await connection.close()


@pytest.fixture
def errors(short_deadlock_timeout: None, api: Api) -> ErrorHook:
    """The errors of the statements of the service, 40P01 for those that PostgreSQL ended to resolve a deadlock."""
    hook = ErrorHook()
    api.database.hooks.append(hook)
    return hook


@pytest.mark.random
async def test_concurrent_updates_of_one_product_are_all_recorded(address: str) -> None:
    database = Database(address, pool_size=WRITERS)
    executor = Executor(schema, database)
    principal = Principal(1, "tester", frozenset(Scope))
    acknowledged: dict[str, datetime] = {}

    async def execute(query: str, **content: Any) -> Response:
        return await executor.execute(Request(query, {"input": content}), principal, "request-1")

    async def write(writer: int) -> None:
        for number in range(UPDATES):
            owner = f"{writer}-{number}"
            # one in ten is out of order, and some of these are at the same instant as another
            instant = {"at": iso(day(1 + (writer * 7 + number) % 60))} if number % 10 == 0 else {}
            product = {"name": "orders"} if writer % 2 else {"uid": str(uid)}
            response = await execute(UPDATE, product=product, owner=owner, **instant)
            assert response.errors == [], response.errors
            assert response.data
            payload = response.data["updateProduct"]
            assert payload["changed"]
            assert payload["product"]["owner"] == owner
            acknowledged[owner] = datetime.fromisoformat(payload["product"]["validFrom"])
            assert not instant or payload["product"]["validFrom"] == instant["at"]

    uid = uuid4()
    try:
        assert (await execute(REGISTER, **product_fields(at=iso(day(0)), uid=str(uid)))).errors == []
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        log, versions = await read_stored(database)
    finally:
        await database.close()
    assert len(acknowledged) == WRITERS * UPDATES
    assert {change.payload["owner"]: change.change_ts for change in log[1:]} == acknowledged
    assert len(log) == 1 + WRITERS * UPDATES
    in_order = [change.change_ts for change in log if change.payload["owner"].endswith(tuple("123456789"))]
    assert in_order == sorted(set(in_order)), "a write without an instant holds after all earlier writes"
    assert [version.valid_to for version in versions].count(None) == 1
    assert all(before.valid_to == after.valid_from for before, after in pairwise(versions))


async def test_of_concurrent_registrations_of_one_name_one_succeeds(api: Api) -> None:
    responses = await run_concurrently([lambda: api(REGISTER, input=product_fields())] * WRITERS)
    assert codes_and_fields(responses) == [("CONFLICT", "name")] * (WRITERS - 1)
    log, versions = await read_stored(api.database)
    assert (len(log), len(versions)) == (1, 1)


async def test_of_concurrent_registrations_of_one_uid_one_succeeds(api: Api) -> None:
    uid = str(uuid4())
    responses = await run_concurrently(
        [lambda n=n: api(REGISTER, input=product_fields(f"p{n}", uid=uid)) for n in range(WRITERS)]  # type: ignore[misc]
    )
    assert codes_and_fields(responses) == [("CONFLICT", "uid")] * (WRITERS - 1)
    log, versions = await read_stored(api.database)
    assert (len(log), len(versions)) == (1, 1)


async def test_of_concurrent_creations_of_one_key_one_succeeds(api: Api) -> None:
    """Each claims the same UUID in another spelling, as a primary or as an alternate key."""
    put = "mutation ($input: PutEntityTypeInput!) { putEntityType(input: $input) { entityType { code } } }"
    assert (await api(put, input={"code": "PERSON", "label": "Person"})).data
    create = "mutation ($input: CreateEntityInput!) { createEntity(input: $input) { entity { uid } } }"
    key = uuid4()
    keys = [{"key": str(key)}, {"key": key.hex}, {"key": "a", "alternateKeys": [str(key).upper()]}, {"key": f"{{{key}}}"}]
    responses = await run_concurrently(
        [lambda given=given: api(create, input={"type": "PERSON", "displayName": "x", **given}) for given in keys]  # type: ignore[misc]
    )
    refused = codes_and_fields(responses)
    assert len(refused) == len(keys) - 1
    assert set(refused) <= {("CONFLICT", "key"), ("CONFLICT", "alternateKeys")}
    async with api.database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []
        assert len(await connection.fetch(text("SELECT FROM entity_key WHERE tenant_id = CAST(:tenant AS bigint)"))) in (1, 2)


UID = str(uuid4())
REPEATED = {
    "register": (REGISTER, product_fields("returns")),
    "register with a uid": (REGISTER, product_fields("returns", uid=str(uuid4()))),
    "register at an instant": (REGISTER, product_fields("returns", at=iso(day(1)))),
    "register with a uid at an instant": (REGISTER, product_fields("returns", uid=str(uuid4()), at=iso(day(1)))),
    "update by name": (UPDATE, {"product": {"name": "orders"}, "owner": "bob"}),
    "update by uid": (UPDATE, {"product": {"uid": UID}, "owner": "bob"}),
    "update out of order": (UPDATE, {"product": {"uid": UID}, "owner": "bob", "at": iso(day(1))}),
    "rename": (UPDATE, {"product": {"name": "orders"}, "name": "purchases"}),
    "delete": (DELETE, {"product": {"uid": UID}}),
    "restore": (RESTORE, {"product": {"uid": UID}}),
}


@pytest.mark.parametrize("write", REPEATED)
async def test_concurrent_repeats_of_one_request_run_once_and_get_the_same_response(api: Api, write: str) -> None:
    mutation, content = REPEATED[write]
    await api.register("orders", uid=UID)
    await api.update("orders", description="makes a change at day 1 out of order", at=day(2))
    if write == "restore":
        await api(DELETE, input={"product": {"uid": UID}, "at": iso(day(3))})
    log_before, _ = await read_stored(api.database)
    responses = await run_concurrently([lambda: api(mutation, input={**content, "idempotencyKey": "once"})] * WRITERS)
    assert codes_and_fields(responses) == []
    assert all(response.data == responses[0].data for response in responses)
    log, _ = await read_stored(api.database)
    assert len(log) == len(log_before) + 1


@pytest.mark.parametrize("subjects", ["one product", "a product each", "a new product each"])
async def test_of_concurrent_requests_with_one_idempotency_key_and_different_contents_one_succeeds(
    api: Api, subjects: str
) -> None:
    for n in range(WRITERS):
        await api.register(f"p{n}")
    log_before, _ = await read_stored(api.database)

    def request(n: int) -> Callable[[], Awaitable[ApiResponse]]:
        key = {"idempotencyKey": "once"}
        match subjects:
            case "one product":
                return lambda: api(UPDATE, input={"product": {"name": "p0"}, "owner": f"owner {n}", **key})
            case "a product each":
                return lambda: api(UPDATE, input={"product": {"name": f"p{n}"}, "owner": "bob", **key})
            case _:
                return lambda: api(REGISTER, input=product_fields(f"new {n}", **key))

    responses = await run_concurrently([request(n) for n in range(WRITERS)])
    assert codes_and_fields(responses) == [("CONFLICT", "idempotencyKey")] * (WRITERS - 1)
    log, _ = await read_stored(api.database)
    assert len(log) == len(log_before) + 1


async def test_two_requests_that_lock_two_products_in_opposite_order_both_succeed(
    address: str, errors: ErrorHook, api: Api
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

    async with asyncio.timeout(20), locked(address, "orders") as until_queued:
        bob = request("bob", "orders", "returns")
        await until_queued(1)
        carl = request("carl", "returns", "orders")
        await until_queued(2)
    async with asyncio.timeout(20):
        for task, owner in ((bob, "bob"), (carl, "carl")):
            assert (await task).data == {"one": {"product": {"owner": owner}}, "two": {"product": {"owner": owner}}}
    assert errors.states.count("40P01") == 1
    log, versions = await read_stored(api.database)
    assert len(log) == 2 + 4
    (last,) = {version.owner for version in versions if version.valid_to is None}
    assert last in ("bob", "carl")


async def test_concurrent_renames_of_two_products_to_each_others_name_are_conflicts(
    address: str, errors: ErrorHook, api: Api
) -> None:
    await api.register("orders")
    await api.register("returns")
    before = await read_stored(api.database)
    # the first either waits for the other or meets the name that the other still has: in both cases neither gets the name
    for _ in range(10):
        async with asyncio.timeout(20):
            async with locked(address, "orders", "returns") as until_queued:
                renames = [
                    asyncio.create_task(api.update("orders", name="returns")),
                    asyncio.create_task(api.update("returns", name="orders")),
                ]
                await until_queued(2)
            assert codes_and_fields([await rename for rename in renames]) == [("CONFLICT", "name")] * 2
    assert await read_stored(api.database) == before
    assert errors.states.count("40P01") <= 10


async def test_a_name_that_a_rename_frees_goes_to_one_of_concurrent_renames(api: Api) -> None:
    await api.register("orders")
    for n in range(WRITERS):
        await api.register(f"p{n}")
    await api.update("orders", name="purchases", at=day(10))
    responses = await run_concurrently(
        [lambda n=n: api.update(f"p{n}", name="orders", at=day(10)) for n in range(WRITERS)]  # type: ignore[misc]
    )
    assert codes_and_fields(responses) == [("CONFLICT", "name")] * (WRITERS - 1)
    _, versions = await read_stored(api.database)
    assert [(it.valid_from, it.valid_to) for it in versions if it.name == "orders"] == [(day(0), day(10)), (day(10), None)]


@pytest.mark.parametrize("since", [2, 1], ids=["adjacent periods", "overlapping periods"])
async def test_concurrent_renames_out_of_order_succeed_where_their_periods_do_not_overlap(api: Api, since: int) -> None:
    for n in range(WRITERS):
        await api.register(f"p{n}")
        await api.update(f"p{n}", name=f"q{n}", at=day(2 * n + 4))
    log_before, _ = await read_stored(api.database)
    responses = await run_concurrently(
        [lambda n=n: api.update(f"p{n}", name="star", at=day(2 * n + since)) for n in range(WRITERS)]  # type: ignore[misc]
    )
    errors = codes_and_fields(responses)
    assert errors == [("CONFLICT", "name")] * len(errors)
    log, versions = await read_stored(api.database)
    assert len(log) == len(log_before) + WRITERS - len(errors)
    assert Counter(it.name for it in versions)["star"] == WRITERS - len(errors)
    # of neighbours that overlap at most every second succeeds, and so does every one whose neighbours fail
    assert len(errors) == 0 if since == 2 else WRITERS / 2 <= len(errors) <= WRITERS * 2 / 3


async def test_a_rename_frees_the_name_from_its_instant_on(api: Api) -> None:
    await api.register("orders")
    await api.register("returns")
    await api.update("orders", name="purchases", at=day(10))
    before = await read_stored(api.database)
    response = await api.update("returns", name="orders", at=day(10) - timedelta(microseconds=1))
    assert response.code_and_field == ("CONFLICT", "name")
    assert await read_stored(api.database) == before
    assert (await api.update("returns", name="orders", at=day(10))).data["updateProduct"]["changed"]
    _, versions = await read_stored(api.database)
    assert [(it.valid_from, it.valid_to) for it in versions if it.name == "orders"] == [(day(0), day(10)), (day(10), None)]


async def test_a_write_that_would_take_a_used_period_of_a_name_is_a_conflict_and_changes_nothing(api: Api) -> None:
    """`orders` is the name of the first product until day 10, of the second until day 20, and of the first again after that."""
    first = (await api.register("orders"))["uid"]
    second = (await api.register("returns"))["uid"]
    third = (await api.register("refunds"))["uid"]
    await api.update("refunds", description="changed later", at=day(30))
    for at, uid, name in ((10, first, "purchases"), (10, second, "orders"), (20, second, "returns"), (20, first, "orders")):
        response = await api(UPDATE, input={"product": {"uid": uid}, "name": name, "at": iso(day(at))})
        assert response.data["updateProduct"]["changed"]
    await api(DELETE, input={"product": {"uid": third}, "at": iso(day(40))})
    await api.register("refunds", at=iso(day(50)))
    before = await read_stored(api.database)

    async def assert_conflict(mutation: str, **content: Any) -> None:
        assert (await api(mutation, input=content)).code_and_field == ("CONFLICT", "name")
        assert await read_stored(api.database) == before

    # renames out of order, into closed periods of the name and into the current one
    for at in (1, 12, 25):
        await assert_conflict(UPDATE, product={"uid": third}, name="orders", at=iso(day(at)))
    await assert_conflict(UPDATE, product={"uid": second}, name="orders", at=iso(day(5)))
    # a second change at the instant of a rename, which would undo it
    await assert_conflict(UPDATE, product={"uid": second}, name="orders", at=iso(day(20)))
    await assert_conflict(UPDATE, product={"uid": first}, name="orders", at=iso(day(10)))
    # a lifetime that would begin, or begin again, with a name that is used at that instant or later
    await assert_conflict(REGISTER, **product_fields("orders", at=iso(day(-5))))
    await assert_conflict(REGISTER, **product_fields("purchases", at=iso(day(9))))
    await assert_conflict(RESTORE, product={"uid": third}, at=iso(day(45)))
    await assert_conflict(RESTORE, product={"uid": third})


async def test_an_update_by_name_that_waits_for_a_rename_does_not_change_the_renamed_product(address: str, api: Api) -> None:
    await api.register("orders")
    async with asyncio.timeout(20):
        async with locked(address, "orders") as until_queued:
            rename = asyncio.create_task(api.update("orders", name="purchases"))
            await until_queued(1)
            update = asyncio.create_task(api.update("orders", owner="bob"))
            await until_queued(2)
        assert (await rename).data["updateProduct"]["changed"]
        # a name is resolved at the instant of the write, and a write as of now comes after the write that it waited for
        assert (await update).code_and_field == ("NOT_FOUND", "product")
    log, versions = await read_stored(api.database)
    assert len(log) == 2
    assert {version.owner for version in versions} == {"ann"}


@pytest.mark.parametrize("ahead", [timedelta(), timedelta(seconds=3)])
async def test_an_update_that_waits_is_later_than_what_was_logged_meanwhile(address: str, api: Api, ahead: timedelta) -> None:
    uid = str(uuid4())
    await api(REGISTER, input=product_fields(uid=uid, description="first"))
    connection, observer = await asyncpg.connect(address), await asyncpg.connect(address)
    try:
        async with asyncio.timeout(20):
            async with connection.transaction():
                asset_id = await connection.fetchval("SELECT id FROM asset WHERE uid = $1 FOR NO KEY UPDATE", uid)
                update = asyncio.ensure_future(api(UPDATE, input={"product": {"uid": uid}, "description": "second"}))
                await wait_until_queued(observer, task=update)
                # a change of another writer that leaves the version as it is
                logged = await connection.fetchval(
                    "INSERT INTO change"
                    " (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id)"
                    " SELECT 1, 'PRODUCT', $1, 'PATCH', clock_timestamp() + $2, $3, false, clock_timestamp(), 'other', 'other'"
                    " RETURNING change_ts",
                    asset_id,
                    ahead,
                    '{"description": "first"}',
                )
            response = await update
        assert not response.errors, response.errors
        log, versions = await read_stored(api.database)
        assert [change.payload["description"] for change in log[1:]] == ["first", "second"]
        assert log[-1].change_ts > logged
        assert versions[-1].valid_from == log[-1].change_ts
    finally:
        await connection.close()
        await observer.close()


async def test_an_update_that_waits_for_a_deletion_finds_no_product(address: str, api: Api) -> None:
    uid = str(uuid4())
    await api(REGISTER, input=product_fields("orders", uid=uid))
    async with asyncio.timeout(20), locked(address, "orders") as until_queued:
        deletion = asyncio.ensure_future(api(DELETE, input={"product": {"uid": uid}}))
        await until_queued(1)
        update = asyncio.ensure_future(api(UPDATE, input={"product": {"uid": uid}, "owner": "late"}))
        await until_queued(2)
    assert not (await deletion).errors
    assert (await update).code_and_field == ("NOT_FOUND", "product")
    log, versions = await read_stored(api.database)
    assert [change.operation for change in log] == ["SET", "DELETE"]
    assert len(versions) == 1


async def test_an_update_that_repeats_a_state_which_another_writer_has_just_replaced_is_a_change(address: str, api: Api) -> None:
    uid = str(uuid4())
    await api(REGISTER, input=product_fields("orders", uid=uid, owner="ann"))
    async with asyncio.timeout(20), locked(address, "orders") as until_queued:
        first = asyncio.ensure_future(api(UPDATE, input={"product": {"uid": uid}, "owner": "bob"}))
        await until_queued(1)
        second = asyncio.ensure_future(api(UPDATE, input={"product": {"uid": uid}, "owner": "ann"}))
        await until_queued(2)
    assert [(await it).data["updateProduct"]["changed"] for it in (first, second)] == [True, True]
    _, versions = await read_stored(api.database)
    assert [version.owner for version in versions] == ["ann", "bob", "ann"]
