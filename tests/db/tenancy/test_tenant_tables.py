"""Tests of every table of the catalog: its rows belong to tenants, and the service reads and writes those of one only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from db.database import Database
from db.sql import text
from db.tables import metadata
from tests.db.conftest import OTHER

# Keys that do not begin with the tenant, and the reason.
NOT_BY_TENANT = {"tenant_name_taken": "the name identifies a tenant, and only the owner sets it"}

_KEYS = """
SELECT con.conname AS name, con.conrelid AS table, con.conkey[1] AS first
FROM pg_constraint con WHERE con.contype IN ('p', 'u', 'x', 'f')
UNION ALL
SELECT con.conname, con.confrelid, con.confkey[1] FROM pg_constraint con WHERE con.contype = 'f'
UNION ALL
SELECT i.indexrelid::regclass::text, i.indrelid, i.indkey[0] FROM pg_index i
"""

# Functions that read the rows of all tenants in the table of tenants: the one with a name, and the only one.
TENANT_LOOKUPS = ["only_tenant", "tenant_named"]


async def test_every_key_and_index_begins_with_the_tenant(address: str) -> None:
    async with as_owner(address) as owner:
        tables = await every_table(owner)
        keys = await owner.fetch(
            f"SELECT k.name, a.attname FROM ({_KEYS}) k JOIN pg_class c ON c.oid = k.table"
            " LEFT JOIN pg_attribute a ON a.attrelid = k.table AND a.attnum = k.first WHERE c.relname = ANY ($1)",
            tables,
        )
        primary = await owner.fetch("SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p'")
    assert set(metadata.tables) <= set(tables) <= {it[0] for it in primary}
    assert {it["name"] for it in keys if it["attname"] != "tenant_id"} == NOT_BY_TENANT.keys()


async def test_every_table_has_row_level_security(address: str) -> None:
    async with as_owner(address) as owner:
        guarded = await owner.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid"
            " WHERE c.relrowsecurity AND p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'"
        )
        # a view would read the same rows with the privileges of its owner
        views = await owner.fetch(
            "SELECT viewname FROM pg_views WHERE schemaname = current_schema() UNION SELECT matviewname FROM pg_matviews"
        )
        assert sorted(it["relname"] for it in guarded) == await every_table(owner)
    assert views == []


async def test_policy_reads_the_setting_once_in_a_statement(two_tenants: Database, address: str) -> None:
    async with as_owner(address) as owner:
        tables = await every_table(owner)
    async with two_tenants.snapshot(1) as connection:
        for table in tables:
            plan = [row[0] for row in await connection.fetch(text(f"EXPLAIN (VERBOSE) SELECT FROM {table}"))]
            assert any("InitPlan" in line for line in plan), plan
            assert not any("current_setting" in line for line in plan if "Output:" not in line), plan


async def test_security_definer_functions_compare_the_tenant_with_the_setting(address: str) -> None:
    async with as_owner(address) as owner:
        functions = await owner.fetch(
            "SELECT proname, prosrc, proconfig, has_function_privilege('public', oid, 'EXECUTE') AS is_public FROM pg_proc"
            " WHERE prosecdef AND pronamespace = current_schema()::regnamespace ORDER BY proname"
        )
    assert [it["proname"] for it in functions] == sorted(["search_assets", *TENANT_LOOKUPS])
    for it in functions:
        if it["proname"] not in TENANT_LOOKUPS:
            assert "tenant_id = (SELECT tenant)\n" in it["prosrc"]
            assert "(SELECT tenant) = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)" in it["prosrc"]
        assert it["proconfig"][0] == "search_path=public, pg_catalog, pg_temp"
        assert not it["is_public"]


async def test_service_role_owns_nothing_and_has_no_other_role(address: str) -> None:
    async with as_owner(address) as owner:
        (role,) = await owner.fetch("SELECT * FROM pg_roles WHERE rolname = 'headwater_service'")
        owned = await owner.fetch(
            "SELECT relname FROM pg_class WHERE relowner = $1 UNION SELECT proname FROM pg_proc WHERE proowner = $1"
            " UNION SELECT nspname FROM pg_namespace WHERE nspowner = $1 UNION SELECT datname FROM pg_database WHERE datdba = $1",
            role["oid"],
        )
        member_of = await owner.fetch("SELECT roleid::regrole FROM pg_auth_members WHERE member = $1", role["oid"])
    assert (owned, member_of) == ([], [])
    assert not any(
        role[it] for it in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication", "rolcanlogin")
    )


@pytest.mark.parametrize("setting", [None, "", "0", "3"])
async def test_without_a_tenant_no_row_is_visible(two_tenants: Database, address: str, setting: str | None) -> None:
    async with as_owner(address) as owner, as_member(owner, address) as member:
        if setting is not None:
            await member.execute("SELECT set_config('headwater.tenant_id', $1, false)", setting)
        for table in await every_table(owner):
            assert await owner.fetchval(f"SELECT count(*) FROM {table}") > 0
            assert await member.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_rows_of_another_tenant_cannot_be_written(two_tenants: Database, address: str) -> None:
    async with as_owner(address) as owner, as_member(owner, address) as member:
        await member.execute("SELECT set_config('headwater.tenant_id', '1', false)")
        tables = await every_table(owner)
        before = [await owner.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1 ORDER BY 2", OTHER) for table in tables]
        for table in tables:
            await assert_refused(member, f"INSERT INTO {table} (tenant_id) VALUES ({OTHER})", table, "INSERT")
            # Constraints would refuse it too, but row-level security is checked first.
            await assert_refused(member, f"UPDATE {table} SET tenant_id = {OTHER}", table, "UPDATE")
            for statement, privilege in ((f"UPDATE {table} SET tenant_id = 1", "UPDATE"), (f"DELETE FROM {table}", "DELETE")):
                of_other = f"{statement} WHERE tenant_id = {OTHER}"
                if await has_privilege(member, table, privilege):
                    assert (await member.execute(of_other)).endswith(" 0")
                else:
                    await assert_refused(member, of_other, table, privilege)
        assert [await owner.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1 ORDER BY 2", OTHER) for table in tables] == before


async def has_privilege(member: asyncpg.Connection, table: str, privilege: str) -> bool:
    """Return True if the member has a privilege on a table, or at least on its tenant column."""
    of_column = "SELECT has_column_privilege($1, 'tenant_id', $2)"
    return bool(
        await member.fetchval("SELECT has_table_privilege($1, $2)" if privilege == "DELETE" else of_column, table, privilege)
    )


async def assert_refused(member: asyncpg.Connection, statement: str, table: str, privilege: str) -> None:
    """Assert that row-level security refuses a statement; without the privilege, that is the reason instead."""
    reason = "row-level security" if await has_privilege(member, table, privilege) else "permission denied"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=reason):
        await member.execute(statement)


async def test_service_cannot_escape_its_role_or_tenant(two_tenants: Database, address: str) -> None:
    async with as_owner(address) as owner, as_member(owner, address) as member:
        (name,) = (await owner.fetch("SELECT current_user"))[0]
        await member.execute("SELECT set_config('headwater.tenant_id', '1', false)")
        for role in (name, "postgres", "pg_read_all_data", "pg_write_all_data"):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
                await member.execute(f"SET ROLE {role}")
        for table in await every_table(owner):
            for action in ("DISABLE ROW LEVEL SECURITY", "OWNER TO headwater_service"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await member.execute(f"ALTER TABLE {table} {action}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await member.execute(f"DROP POLICY own_tenant ON {table}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await member.execute(f"TRUNCATE {table}")
            # With this setting, which pg_dump uses, a read fails rather than leave out rows.
            await member.execute("SET row_security = off")
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await member.fetch(f"SELECT FROM {table}")
            await member.execute("RESET row_security")
        await member.execute("RESET ROLE")
        assert await member.fetchval(f"SELECT count(*) FROM asset WHERE tenant_id = {OTHER}") == 0


@asynccontextmanager
async def as_owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    owner = await asyncpg.connect(address)
    try:
        yield owner
    finally:
        await owner.close()


@asynccontextmanager
async def as_member(owner: asyncpg.Connection, address: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect as a user who is only a member of the role of the service."""
    name = f"headwater_test_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE headwater_service")
    member_address = make_url(address).set(username=name).render_as_string(hide_password=False)
    member = await asyncpg.connect(member_address, server_settings={"role": "headwater_service"})
    try:
        yield member
    finally:
        await member.close()
        await owner.execute(f"DROP ROLE {name}")


async def every_table(owner: asyncpg.Connection) -> list[str]:
    """List the tables of the catalog, except alembic_version, which belongs to no tenant."""
    rows = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'f') AND relnamespace = current_schema()::regnamespace"
        " AND relname <> 'alembic_version' ORDER BY relname"
    )
    return [it["relname"] for it in rows]
