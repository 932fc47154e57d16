"""Tests of quotas: each transaction counts its identities before it commits, and concurrent writers never exceed a quota."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.assets import asset, entity, product, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity_key import entity_uid_by_key
from db.assets.reference import AssetRef
from db.associations import lineage_link, lineage_link_fields, relationship
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


async def used(owner: asyncpg.Connection) -> dict[str, int]:
    """Return the numbers that the quotas count, by kind."""
    return {it["kind"]: it["used"] for it in await owner.fetch("SELECT kind, used FROM quota WHERE tenant_id = 1")}


async def existing(owner: asyncpg.Connection) -> dict[str, int]:
    """Return the numbers of identities, by kind; without kinds of which there are none."""
    counts = {}
    for kind in KINDS:
        condition = f"AND kind = '{kind.name}'" if kind.is_asset_kind else ""
        counts[kind.name] = await owner.fetchval(f"SELECT count(*) FROM {kind.identities.name} WHERE tenant_id = 1 {condition}")
    return {kind: number for kind, number in counts.items() if number}


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


async def verify(database: Database) -> None:
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


def register(name: str, uid: UUID | None = None) -> Write:
    return lambda connection: product.register(connection, fields_of(name), uid=uid, at=day(0))


def link(source: str, target: str) -> Write:
    return lambda connection: lineage_link.register(
        connection, AssetRef(product=source), AssetRef(product=target), None, {}, at=day(1)
    )


def create_person(key: str) -> Write:
    ref = IdentitySpec(type="PERSON", key=key, new_uid=entity_uid_by_key("PERSON", key))
    return lambda connection: entity.create(connection, ref, f"Person {key}", {}, at=day(0))


def relate(name: str, key: str) -> Write:
    ends = AssetRef(product=name), AssetRef(type="PERSON", key=key)
    return lambda connection: relationship.relate(
        connection, relationship.RelationshipState("owner", *ends, {"attributes": {}}, day(1))
    )


async def types(connection: WriteConnection) -> None:
    source = {"service": "staff", "endpoint": "/people", "lookup_field": "id"}
    await entity_type.put(connection, "PERSON", "Person", None, source)
    ends = {"origin": "PRODUCT", "related": "PERSON"}
    await relationship_type.put(connection, key="owner", reverse_key="owns", **ends, cardinality="MANY_TO_MANY")


def product_entry(uid: UUID | None, name: str, **changes: Any) -> ingest.AssetState:
    return ingest.AssetState(PRODUCT, IdentitySpec(uid), product_fields.validate_state(fields_of(name, **changes)), day(0))


async def test_identities_of_every_kind_are_counted_including_stubs(database: Database, owner: asyncpg.Connection) -> None:
    await write(database, types, register("raw"), register("clean"), create_person("1"), link("raw", "clean"), relate("raw", "1"))
    assert await used(owner) == {"PRODUCT": 2, "ENTITY": 1, "LINK": 1, "RELATIONSHIP": 1}
    # person 2 becomes a stub
    await write(database, relate("raw", "2"), register("report"))
    assert await used(owner) == {"PRODUCT": 3, "ENTITY": 2, "LINK": 1, "RELATIONSHIP": 2} == await existing(owner)
    await verify(database)
    async with database.snapshot(1) as connection:
        assert await tenant.quotas(connection) == {"products": Quota(3), "entities": Quota(2), "links": Quota(1)}


async def test_changes_of_existing_identities_count_nothing(database: Database, owner: asyncpg.Connection) -> None:
    await write(database, types, register("raw", A), register("clean", B), link("raw", "clean"), relate("raw", "1"))
    before = await used(owner)
    writes: list[Write] = [
        lambda it: product.update(it, A, {"owner": "bob"}),
        lambda it: asset.delete(it, PRODUCT, A),
        lambda it: asset.restore(it, PRODUCT, A),
        link("raw", "clean"),
        relate("raw", "1"),
        lambda it: ingest.ingest(it, [product_entry(A, "raw"), product_entry(B, "clean", owner="eve"), Deletion(A)]),
    ]
    for it in writes:
        await write(database, it)
    assert await used(owner) == before == await existing(owner)


async def test_repeated_request_counts_once(database: Database, owner: asyncpg.Connection) -> None:
    for _ in range(3):
        await write(database, lambda it: run_once(it, IdempotencyKey("key", A), partial(register("raw"), it)))
    assert await used(owner) == {"PRODUCT": 1}


async def test_batch_counts_accepted_entries_only(database: Database, owner: asyncpg.Connection) -> None:
    batch: list[ingest.BatchEntry] = [
        product_entry(A, "same"),
        # two products of one name conflict, so the batch is written again without one of them
        product_entry(B, "same"),
        product_entry(UUID(int=3), "other"),
        # a second state at the same instant is refused
        product_entry(UUID(int=3), "another"),
        Deletion(UUID(int=9)),
        lineage_link.LinkState(AssetRef(uid=A), AssetRef(uid=UUID(int=3)), None, lineage_link_fields.validate_state({}), day(1)),
        lineage_link.LinkState(AssetRef(uid=A), AssetRef(uid=UUID(int=9)), None, lineage_link_fields.validate_state({}), day(1)),
    ]
    async with database.transaction(1, AUTHOR) as connection:
        outcomes = await ingest.ingest(connection, batch)
    assert [isinstance(it, HeadwaterError) for it in outcomes] == [False, True, False, True, True, False, True]
    assert await used(owner) == {"PRODUCT": 2, "LINK": 1} == await existing(owner)
    await verify(database)


async def test_rolled_back_write_is_not_counted(database: Database, owner: asyncpg.Connection, api: Api) -> None:
    with pytest.raises(Conflict):
        await write(database, register("raw"), register("raw"))
    two = (
        f"mutation ($input: RegisterProductInput!) {{ one: {REGISTER.partition('{ ')[2][:-2]} two: {REGISTER.partition('{ ')[2]}"
    )
    fields = {"name": "raw", "domain": "sales", "owner": "ann", "schema": {}}
    assert (await api(two, input=fields)).code_and_field[0] == "CONFLICT"
    assert await used(owner) == {} == await existing(owner)


async def test_quota_is_exact_with_concurrent_writers(address: str, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 10)
    database = Database(address, pool_size=30)
    try:
        ready = asyncio.Barrier(30)

        async def write_one(number: int) -> None:
            async with database.transaction(1, AUTHOR) as connection:
                await ready.wait()
                await register(f"product {number}")(connection)

        outcomes = await asyncio.gather(*(write_one(number) for number in range(30)), return_exceptions=True)
        refused = [it for it in outcomes if it is not None]
        assert len(refused) == 20
        assert {type(it) for it in refused} == {LimitExceeded}
        assert str(refused[0]) == (
            "The quota of this tenant is 10 products; with this write it would have 11. Deleted ones count until they are purged."
        )
        assert await used(owner) == {"PRODUCT": 10} == await existing(owner)
        assert await owner.fetchval("SELECT count(*) FROM change") == 10
        assert await owner.fetchval("SELECT count(*) FROM audit") == 10
        await verify(database)
    finally:
        await database.close()


async def test_rolled_back_write_does_not_use_the_quota(database: Database, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 1)
    with pytest.raises(Conflict):
        await write(database, register("raw"), register("raw"))
    await write(database, register("raw"))
    with pytest.raises(LimitExceeded):
        await write(database, register("clean"))


@pytest.mark.parametrize(
    ("kind", "one_more", "message"),
    [
        ("PRODUCT", register("more"), "1 products; with this write it would have 3"),
        ("ENTITY", create_person("2"), "1 entities; with this write it would have 2"),
        ("ENTITY", relate("raw", "2"), "1 entities; with this write it would have 2"),
        ("LINK", link("clean", "raw"), "1 links; with this write it would have 2"),
        ("RELATIONSHIP", relate("clean", "1"), "1 relationships; with this write it would have 2"),
    ],
)
async def test_each_kind_has_its_quota(
    database: Database, owner: asyncpg.Connection, kind: str, one_more: Write, message: str
) -> None:
    await write(database, types, register("raw"), register("clean"), create_person("1"), link("raw", "clean"), relate("raw", "1"))
    await allow(owner, kind, 1)
    before = await used(owner), await existing(owner)
    with pytest.raises(LimitExceeded, match=message):
        await write(database, one_more)
    assert (await used(owner), await existing(owner)) == before
    await allow(owner, kind, 3)
    await write(database, one_more)


async def test_tenant_above_its_quota_may_change_what_it_has(database: Database, owner: asyncpg.Connection) -> None:
    await write(database, register("raw", A), register("clean", B))
    await allow(owner, "PRODUCT", 1)
    await write(database, lambda it: product.update(it, A, {"owner": "bob"}), lambda it: asset.delete(it, PRODUCT, B))
    await write(database, lambda it: asset.restore(it, PRODUCT, B))
    with pytest.raises(LimitExceeded):
        await write(database, register("more"))
    await allow(owner, "PRODUCT", None)
    await write(database, register("more"))


async def test_concurrent_write_of_the_same_identity_counts_once(database: Database, owner: asyncpg.Connection) -> None:
    added, may_commit = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with database.transaction(1, AUTHOR) as connection:
            await ingest.ingest(connection, [product_entry(A, "raw")])
            added.set()
            await may_commit.wait()

    async def second() -> None:
        async with database.transaction(1, AUTHOR) as connection:
            await ingest.ingest(connection, [product_entry(A, "raw", owner="eve")])
            assert connection.added[PRODUCT] == 0
            await allow(owner, "PRODUCT", 0)

    tasks = [asyncio.create_task(first())]
    await added.wait()
    tasks.append(asyncio.create_task(second()))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def is_waiting() -> bool:
        return bool(await owner.fetchval(waiting))

    await wait_until(is_waiting)
    may_commit.set()
    await asyncio.gather(*tasks)
    assert await used(owner) == {"PRODUCT": 1}


async def test_writers_of_several_kinds_and_changes_of_quotas_do_not_deadlock(address: str, owner: asyncpg.Connection) -> None:
    database = Database(address, pool_size=12)
    try:
        await write(database, types, register("hub"), create_person("0"))

        async def writer(number: int) -> None:
            name, key = f"product {number}", str(number)
            writes = [register(name), create_person(key)]
            writes = writes if number % 2 else writes[::-1]
            await write(database, *writes, relate(name, key), link("hub", name))

        async def setter(number: int) -> None:
            allowed = {"products": 1000 + number, "links": 1000, "entities": 1000}
            await tenant.change(address, "default", Author("owner"), settings={"retention_days": number}, allowed=allowed)

        # a deadlock or a lock timeout would raise
        await asyncio.gather(*(writer(number) for number in range(1, 25)), *(setter(number) for number in range(6)))
        assert await used(owner) == {"PRODUCT": 25, "ENTITY": 25, "LINK": 24, "RELATIONSHIP": 24} == await existing(owner)
        await verify(database)
    finally:
        await database.close()


async def test_quotas_are_locked_in_the_order_of_writers(address: str, owner: asyncpg.Connection) -> None:
    for kind in ("LINK", "PRODUCT"):
        await allow(owner, kind, 1)
    async with owner.transaction():
        await owner.execute("SELECT FROM quota WHERE kind = 'LINK' FOR UPDATE")
        setting = asyncio.create_task(tenant.change(address, "default", Author("owner"), allowed={"products": 7, "links": 7}))

        async def is_waiting() -> bool:
            return bool(await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await wait_until(is_waiting)
        # it has not locked a later kind yet
        await owner.execute("SELECT FROM quota WHERE kind = 'PRODUCT' FOR UPDATE NOWAIT")
    await setting


async def test_change_of_a_tenant_does_not_wait_for_its_writers(database: Database, address: str) -> None:
    async def set_up(_: WriteConnection) -> None:
        async with asyncio.timeout(5):
            await tenant.change(address, "default", Author("owner"), allowed={"products": 0})

    with pytest.raises(LimitExceeded):
        await write(database, register("raw"), set_up)


async def test_purge_frees_the_quota(database: Database, address: str, owner: asyncpg.Connection) -> None:
    await write(database, register("raw", A), lambda it: asset.delete(it, PRODUCT, A, at=day(1)))
    await allow(owner, "PRODUCT", 1)
    with pytest.raises(LimitExceeded, match="Deleted ones count until they are purged"):
        await write(database, register("clean"))
    await owner.execute("UPDATE tenant SET retention_days = 0")
    cursor: PurgeCursor | None = PurgeCursor()
    while cursor is not None:
        cursor = (await purge_step(address, 1, AUTHOR, cursor)).next
    assert await used(owner) == {"PRODUCT": 0}
    await write(database, register("clean"))
    await verify(database)


@pytest.mark.parametrize(
    ("tampering", "difference"),
    [
        ("UPDATE quota SET used = used + 1 WHERE kind = 'PRODUCT'", "PRODUCT: the quota counts 3, but 2 exist"),
        ("UPDATE quota SET used = used - 1 WHERE kind = 'LINK'", "LINK: the quota counts 0, but 1 exist"),
        ("DELETE FROM quota WHERE kind = 'ENTITY'", "ENTITY: the quota counts 0, but 1 exist"),
        ("UPDATE quota SET used = 7 WHERE kind = 'RELATIONSHIP'", "RELATIONSHIP: the quota counts 7, but 1 exist"),
    ],
)
async def test_verify_finds_a_wrong_count(database: Database, owner: asyncpg.Connection, tampering: str, difference: str) -> None:
    await write(database, types, register("raw"), register("clean"), create_person("1"), link("raw", "clean"), relate("raw", "1"))
    await verify(database)
    await owner.execute(tampering)
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == [difference]


async def test_quota_applies_to_its_tenant_only(two_tenants: Database, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 1)
    async with two_tenants.transaction(OTHER, AUTHOR) as connection:
        await register("more")(connection)
    with pytest.raises(LimitExceeded):
        await write(two_tenants, register("more"))


async def test_mutation_beyond_the_quota_is_refused(api: Api, owner: asyncpg.Connection) -> None:
    await allow(owner, "PRODUCT", 0)
    answer = await api(REGISTER, input=fields_of())
    assert answer.code_and_field == ("LIMIT_EXCEEDED", None)
    assert await existing(owner) == {}
    assert await owner.fetchval("SELECT outcome FROM audit") == "LIMIT_EXCEEDED"
