"""`headwater tenants`, `keys` and `audit`, and their effects on a running service; what `serve` needs to start."""

import asyncio
import json
import re
import shlex
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.builders import REGISTER, ApiResponse, product_fields
from tests.commands import Commands, run_in_process
from tests.graph_api.commands.service_processes import ADDRESS, FIRST_KEY, ServiceCommands, connect
from tests.graph_api.commands.workspace import waits_for_lock
from tests.processes import wait_until

KEY = re.compile(r"hw_\d+_[a-z0-9]{10}_[A-Za-z0-9_-]{55}")
VIEWER = "{ viewer { tenant actor scopes } }"
SECURITY_PAGE = Path(__file__).parents[3] / "docs/security.md"


@pytest.fixture
def commands(address: str, tmp_path: Path) -> ServiceCommands:
    return ServiceCommands(address, tmp_path)


@pytest.fixture
async def owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    yield connection
    await connection.close()


@pytest.fixture
async def login_address(address: str, owner: asyncpg.Connection) -> AsyncIterator[str]:
    """The address for a login that owns no tables, as docs/security.md recommends for the service."""
    role = f"service_{uuid4().hex}"
    page = SECURITY_PAGE.read_text()
    ((create, grant),) = re.findall(r"^(CREATE ROLE headwater_login .*?;)\n(GRANT .*?;)$", page, re.MULTILINE)
    await owner.execute(f"{create}{grant}".replace("headwater_login", role))
    yield make_url(address).set(username=role, password="choose one").render_as_string(hide_password=False)
    await owner.execute(f"DROP ROLE {role}")


async def query_service(address: str, key: str | None, query: str = VIEWER, **variables: Any) -> ApiResponse:
    async with connect(address, key) as client:
        return await client(query, **variables)


def columns(lines: list[str]) -> list[list[str]]:
    """Split the rows of a table."""
    return [re.split(r" {2,}", line) for line in lines]


async def test_a_tenant_is_created_limited_suspended_and_resumed(commands: ServiceCommands) -> None:
    assert await commands("tenants", "create", "acme [red]") == ["Created the tenant acme [red]."]
    limited = await commands("tenants", "settings", "acme [red]", "--products", "3", "--links", "0", "--retention-days", "30")
    header = ["tenant", "status", "retention", "products", "entities", "links"]
    row = ["acme [red]", "active", "30 days", "0 of 3", "0", "0 of 0"]
    assert columns(limited) == [header, row]
    unlimited = await commands("tenants", "settings", "acme [red]", "--products", "none", "--retention-days", "none")
    assert columns(unlimited) == [header, ["acme [red]", "active", "kept forever", "0", "0", "0 of 0"]]
    assert await commands("tenants", "settings", "acme [red]") == unlimited
    reason = "the bill of May [sic] is open"
    suspended = f"Suspended the tenant acme [red]: {reason}"
    assert await commands("tenants", "suspend", "acme [red]", "--reason", f" {reason} ") == [suspended]
    assert [row[:2] for row in columns(await commands("tenants", "list"))[1:]] == [
        ["default", "active"],
        ["acme [red]", f"suspended: {reason}"],
    ]
    assert await commands("tenants", "resume", "acme [red]") == ["Resumed the tenant acme [red]."]
    assert [row[1] for row in columns(await commands("tenants", "list"))[1:]] == ["active", "active"]


UNKNOWN_TENANT = "There is no tenant called 'acme'. See: headwater tenants list"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tenants", "create", "default"], "A tenant called 'default' exists already. Choose another name."),
        (["tenants", "create", ""], "name is empty."),
        (["tenants", "settings", "acme"], UNKNOWN_TENANT),
        (["tenants", "settings", "default", "--links", "-1"], "--links -1: give a whole number up to 2147483647, or none."),
        (
            ["tenants", "settings", "default", "--retention-days", "3000000000"],
            "--retention-days 3000000000: give a whole number up to 2147483647, or none.",
        ),
        (["tenants", "suspend", "acme", "--reason", "x"], "There is no tenant called 'acme'. There are: default."),
        (["tenants", "suspend", "default", "--reason", " "], "--reason is empty. Give the reason that is shown to callers."),
        (
            ["keys", "create", "a", "--scope", "reed"],
            "scopes holds 'reed', which is not a scope. Use read, write, admin, or write:",
        ),
        (["keys", "create", "", "--scope", "read"], "label is empty."),
        (["keys", "create", "a", "--scope", "read", "--expires", "soon"], "'soon' is not an instant. Write it like"),
        (
            ["keys", "create", "a", "--scope", "read", "--expires", "2020-01-01"],
            "expiresAt is 2020-01-01T00:00:00Z, which has passed.",
        ),
        (["keys", "create", "a", "--scope", "read", "--tenant", "acme"], UNKNOWN_TENANT),
        (["keys", "revoke", "hw_2_nobody"], "This tenant has no such key. Give the prefix of a key,"),
        (["audit", "--tenant", "acme"], UNKNOWN_TENANT),
        (["export", "jsonl", "--tenant", "acme"], UNKNOWN_TENANT),
        (["ingest", "jsonl", "-", "--tenant", "acme"], UNKNOWN_TENANT),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
