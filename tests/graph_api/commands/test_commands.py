"""`headwater tenants`, `keys`, `audit`, and what starts a service: as they are run, and what a service makes of what they did."""

import asyncio
import json
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.builders import REGISTER, ApiResponse, product_fields
from tests.graph_api.commands.test_process import ADDRESS, FIRST_KEY, Command, awaited, client_of, headwater

SECRET = "a secret of the tests, made at random"
KEY = re.compile(r"hw_\d+_[a-z0-9]{10}_[A-Za-z0-9_-]{55}")
VIEWER = "{ viewer { tenant actor scopes } }"


class Shell:
    """Commands on the database of a test."""

    def __init__(self, address: str, directory: Path) -> None:
        self.address = address
        self.data = directory / "data"

    @asynccontextmanager
    async def running(self, *arguments: str, **settings: str) -> AsyncIterator[Command]:
        given = {"database_url": self.address, "key_secret": SECRET, **settings}
        async with headwater(self.data, *arguments, user=None, **given) as command:
            yield command

    async def __call__(self, *arguments: str, **settings: str) -> list[str]:
        """What a command says that does its work."""
        async with self.running(*arguments, **settings) as command:
            assert await command.finished() == 0, str(command.err)
            assert "Warning" not in str(command.err)
            return command.out.lines

    async def refused(self, *arguments: str, **settings: str) -> str:
        """The one line that a command says that cannot."""
        async with self.running(*arguments, **settings) as command:
            assert await command.finished() == 1, str(command.err)
            assert command.out.lines == []
            (line,) = command.err.lines
            assert line.startswith("error: ")
            return line.removeprefix("error: ")

    async def key(self, *options: str) -> str:
        (key,) = await self("keys", "create", "somebody", *options)
        return key

    @asynccontextmanager
    async def serving(self, *arguments: str, **settings: str) -> AsyncIterator[str]:
        """The address of a service."""
        async with self.running("serve", *arguments, **settings) as service:
            yield (await service.err.saying(ADDRESS))[0]


@pytest.fixture
def shell(address: str, tmp_path: Path) -> Shell:
    return Shell(address, tmp_path)


@pytest.fixture
async def owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    yield connection
    await connection.close()


@pytest.fixture
async def member(address: str, owner: asyncpg.Connection) -> AsyncIterator[str]:
    """The address for a login that owns nothing, as docs/security.md advises for the service."""
    role = f"service_{uuid4().hex}"
    page = (Path(__file__).parents[3] / "docs/security.md").read_text()
    ((making, granting),) = re.findall(r"^(CREATE ROLE headwater_login .*?;)\n(GRANT .*?;)$", page, re.MULTILINE)
    await owner.execute(f"{making}{granting}".replace("headwater_login", role))
    yield make_url(address).set(username=role, password="choose one").render_as_string(hide_password=False)
    await owner.execute(f"DROP ROLE {role}")


async def asked(address: str, key: str | None, query: str = VIEWER, **variables: Any) -> ApiResponse:
    async with client_of(address, key) as client:
        return await client(query, **variables)


async def test_a_tenant_is_made_limited_suspended_and_let_in_again(shell: Shell) -> None:
    assert await shell("tenants", "create", "acme [red]") == ["Created the tenant acme [red]."]
    told = await shell("tenants", "settings", "acme [red]", "--products", "3", "--links", "0", "--retention-days", "30")
    header = ["tenant", "status", "retention", "products", "entities", "links"]
    row = ["acme [red]", "active", "30 days", "0 of 3", "0", "0 of 0"]
    assert columns(told) == [header, row]
    again = await shell("tenants", "settings", "acme [red]", "--products", "none", "--retention-days", "none")
    assert columns(again) == [header, ["acme [red]", "active", "kept forever", "0", "0", "0 of 0"]]
    assert columns(await shell("tenants", "settings", "acme [red]")) == columns(again)
    reason = "the bill of May [sic] is open"
    suspended = f"Suspended the tenant acme [red]: {reason}"
    assert await shell("tenants", "suspend", "acme [red]", "--reason", f" {reason} ") == [suspended]
    assert [row[:2] for row in columns(await shell("tenants", "list"))[1:]] == [
        ["default", "active"],
        ["acme [red]", f"suspended: {reason}"],
    ]
    assert await shell("tenants", "resume", "acme [red]") == ["Resumed the tenant acme [red]."]
    assert [row[1] for row in columns(await shell("tenants", "list"))[1:]] == ["active", "active"]


