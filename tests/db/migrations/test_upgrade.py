"""Tests of migrations: repeated and concurrent ones, their tables, and addresses that cannot be used."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from db import migrations
from db.driver import driver_address
from db.errors import HeadwaterError, Unavailable
from db.revision import latest_revision, revision_of
from db.tables import metadata
from tests.databases import in_database

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def test_the_latest_revision_is_the_one_that_alembic_ends_with() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [latest_revision()]


async def test_repeated_upgrade_changes_nothing(empty_address: str) -> None:
    latest = latest_revision()
    assert await migrations.upgrade(empty_address) == (None, latest)
    assert await migrations.upgrade(empty_address) == (latest, latest)
    assert await revision_of(empty_address) == latest


async def test_concurrent_upgrades_run_once(empty_address: str) -> None:
    latest = latest_revision()
    outcomes = await asyncio.gather(*(migrations.upgrade(empty_address) for _ in range(4)))
    assert sorted(before or "" for before, _ in outcomes) == ["", latest, latest, latest]


async def test_tables_equal_their_declaration(address: str) -> None:
    engine = create_async_engine(driver_address(address))
    async with engine.connect() as connection:
        described = await connection.run_sync(
            lambda it: {name: inspect(it).get_columns(name) for name in inspect(it).get_table_names()}
        )
    await engine.dispose()
    del described["alembic_version"]
    assert set(described) == set(metadata.tables)
    for name, columns in described.items():
        expected = {
            it.name: (it.type.compile(DIALECT), it.nullable, it.computed is not None) for it in metadata.tables[name].columns
        }
        assert {it["name"]: (it["type"].compile(DIALECT), it["nullable"], "computed" in it) for it in columns} == expected


async def test_every_index_begins_with_the_tenant(address: str) -> None:
    owner = await asyncpg.connect(address)
    try:
        firsts = await owner.fetch(
            """
            SELECT i.indexrelid::regclass AS name, a.attname AS first
            FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid AND t.relnamespace = 'public'::regnamespace
            LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
            WHERE t.relname NOT IN ('alembic_version', 'tenant')
            """
        )
    finally:
        await owner.close()
    assert len(firsts) > 8
    assert {row["first"] for row in firsts} == {"tenant_id"}


async def test_server_that_does_not_answer_is_unavailable(server: str) -> None:
    with pytest.raises(Unavailable):
        await revision_of("postgresql://nobody@127.0.0.1:1/nothing")


UNUSABLE = ["postgresql://x@y:99999999/z", "postgresql://x@y/z?connect_timeout=10", "postgresql://x@y/z?sslmode=nonsense"]


@pytest.mark.parametrize(
    "address",
    ["", "mysql://x@y/z", "postgresql://x@y:notaport/z", "not an address", "postgresql://h@/none?host=/nonexistent", *UNUSABLE],
)
async def test_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(HeadwaterError):
        await migrations.upgrade(address)


async def test_address_may_use_the_options_of_libpq(server: str) -> None:
    with pytest.raises(Unavailable, match="was not migrated"):
        await revision_of(server + "&sslmode=disable")
    with pytest.raises(Unavailable, match="does not exist"):
        await revision_of(in_database(server, "nothing_of_this_name"))


async def test_user_without_privileges_cannot_upgrade(empty_address: str) -> None:
    owner = await asyncpg.connect(empty_address)
    await owner.execute("CREATE ROLE headwater_test_nobody LOGIN")
    try:
        with pytest.raises(Unavailable, match="permission denied"):
            await migrations.upgrade(empty_address.replace("headwater@", "headwater_test_nobody@"))
    finally:
        await owner.execute("DROP ROLE headwater_test_nobody")
        await owner.close()