async def test_an_impossible_command_fails_with_one_line(commands: ServiceCommands, arguments: list[str], message: str) -> None:
    assert (await commands.error(*arguments)).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["tenants", "create"], "Missing argument 'NAME'"),
        (["tenants", "suspend", "default"], "Missing option '--reason'"),
        (["keys", "create"], "Missing argument 'LABEL'"),
        (["keys", "create", "somebody"], "Missing option '--scope'"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
async def test_a_missing_argument_is_named(commands: ServiceCommands, arguments: list[str], missing: str) -> None:
    result = await commands.run(*arguments)
    assert result.code == 2
    assert missing in "\n".join(result.err)


async def test_commands_that_need_the_owner_of_the_tables_fail_with_one_line_for_others(
    commands: ServiceCommands, login_address: str
) -> None:
    for arguments in (
        ["tenants", "create", "acme"],
        ["tenants", "list"],
        ["tenants", "suspend", "default", "--reason", "x"],
        ["keys", "create", "somebody", "--scope", "read", "--operator"],
    ):
        message = await commands.error(*arguments, database_url=login_address)
        assert "Use the user that owns the tables" in message, arguments


async def test_a_login_that_owns_no_tables_serves_and_creates_keys(
    commands: ServiceCommands, login_address: str, owner: asyncpg.Connection
) -> None:
    (key,) = await commands("keys", "create", "somebody", "--scope", "read", database_url=login_address)
    async with commands.serve(database_url=login_address) as address:
        assert (await query_service(address, key, "{ products { totalCount } }")).data == {"products": {"totalCount": 0}}
    assert await owner.fetchval("SELECT count(*) FROM audit WHERE credential = 'command line'") == 1


@pytest.mark.parametrize("arguments", [["tenants", "list"], ["keys", "list"], ["audit"], ["serve"]], ids=lambda it: " ".join(it))
async def test_a_database_that_is_not_migrated_is_reported_with_the_remedy(
    empty_address: str, tmp_path: Path, arguments: list[str]
) -> None:
    message = await Commands(empty_address, tmp_path).error(*arguments)
    assert message == "The database was not migrated for this version. Run: headwater migrate"


async def test_a_command_that_is_interrupted_exits_with_130_and_prints_nothing(
    commands: ServiceCommands, owner: asyncpg.Connection
) -> None:
    async with owner.transaction():
        await owner.execute("LOCK TABLE tenant")
        async with commands.start("tenants", "create", "acme") as command:
            await wait_until(lambda: waits_for_lock(commands.address))
            command.process.send_signal(signal.SIGINT)
            assert await command.exit_code() == 130
    assert (command.out.lines, command.err.lines) == ([], [])


async def test_a_key_is_accepted_until_it_is_revoked_and_both_are_audited(commands: ServiceCommands) -> None:
    (key,) = await commands(
        "keys", "create", "the loader", "--scope", "read", "--scope", "write:sales", "--expires", "2999-01-01"
    )
    assert KEY.fullmatch(key)
    prefix = key[: len("hw_1_") + 10]
    async with commands.serve(credential_seconds="0.2") as address:
        assert (await query_service(address, key)).data == {
            "viewer": {"tenant": "default", "actor": "the loader", "scopes": ["read", "write:sales"]}
        }
        unknown = await query_service(address, key[:-1] + ("a" if key[-1] != "a" else "b"))
        assert (unknown.status, unknown.code_and_field[0]) == (401, "UNAUTHENTICATED")
        assert (await query_service(address, None)).status == 401
        # The whole key is accepted in place of its prefix.
        assert await commands("keys", "revoke", key) == [f"The key {prefix} (the loader) is revoked."]

        async def is_rejected() -> bool:
            answer = await query_service(address, key)
            return answer.status == 401 and answer.error["message"].startswith(f"The key {prefix} was revoked at ")

        await wait_until(is_rejected)
        # Other keys are still accepted.
        assert (await query_service(address, await commands.create_key("--scope", "read"))).status == 200
    assert await commands("keys", "revoke", prefix) == [f"The key {prefix} (the loader) was already revoked."]
    listed = await commands("keys", "list")
    assert key not in str(listed)
    first = columns(listed)[1]
    assert first[:3] == [prefix, "the loader", "read, write:sales"]
    assert first[5].startswith("revoked ")
    audited = [row[2:5] for row in columns(await commands("audit", "--count", "3"))]
    assert audited == [
        ["credential", "operation", "outcome"],
        ["command line", "keys revoke", "KEPT"],
        ["command line", "keys create", "KEPT"],
        ["command line", "keys revoke", "KEPT"],
    ]


async def test_a_load_and_an_export_concern_the_named_tenant_alone(commands: ServiceCommands, tmp_path: Path) -> None:
    await commands("tenants", "create", "acme")
    file, exported = tmp_path / "acme.jsonl", tmp_path / "exported.jsonl"
    line = {"kind": "product", "name": "orders", "domain": "sales", "owner": "ann", "schema": {}, "at": "2026-01-01"}
    file.write_text(json.dumps(line))
    assert (await commands("ingest", "jsonl", file, "--tenant", "acme"))[0] == "created 1, updated 0, unchanged 0, rejected 0"
    await commands("export", "jsonl", exported)
    assert exported.read_text() == ""
    await commands("export", "jsonl", exported, "--tenant", "acme")
    assert json.loads(exported.read_text())["name"] == "orders"
    assert [row[3] for row in columns(await commands("audit", "--tenant", "acme"))] == [
        "operation",
        "ingest",
        "tenants create",
    ]


async def test_an_operator_acts_in_another_tenant_is_audited_there_and_is_rejected_while_it_is_suspended(
    commands: ServiceCommands,
) -> None:
    await commands("tenants", "create", "acme")
    operator_key = await commands.create_key("--scope", "read", "--scope", "write", "--operator")
    acme_key = await commands.create_key("--scope", "read", "--tenant", "acme")
    await commands("tenants", "settings", "acme", "--products", "1")
    async with commands.serve(credential_seconds="0") as address, connect(address, operator_key) as operator:
        in_acme = {"X-Headwater-Tenant": "acme"}
        assert (await operator(REGISTER, in_acme, input=product_fields("orders"))).data
        second = await operator(REGISTER, in_acme, input=product_fields("returns"))
        assert second.code_and_field[0] == "LIMIT_EXCEEDED"
        names = "{ products { nodes { name } } }"
        assert (await query_service(address, acme_key, names)).data == {"products": {"nodes": [{"name": "orders"}]}}
        await commands("tenants", "suspend", "acme", "--reason", "unpaid")
        for answer in (await query_service(address, acme_key, names), await operator(names, in_acme)):
            assert (answer.status, answer.code_and_field[0]) == (403, "FORBIDDEN")
            assert answer.error["message"] == "The tenant 'acme' is suspended: unpaid"
        await commands("tenants", "resume", "acme")
        assert (await query_service(address, acme_key, names)).status == 200
    audited = [row for row in columns(await commands("audit", "--tenant", "acme")) if row[2].endswith("(operator)")]
    assert [row[4] for row in audited] == ["LIMIT_EXCEEDED", "KEPT"]


async def test_the_bootstrap_key_is_created_at_the_first_start_only(commands: ServiceCommands) -> None:
    other = f"hw_1_bootstrap_{'other' * 13}"
    async with commands.start("serve", bootstrap_key=FIRST_KEY) as service:
        assert (await service.err.line_matching('"bootstrap_key":"made"'))[0]
        address = (await service.err.line_matching(ADDRESS))[0]
        assert (await query_service(address, FIRST_KEY)).data["viewer"]["scopes"] == ["read", "write", "admin"]
    for configured in (FIRST_KEY, other):
        async with commands.start("serve", bootstrap_key=configured) as service:
            address = (await service.err.line_matching(ADDRESS))[0]
            assert "bootstrap_key" not in str(service.err)
            assert (await query_service(address, FIRST_KEY)).status == 200
            assert (await query_service(address, other)).status == 401
    assert len(await commands("keys", "list")) == 2


async def test_serve_rejects_a_short_secret_and_a_malformed_bootstrap_key(commands: ServiceCommands) -> None:
    short = await commands.error("serve", key_secret="short")
    assert "HEADWATER_KEY_SECRET" in short
    assert "short" not in short
    malformed = await commands.error("serve", bootstrap_key="letmein")
    assert malformed == "The bootstrap key is not valid. It is hw_1_bootstrap_ followed by 64 or more random letters and digits."


@pytest.mark.parametrize("arguments", [["serve"], ["keys", "create", "somebody", "--scope", "read"]], ids=lambda it: it[0])
async def test_an_external_database_needs_a_configured_secret(address: str, arguments: list[str]) -> None:
    result = await run_in_process(*arguments, database_url=address)
    assert result.code == 1
    (line,) = result.err
    assert line.startswith("error: HEADWATER_KEY_SECRET is missing: API keys are created and verified with it.")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_documented_commands_give_the_documented_output(commands: ServiceCommands) -> None:
    steps = re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |^```)", SECURITY_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(steps) >= 8
    key = ""
    async with commands.serve(credential_seconds="0") as address:
        for line, documented in steps:
            program, *arguments = shlex.split(line.replace("$KEY", key))
            if program == "curl":
                local = [it.replace("http://127.0.0.1:8000/graphql", address) for it in arguments]
                curl = await asyncio.create_subprocess_exec(
                    "curl", "--silent", "--noproxy", "*", *local, stdout=asyncio.subprocess.PIPE
                )
                output = (await curl.communicate())[0].decode()
            else:
                output = "\n".join(await commands(*arguments))
            if arguments[:2] == ["keys", "create"]:
                key = output
            # Columns of tables are as wide as their content.
            actual, expected = (re.sub(r" {2,}", " ", text.strip()) for text in (output, documented))
            assert re.fullmatch(re.escape(expected).replace("…", ".+?"), actual), f"{line}\n{output}"