def columns(lines: list[str]) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in lines]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["tenants", "create", "default"], "A tenant called 'default' exists already. Choose another name."),
        (["tenants", "create", ""], "name is empty."),
        (["tenants", "settings", "acme"], "There is no tenant called 'acme'. See: headwater tenants list"),
        (["tenants", "settings", "default", "--links", "-1"], "--links -1: give a whole number up to 2147483647, or none."),
        (
            ["tenants", "settings", "default", "--retention-days", "3000000000"],
            "--retention-days 3000000000: give a whole number up to 2147483647, or none.",
        ),
        (["tenants", "suspend", "acme", "--reason", "x"], "There is no tenant called 'acme'. There are: default."),
        (["tenants", "suspend", "default", "--reason", " "], "--reason is empty. Give the reason that callers are told."),
        (["keys", "create", "a", "--scope", "reed"], "scopes holds 'reed', which is no scope. Use read, write, admin, or write:"),
        (["keys", "create", "", "--scope", "read"], "label is empty."),
        (["keys", "create", "a", "--scope", "read", "--expires", "soon"], "'soon' is not an instant. Write it like"),
        (
            ["keys", "create", "a", "--scope", "read", "--expires", "2020-01-01"],
            "expiresAt is 2020-01-01T00:00:00Z, which has passed.",
        ),
        (["keys", "create", "a", "--scope", "read", "--tenant", "acme"], "There is no tenant called 'acme'. See:"),
        (["keys", "revoke", "hw_2_nobody"], "This tenant has no such key. Give the prefix of a key,"),
        (["audit", "--tenant", "acme"], "There is no tenant called 'acme'. See: headwater tenants list"),
        (["export", "jsonl", "--tenant", "acme"], "There is no tenant called 'acme'. See: headwater tenants list"),
        (["ingest", "jsonl", "-", "--tenant", "acme"], "There is no tenant called 'acme'. See: headwater tenants list"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
async def test_what_cannot_be_done_is_one_line(shell: Shell, arguments: list[str], reason: str) -> None:
    assert (await shell.refused(*arguments)).startswith(reason)


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
async def test_what_is_missing_from_a_command_is_said(shell: Shell, arguments: list[str], missing: str) -> None:
    async with shell.running(*arguments) as command:
        assert await command.finished() == 2
    assert missing in str(command.err)


async def test_commands_that_only_the_owner_of_the_schema_may_run_say_so_in_one_line(shell: Shell, member: str) -> None:
    owners = "Use the user that owns the tables"
    for arguments in (
        ["tenants", "create", "acme"],
        ["tenants", "list"],
        ["tenants", "suspend", "default", "--reason", "x"],
        ["keys", "create", "somebody", "--scope", "read", "--operator"],
    ):
        assert owners in await shell.refused(*arguments, database_url=member), arguments


async def test_a_login_that_owns_nothing_serves_and_makes_keys(shell: Shell, member: str, owner: asyncpg.Connection) -> None:
    (key,) = await shell("keys", "create", "somebody", "--scope", "read", database_url=member)
    async with shell.serving(database_url=member) as address:
        assert (await asked(address, key, "{ products { totalCount } }")).data == {"products": {"totalCount": 0}}
    assert await owner.fetchval("SELECT count(*) FROM audit WHERE credential = 'command line'") == 1


@pytest.mark.parametrize("arguments", [["tenants", "list"], ["keys", "list"], ["audit"], ["serve"]], ids=lambda it: " ".join(it))
async def test_a_database_that_was_not_migrated_is_named_for_what_it_is(
    empty_address: str, tmp_path: Path, arguments: list[str]
) -> None:
    reason = await Shell(empty_address, tmp_path).refused(*arguments)
    assert re.fullmatch(r"The database is at revision none, this version needs \d+\. Run: headwater migrate", reason)


async def test_a_key_opens_the_service_until_it_is_revoked_and_both_are_told_of(shell: Shell) -> None:
    (key,) = await shell("keys", "create", "the loader", "--scope", "read", "--scope", "write:sales", "--expires", "2999-01-01")
    assert KEY.fullmatch(key)
    prefix = key[: len("hw_1_") + 10]
    async with shell.serving(credential_seconds="0.2") as address:
        assert (await asked(address, key)).data == {
            "viewer": {"tenant": "default", "actor": prefix, "scopes": ["read", "write:sales"]}
        }
        unknown = await asked(address, key[:-1] + ("a" if key[-1] != "a" else "b"))
        assert (unknown.status, unknown.code_and_field[0]) == (401, "UNAUTHENTICATED")
        assert (await asked(address, None)).status == 401
        # whoever gives the whole key means it, too
        assert await shell("keys", "revoke", key) == [f"The key {prefix} (the loader) is revoked."]

        async def refused() -> bool:
            answer = await asked(address, key)
            return answer.status == 401 and answer.error["message"].startswith(f"The key {prefix} was revoked at ")

        await awaited(refused)
        # nobody else is refused with it
        assert (await asked(address, await shell.key("--scope", "read"))).status == 200
    assert await shell("keys", "revoke", prefix) == [f"The key {prefix} (the loader) was already revoked."]
    listed = await shell("keys", "list")
    assert key not in str(listed)
    first = columns(listed)[1]
    assert first[:3] == [prefix, "the loader", "read, write:sales"]
    assert first[5].startswith("revoked ")
    audited = [row[2:5] for row in columns(await shell("audit", "--count", "3"))]
    assert audited == [
        ["credential", "operation", "outcome"],
        ["command line", "keys revoke", "KEPT"],
        ["command line", "keys create", "KEPT"],
        ["command line", "keys revoke", "KEPT"],
    ]


async def test_what_is_loaded_into_a_tenant_is_that_tenants_and_is_written_from_there(shell: Shell, tmp_path: Path) -> None:
    await shell("tenants", "create", "acme")
    file = tmp_path / "acme.jsonl"
    line = {"kind": "product", "name": "orders", "domain": "sales", "owner": "ann", "schema": {}, "at": "2026-01-01"}
    file.write_text(json.dumps(line))
    assert (await shell("ingest", "jsonl", str(file), "--tenant", "acme"))[0] == "created 1, updated 0, unchanged 0, rejected 0"
    assert await shell("export", "jsonl") == []
    (written,) = await shell("export", "jsonl", "--tenant", "acme")
    assert json.loads(written)["name"] == "orders"
    assert [row[3] for row in columns(await shell("audit", "--tenant", "acme"))] == [
        "operation",
        "ingest",
        "tenants create",
    ]


async def test_an_operator_acts_in_another_tenant_whose_people_are_told_and_a_suspended_one_lets_nobody_in(shell: Shell) -> None:
    await shell("tenants", "create", "acme")
    operators = await shell.key("--scope", "read", "--scope", "write", "--operator")
    acmes = await shell.key("--scope", "read", "--tenant", "acme")
    await shell("tenants", "settings", "acme", "--products", "1")
    async with shell.serving(credential_seconds="0") as address, client_of(address, operators) as operator:
        there = {"X-Headwater-Tenant": "acme"}
        assert (await operator(REGISTER, there, input=product_fields("orders"))).data
        second = await operator(REGISTER, there, input=product_fields("returns"))
        assert second.code_and_field[0] == "LIMIT_EXCEEDED"
        names = "{ products { nodes { name } } }"
        assert (await asked(address, acmes, names)).data == {"products": {"nodes": [{"name": "orders"}]}}
        await shell("tenants", "suspend", "acme", "--reason", "unpaid")
        for answer in (await asked(address, acmes, names), await operator(names, there)):
            assert (answer.status, answer.code_and_field[0]) == (403, "FORBIDDEN")
            assert answer.error["message"] == "The tenant 'acme' is suspended: unpaid"
        await shell("tenants", "resume", "acme")
        assert (await asked(address, acmes, names)).status == 200
    told = [row for row in columns(await shell("audit", "--tenant", "acme")) if row[2].endswith("(operator)")]
    assert [row[4] for row in told] == ["LIMIT_EXCEEDED", "KEPT"]


async def test_the_bootstrap_key_is_made_at_the_first_start_and_at_no_other(shell: Shell) -> None:
    other = f"hw_1_bootstrap_{'other' * 13}"
    async with shell.running("serve", bootstrap_key=FIRST_KEY) as service:
        assert (await service.err.saying('"bootstrap_key":"made"'))[0]
        address = (await service.err.saying(ADDRESS))[0]
        assert (await asked(address, FIRST_KEY)).data["viewer"]["scopes"] == ["read", "write", "admin"]
    for given in (FIRST_KEY, other):
        async with shell.running("serve", bootstrap_key=given) as service:
            address = (await service.err.saying(ADDRESS))[0]
            assert "bootstrap_key" not in str(service.err)
            assert (await asked(address, FIRST_KEY)).status == 200
            assert (await asked(address, other)).status == 401
    assert len(await shell("keys", "list")) == 2


async def test_serve_refuses_what_keys_cannot_be_proven_with(shell: Shell) -> None:
    without = await shell.refused("serve", key_secret="short")
    assert "HEADWATER_KEY_SECRET" in without
    assert "short" not in without
    made_up = await shell.refused("serve", bootstrap_key="letmein")
    assert made_up == "The bootstrap key is not valid. It is hw_1_bootstrap_ followed by 64 or more random letters and digits."


@pytest.mark.parametrize("arguments", [["serve"], ["keys", "create", "somebody", "--scope", "read"]], ids=lambda it: it[0])
async def test_with_a_database_of_ones_own_the_secret_is_ones_own_too(address: str, tmp_path: Path, arguments: list[str]) -> None:
    async with headwater(tmp_path / "data", *arguments, database_url=address) as command:
        assert await command.finished() == 1
    (line,) = command.err.lines
    assert line.startswith("error: HEADWATER_KEY_SECRET is missing: API keys are created and verified with it.")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_commands_on_the_page_say_what_the_page_says(shell: Shell) -> None:
    page = (Path(__file__).parents[3] / "docs/security.md").read_text()
    steps = re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |^```)", page, re.MULTILINE | re.DOTALL)
    assert len(steps) >= 8
    key = ""
    async with shell.serving(credential_seconds="0") as address:
        for line, answer in steps:
            program, *arguments = shlex.split(line.replace("$KEY", key))
            if program == "curl":
                there = [it.replace("http://127.0.0.1:8000/graphql", address) for it in arguments]
                curl = await asyncio.create_subprocess_exec(
                    "curl", "--silent", "--noproxy", "*", *there, stdout=asyncio.subprocess.PIPE
                )
                said = (await curl.communicate())[0].decode()
            else:
                said = "\n".join(await shell(*arguments))
            if arguments[:2] == ["keys", "create"]:
                key = said
            # tables are as wide as what is in them
            given, meant = (re.sub(r" {2,}", " ", text.strip()) for text in (said, answer))
            assert re.fullmatch(re.escape(meant).replace("…", ".+?"), given), f"{line}\n{said}"
