"""How many identities a tenant may have: counted by each transaction as it ends, exact however many write at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.assets import asset, entity, product, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity import entity_uid_by_key
from db.associations import lineage_link, lineage_link_fields, relationship
from db.associations.association import AssetRef
from db.author import Author
from db.bulk import ingest
from db.bulk.purge import PurgeCursor, purge_step
from db.connection import WriteConnection
from db.database import Database
from db.errors import Conflict, HeadwaterError, LimitExceeded
from db.registries import entity_type, relationship_type
from db.temporal.kinds import KINDS, PRODUCT
from db.temporal.verification import verify_tenant
from db.tenancy import tenant
from db.tenancy.idempotency import IdempotencyKey, run_once
from db.tenancy.tenant import Quota
from tests.builders import REGISTER, Api, day
from tests.builders import product_fields as fields_of
from tests.db.conftest import OTHER
from tests.processes import wait_until

AUTHOR = Author("writer", "request")
A, B = UUID(int=1), UUID(int=2)

Write = Callable[[WriteConnection], Awaitable[Any]]


@pytest.fixture
async def owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    yield connection
    await connection.close()


async def counted(owner: asyncpg.Connection) -> dict[str, int]:
    return {it["kind"]: it["used"] for it in await owner.fetch("SELECT kind, used FROM quota WHERE tenant_id = 1")}


async def there(owner: asyncpg.Connection) -> dict[str, int]:
    """What there is of each kind, if there is anything."""
    found = {}
    for kind in KINDS:
        narrowed = f"AND kind = '{kind.name}'" if kind.is_asset_kind else ""
        found[kind.name] = await owner.fetchval(f"SELECT count(*) FROM {kind.identities.name} WHERE tenant_id = 1 {narrowed}")
    return {kind: number for kind, number in found.items() if number}


async def allow(owner: asyncpg.Connection, kind: str, number: int | None) -> None:
    await owner.execute(
        "INSERT INTO quota (tenant_id, kind, allowed) VALUES (1, $1, $2)"
        " ON CONFLICT (tenant_id, kind) DO UPDATE SET allowed = excluded.allowed",
        kind,
        number,
    )


async def write(database: Database, *writes: Write) -> None:
    async with database.transaction(1, AUTHOR) as connection:
        for it in writes:
            await it(connection)


async def sound(database: Database) -> None:
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


def registered(name: str, uid: UUID | None = None) -> Write:
    return lambda connection: product.register(connection, fields_of(name), uid=uid, at=day(0))


def linked(source: str, target: str) -> Write:
    return lambda connection: lineage_link.register(
        connection, AssetRef(product=source), AssetRef(product=target), None, {}, at=day(1)
    )


def person(key: str) -> Write:
    ref = IdentitySpec(type="PERSON", key=key, new_uid=entity_uid_by_key("PERSON", key))
    return lambda connection: entity.create(connection, ref, f"Person {key}", {}, at=day(0))


def owned(name: str, key: str) -> Write:
    ends = AssetRef(product=name), AssetRef(type="PERSON", key=key)
    return lambda connection: relationship.relate(
        connection, relationship.RelationshipState("owner", *ends, {"attributes": {}}, day(1))
    )


async def types(connection: WriteConnection) -> None:
    source = {"service": "staff", "endpoint": "/people", "lookup_field": "id"}
    await entity_type.put(connection, "PERSON", "Person", None, source)
    ends = {"origin": "PRODUCT", "related": "PERSON"}
    await relationship_type.put(connection, key="owner", reverse_key="owns", **ends, cardinality="MANY_TO_MANY")


def stated(uid: UUID | None, name: str, **changes: Any) -> ingest.AssetState:
    return ingest.AssetState(PRODUCT, IdentitySpec(uid), product_fields.validate_state(fields_of(name, **changes)), day(0))


async def test_identities_of_every_kind_are_counted_and_those_made_for_others_too(
    database: Database, owner: asyncpg.Connection
) -> None:
    await write(database, types, registered("raw"), registered("clean"), person("1"), linked("raw", "clean"), owned("raw", "1"))
    assert await counted(owner) == {"PRODUCT": 2, "ENTITY": 1, "LINK": 1, "RELATIONSHIP": 1}
    # nothing is known of person 2 but the key
    await write(database, owned("raw", "2"), registered("report"))
    assert await counted(owner) == {"PRODUCT": 3, "ENTITY": 2, "LINK": 1, "RELATIONSHIP": 2} == await there(owner)
    await sound(database)
    async with database.snapshot(1) as connection:
        assert await tenant.quotas(connection) == {"products": Quota(3), "entities": Quota(2), "links": Quota(1)}


async def test_what_is_said_of_what_is_there_counts_nothing(database: Database, owner: asyncpg.Connection) -> None:
    await write(database, types, registered("raw", A), registered("clean", B), linked("raw", "clean"), owned("raw", "1"))
    before = await counted(owner)
    again: list[Write] = [
        lambda it: product.update(it, A, {"owner": "bob"}),
        lambda it: asset.delete(it, PRODUCT, A),
        lambda it: asset.restore(it, PRODUCT, A),
        linked("raw", "clean"),
        owned("raw", "1"),
        lambda it: ingest.ingest(it, [stated(A, "raw"), stated(B, "clean", owner="eve"), Deletion(A)]),
    ]
    for it in again:
        await write(database, it)
    assert await counted(owner) == before == await there(owner)


async def test_a_request_that_is_sent_again_counts_once(database: Database, owner: asyncpg.Connection) -> None:
    for _ in range(3):
        await write(database, lambda it: run_once(it, IdempotencyKey("key", A), partial(registered("raw"), it)))
    assert await counted(owner) == {"PRODUCT": 1}


async def test_what_a_batch_undoes_is_not_counted_and_what_it_keeps_is(database: Database, owner: asyncpg.Connection) -> None:
    batch: list[ingest.BatchEntry] = [
        stated(A, "same"),
        # those of one name cannot be together, and the batch is written anew without one of them
        stated(B, "same"),
        stated(UUID(int=3), "other"),
        # another word of the same at the same instant is not heard
        stated(UUID(int=3), "another"),
        Deletion(UUID(int=9)),
        lineage_link.LinkState(AssetRef(uid=A), AssetRef(uid=UUID(int=3)), None, lineage_link_fields.validate_state({}), day(1)),
        lineage_link.LinkState(AssetRef(uid=A), AssetRef(uid=UUID(int=9)), None, lineage_link_fields.validate_state({}), day(1)),
    ]
    async with database.transaction(1, AUTHOR) as connection:
        outcomes = await ingest.ingest(connection, batch)
    assert [isinstance(it, HeadwaterError) for it in outcomes] == [False, True, False, True, True, False, True]
    assert await counted(owner) == {"PRODUCT": 2, "LINK": 1} == await there(owner)
    await sound(database)


async def test_what_is_rolled_back_is_not_counted(database: Database, owner: asyncpg.Connection, api: Api) -> None:
    with pytest.raises(Conflict):
        await write(database, registered("raw"), registered("raw"))
    two = (
        f"mutation ($input: RegisterProductInput!) {{ one: {REGISTER.partition('{ ')[2][:-2]} two: {REGISTER.partition('{ ')[2]}"
    )
    given = {"name": "raw", "domain": "sales", "owner": "ann", "schema": {}}
    assert (await api(two, input=given)).code_and_field[0] == "CONFLICT"
    assert await counted(owner) == {} == await there(owner)


async def test_the_quota_is_exact_however_many_come_at_once(address: str, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 10)
    database = Database(address, pool_size=30)
    try:
        ready = asyncio.Barrier(30)

        async def come(number: int) -> None:
            async with database.transaction(1, AUTHOR) as connection:
                await ready.wait()
                await registered(f"product {number}")(connection)

        outcomes = await asyncio.gather(*(come(number) for number in range(30)), return_exceptions=True)
        refused = [it for it in outcomes if it is not None]
        assert len(refused) == 20
        assert {type(it) for it in refused} == {LimitExceeded}
        assert str(refused[0]) == (
            "The quota of this tenant is 10 products; with this write it would have 11. Deleted ones count until they are purged."
        )
        assert await counted(owner) == {"PRODUCT": 10} == await there(owner)
        assert await owner.fetchval("SELECT count(*) FROM change") == 10
        assert await owner.fetchval("SELECT count(*) FROM audit") == 10
        await sound(database)
    finally:
        await database.close()


async def test_of_several_at_once_none_is_refused_for_what_another_did_not_keep(
    database: Database, owner: asyncpg.Connection
) -> None:
    await allow(owner, "PRODUCT", 1)
    with pytest.raises(Conflict):
        await write(database, registered("raw"), registered("raw"))
    await write(database, registered("raw"))
    with pytest.raises(LimitExceeded):
        await write(database, registered("clean"))


@pytest.mark.parametrize(
    ("kind", "one_more", "told"),
    [
        ("PRODUCT", registered("more"), "1 products; with this write it would have 3"),
        ("ENTITY", person("2"), "1 entities; with this write it would have 2"),
        ("ENTITY", owned("raw", "2"), "1 entities; with this write it would have 2"),
        ("LINK", linked("clean", "raw"), "1 links; with this write it would have 2"),
        ("RELATIONSHIP", owned("clean", "1"), "1 relationships; with this write it would have 2"),
    ],
)
async def test_each_kind_has_its_bound_and_no_other_is_held_up_by_it(
    database: Database, owner: asyncpg.Connection, kind: str, one_more: Write, told: str
) -> None:
    await write(database, types, registered("raw"), registered("clean"), person("1"), linked("raw", "clean"), owned("raw", "1"))
    await allow(owner, kind, 1)
    before = await counted(owner), await there(owner)
    with pytest.raises(LimitExceeded, match=told):
        await write(database, one_more)
    assert (await counted(owner), await there(owner)) == before
    await allow(owner, kind, 3)
    await write(database, one_more)


async def test_what_a_tenant_has_beyond_its_quota_it_keeps_and_may_change(database: Database, owner: asyncpg.Connection) -> None:
    await write(database, registered("raw", A), registered("clean", B))
    await allow(owner, "PRODUCT", 1)
    await write(database, lambda it: product.update(it, A, {"owner": "bob"}), lambda it: asset.delete(it, PRODUCT, B))
    await write(database, lambda it: asset.restore(it, PRODUCT, B))
    with pytest.raises(LimitExceeded):
        await write(database, registered("more"))
    await allow(owner, "PRODUCT", None)
    await write(database, registered("more"))


async def test_who_comes_second_with_the_same_adds_nothing_and_is_not_refused_for_it(
    database: Database, owner: asyncpg.Connection
) -> None:
    added, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with database.transaction(1, AUTHOR) as connection:
            await ingest.ingest(connection, [stated(A, "raw")])
            added.set()
            await go_on.wait()

    async def second() -> None:
        async with database.transaction(1, AUTHOR) as connection:
            await ingest.ingest(connection, [stated(A, "raw", owner="eve")])
            assert connection.added[PRODUCT] == 0
            await allow(owner, "PRODUCT", 0)

    tasks = [asyncio.create_task(first())]
    await added.wait()
    tasks.append(asyncio.create_task(second()))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def waited_for() -> bool:
        return bool(await owner.fetchval(waiting))

    await wait_until(waited_for)
    go_on.set()
    await asyncio.gather(*tasks)
    assert await counted(owner) == {"PRODUCT": 1}


async def test_writers_of_several_kinds_and_whoever_sets_quotas_do_not_wait_for_each_other_in_a_ring(
    address: str, owner: asyncpg.Connection
) -> None:
    database = Database(address, pool_size=12)
    try:
        await write(database, types, registered("hub"), person("0"))

        async def writer(number: int) -> None:
            name, key = f"product {number}", str(number)
            several = [registered(name), person(key)]
            several = several if number % 2 else several[::-1]
            await write(database, *several, owned(name, key), linked("hub", name))

        async def setter(number: int) -> None:
            given = {"products": 1000 + number, "links": 1000, "entities": 1000}
            await tenant.change(address, "default", Author("owner"), settings={"retention_days": number}, allowed=given)

        # a deadlock, or a lock waited for too long, is raised
        await asyncio.gather(*(writer(number) for number in range(1, 25)), *(setter(number) for number in range(6)))
        assert await counted(owner) == {"PRODUCT": 25, "ENTITY": 25, "LINK": 24, "RELATIONSHIP": 24} == await there(owner)
        await sound(database)
    finally:
        await database.close()


async def test_quotas_are_set_in_the_order_in_which_writers_count(address: str, owner: asyncpg.Connection) -> None:
    for kind in ("LINK", "PRODUCT"):
        await allow(owner, kind, 1)
    async with owner.transaction():
        await owner.execute("SELECT FROM quota WHERE kind = 'LINK' FOR UPDATE")
        setting = asyncio.create_task(tenant.change(address, "default", Author("owner"), allowed={"products": 7, "links": 7}))

        async def waited_for() -> bool:
            return bool(await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await wait_until(waited_for)
        # it holds nothing yet that comes later
        await owner.execute("SELECT FROM quota WHERE kind = 'PRODUCT' FOR UPDATE NOWAIT")
    await setting


async def test_whoever_sets_a_tenant_up_does_not_wait_for_its_writers(database: Database, address: str) -> None:
    async def set_up(_: WriteConnection) -> None:
        async with asyncio.timeout(5):
            await tenant.change(address, "default", Author("owner"), allowed={"products": 0})

    with pytest.raises(LimitExceeded):
        await write(database, registered("raw"), set_up)


async def test_a_purge_makes_room(database: Database, address: str, owner: asyncpg.Connection) -> None:
    await write(database, registered("raw", A), lambda it: asset.delete(it, PRODUCT, A, at=day(1)))
    await allow(owner, "PRODUCT", 1)
    with pytest.raises(LimitExceeded, match="Deleted ones count until they are purged"):
        await write(database, registered("clean"))
    await owner.execute("UPDATE tenant SET retention_days = 0")
    place: PurgeCursor | None = PurgeCursor()
    while place is not None:
        place = (await purge_step(address, 1, AUTHOR, place)).next
    assert await counted(owner) == {"PRODUCT": 0}
    await write(database, registered("clean"))
    await sound(database)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("UPDATE quota SET used = used + 1 WHERE kind = 'PRODUCT'", "PRODUCT: the quota counts 3, but 2 exist"),
        ("UPDATE quota SET used = used - 1 WHERE kind = 'LINK'", "LINK: the quota counts 0, but 1 exist"),
        ("DELETE FROM quota WHERE kind = 'ENTITY'", "ENTITY: the quota counts 0, but 1 exist"),
        ("UPDATE quota SET used = 7 WHERE kind = 'RELATIONSHIP'", "RELATIONSHIP: the quota counts 7, but 1 exist"),
    ],
)
async def test_verify_tells_of_a_wrong_count(database: Database, owner: asyncpg.Connection, wrong: str, told: str) -> None:
    await write(database, types, registered("raw"), registered("clean"), person("1"), linked("raw", "clean"), owned("raw", "1"))
    await sound(database)
    await owner.execute(wrong)
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == [told]


async def test_what_one_tenant_has_is_nothing_to_another(two_tenants: Database, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 1)
    async with two_tenants.transaction(OTHER, AUTHOR) as connection:
        await registered("more")(connection)
    with pytest.raises(LimitExceeded):
        await write(two_tenants, registered("more"))


async def test_a_mutation_beyond_the_quota_is_told_so(api: Api, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 0)
    answer = await api(REGISTER, input=fields_of())
    assert answer.code_and_field == ("LIMIT_EXCEEDED", None)
    assert await there(owner) == {}
    assert await owner.fetchval("SELECT outcome FROM audit") == "LIMIT_EXCEEDED"
