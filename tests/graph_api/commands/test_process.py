"""The `headwater` command as it is run: in processes of its own, on data of its own, and killed in the middle of its work."""

import asyncio
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import psutil
import pytest

from db import migrations
from db.embedded.server import EmbeddedServer
from graph_api.commands.database import DATABASE
from graph_api.graphiql.examples import EXAMPLES
from tests.builders import REGISTER, UPDATE, ApiResponse, day, iso, product_fields

COMMAND = str(Path(sys.executable).with_name("headwater"))
PATIENCE = 20
WRITERS = 4

# The key that a service makes at its first start on data of its own.
FIRST_KEY = f"hw_1_bootstrap_{'first' * 13}"

ADDRESS = r"http://127\.0\.0\.1:\d+/graphql"
HISTORY = """
  query ($name: String!, $after: String) {
    product(name: $name) {
      history(first: 100, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { validFrom asset { ... on Product { owner } } }
      }
    }
  }
"""


class Stream:
    """What a process says on one of its streams, line by line."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._heard = asyncio.Condition()
        self.listening = asyncio.create_task(self._listen(reader))

    def __str__(self) -> str:
        return "\n".join(self.lines)

    async def saying(self, pattern: str) -> re.Match[str]:
        """Waits for a line that matches."""
        seen = 0
        async with asyncio.timeout(PATIENCE), self._heard:
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.lines)
                assert not self.ended, f"it ended without saying {pattern}; it said:\n{self}"
                await self._heard.wait()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            await self._hear(line.decode().rstrip("\n"))
        await self._hear(None)

    async def _hear(self, line: str | None) -> None:
        async with self._heard:
            if line is None:
                self.ended = True
            else:
                self.lines.append(line)
            self._heard.notify_all()


class Command:
    """A command that runs, or did, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        assert process.stderr
        self.process = process
        self.out, self.err = Stream(process.stdout), Stream(process.stderr)

    @property
    def runs(self) -> bool:
        return self.process.returncode is None

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    async def finished(self) -> int:
        """Waits for its end, and gives its exit code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await asyncio.gather(self.out.listening, self.err.listening)
            return code


@asynccontextmanager
async def headwater(data: Path, *arguments: str, user: int | None = None, **settings: str) -> AsyncIterator[Command]:
    """Runs the command, and has it ended whatever happens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    command = Command(
        await asyncio.create_subprocess_exec(
            COMMAND,
            *arguments,
            env={
                **environment,
                "HEADWATER_DATA": str(data),
                "HEADWATER_PORT": "0",
                "COLUMNS": "80",
                **{f"HEADWATER_{name.upper()}": value for name, value in settings.items()},
            },
            cwd=data.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    )
    try:
        yield command
    finally:
        if command.runs:
            # the group is its own, and holds its workers too
            os.killpg(command.process.pid, signal.SIGKILL)
        await command.finished()


async def run(data: Path, *arguments: str, user: int | None = None, **settings: str) -> Command:
    """Runs the command to its end."""
    async with headwater(data, *arguments, user=user, **settings) as command:
        await command.finished()
        return command


class Client:
    """Asks a service that runs elsewhere."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __call__(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> ApiResponse:
        response = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def status(self, path: str) -> int:
        return (await self.http.get(path)).status_code

    async def owners(self, name: str) -> dict[str, str]:
        """Who owned a product, and from when on."""
        owners: dict[str, str] = {}
        after = None
        while True:
            history = (await self(HISTORY, name=name, after=after)).data["product"]["history"]
            owners |= {node["asset"]["owner"]: node["validFrom"] for node in history["nodes"]}
            if not history["pageInfo"]["hasNextPage"]:
                return owners
            after = history["pageInfo"]["endCursor"]


@asynccontextmanager
async def client_of(address: str, key: str | None = None) -> AsyncIterator[Client]:
    headers = {} if key is None else {"X-API-Key": key}
    base = address.removesuffix("/graphql")
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE, trust_env=False) as http:
        yield Client(http)


@asynccontextmanager
async def serving(data: Path, *arguments: str, **settings: str) -> AsyncIterator[tuple[Command, Client]]:
    """A service that answers, and somebody with every scope to ask it."""
    async with headwater(data, "serve", *arguments, user=None, bootstrap_key=FIRST_KEY, **settings) as service:
        address = (await service.err.saying(ADDRESS))[0]
        async with client_of(address, FIRST_KEY) as client:
            yield service, client


class Writers:
    """Clients that write without pause, each remembering what it was told has been kept."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.kept: dict[str, str] = {}
        self.refused: list[set[str]] = [set() for _ in range(WRITERS)]
        self.cut_off = 0
        self._done = False
        self._progress = asyncio.Condition()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator["Writers"]:
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(self._write(number))
            try:
                yield self
            finally:
                self._done = True

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._progress:
            await self._progress.wait_for(condition)

    async def keeping(self, more: int) -> None:
        """Waits until so many more writes have been kept."""
        enough = len(self.kept) + more
        await self.until(lambda: len(self.kept) >= enough)

    async def _write(self, writer: int) -> None:
        """To a product that they all share and to one of its own in turn, until the service is gone or work is over."""
        turn = 0
        while not self._done:
            turn += 1
            owner = f"{writer}-{turn}"
            name = "orders" if turn % 2 else f"p{writer}"
            try:
                answer = await self._client(UPDATE, input={"product": {"name": name}, "owner": owner})
            except httpx.TransportError:
                self.cut_off += 1
                return
            # while there is no database nobody knows who this is, and nothing is run
            assert answer.status == (200 if "data" in answer.body else 503)
            async with self._progress:
                if answer.errors:
                    self.refused[writer].add(answer.code_and_field[0])
                else:
                    self.kept[owner] = answer.data["updateProduct"]["product"]["validFrom"]
                self._progress.notify_all()


async def register_what_is_written_to(client: Client) -> None:
    for name in ("orders", *(f"p{writer}" for writer in range(WRITERS))):
        assert (await client(REGISTER, input=product_fields(name, at=iso(day(0))))).data


async def kept(client: Client) -> dict[str, str]:
    """Every owner that the products written to ever had, and from when on."""
    found: dict[str, str] = {}
    for name in ("orders", *(f"p{writer}" for writer in range(WRITERS))):
        found |= await client.owners(name)
    return found


def cluster(data: Path) -> Path:
    note = data / "postgres.location"
    return (Path(note.read_text().splitlines()[-1]) if note.exists() else data) / "postgres"


def postmaster(data: Path) -> psutil.Process | None:
    """The server of a data directory, if it runs."""
    with suppress(FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int((cluster(data) / "postmaster.pid").read_text().split()[0]))
        if process.name() == "postgres" and str(cluster(data)) in process.cmdline() and lives(process):
            return process
    return None


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def awaited(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what nobody tells us of."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def gone(*processes: psutil.Process) -> None:
    async def condition() -> bool:
        return not any(lives(process) for process in processes)

    await awaited(condition)


def roomy_memory() -> str | None:
    """A cluster in memory spares the disk; a container's 64 MB of it are too few."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2_000_000_000 else None


@pytest.fixture
def new_data() -> Iterator[Path]:
    """Where a data directory may come to be. As root, the server's user has to pass down to it, which tmp_path forbids."""
    place = Path(tempfile.mkdtemp(prefix="headwater-process-", dir=roomy_memory())).resolve()
    place.chmod(0o755)
    data = place / "data"
    yield data
    if left := postmaster(data):
        # at once, but not without clearing its shared memory away
        left.send_signal(signal.SIGQUIT)
        asyncio.run(gone(left))
    with suppress(FileNotFoundError):
        shutil.rmtree((data / "postgres.socket").read_text().strip(), ignore_errors=True)
    shutil.rmtree(cluster(data), ignore_errors=True)
    shutil.rmtree(place)


@pytest.fixture
def data(new_data: Path) -> Path:
    """The data directory of a server that is migrated, and does not run."""
    with EmbeddedServer.start(new_data, {"fsync": "off"}) as server:
        server.ensure_database(DATABASE)
        migrations.upgrade_now(server.address(DATABASE))
    return new_data


async def test_serve_refuses_what_is_not_migrated_and_says_what_to_run(new_data: Path) -> None:
    refused = await run(new_data, "serve")
    assert refused.process.returncode == 1
    assert "headwater migrate" in str(refused.err)
    assert len(refused.err.lines) == 1
    assert postmaster(new_data) is None


async def test_two_that_migrate_at_once_both_succeed_a_third_has_nothing_to_do_and_then_the_service_is_ready(
    new_data: Path,
) -> None:
    both = await asyncio.gather(run(new_data, "migrate"), run(new_data, "migrate"))
    assert [command.process.returncode for command in both] == [0, 0], [str(command.err) for command in both]
    latest = migrations.latest_revision()
    migrated, nothing_to_do = f"Migrated from nothing to {latest}.", f"The database is at revision {latest}."
    assert sorted(str(command.out) for command in both) == sorted([migrated, nothing_to_do])
    third = await run(new_data, "migrate")
    assert (third.process.returncode, str(third.out)) == (0, nothing_to_do)
    async with serving(new_data) as (_, client):
        assert await client.status("/health") == 200
        assert await client.status("/ready") == 200


async def test_a_service_that_was_killed_amid_writes_has_kept_all_that_it_acknowledged(data: Path) -> None:
    async with serving(data) as (service, client):
        await register_what_is_written_to(client)
        async with Writers(client).at_work() as writers:
            await writers.keeping(60)
            service.process.kill()
            await service.finished()
    assert writers.cut_off == WRITERS
    assert postmaster(data), "nobody was left to stop it"
    async with serving(data) as (service, client):
        verified = await run(data, "verify")
        assert verified.process.returncode == 0, str(verified.out)
        assert writers.kept.items() <= (await kept(client)).items()
        service.process.terminate()
        await service.finished()
    assert postmaster(data) is None


async def test_while_postgresql_is_killed_requests_are_told_so_and_when_it_is_back_they_are_served(data: Path) -> None:
    async with serving(data) as (service, client):
        await register_what_is_written_to(client)
        killed = postmaster(data)
        assert killed
        async with Writers(client).at_work() as writers:
            await writers.keeping(60)
            killed.kill()
            await writers.until(lambda: all(writers.refused))
            await gone(killed)
            assert await client.status("/ready") == 503
            assert await client.status("/health") == 200
            with await asyncio.to_thread(EmbeddedServer.start, data):
                await writers.keeping(20)
                assert await client.status("/ready") == 200
        assert writers.refused == [{"UNAVAILABLE"}] * WRITERS
        assert writers.cut_off == 0
        assert service.runs
        verified = await run(data, "verify")
        assert verified.process.returncode == 0, str(verified.out)
        assert writers.kept.items() <= (await kept(client)).items()
        service.process.terminate()
        await service.finished()
    assert postmaster(data) is None


async def test_what_asks_first_after_postgresql_came_back_is_served(data: Path) -> None:
    async with serving(data) as (_, client):
        await register_what_is_written_to(client)
        # several connections, so that more than one is stale
        await asyncio.gather(*(client(UPDATE, input={"product": {"name": "orders"}, "owner": f"o{n}"}) for n in range(8)))
        killed = postmaster(data)
        assert killed
        killed.kill()
        await gone(killed)
        with await asyncio.to_thread(EmbeddedServer.start, data):
            answer = await client(UPDATE, input={"product": {"name": "orders"}, "owner": "bob"})
            assert answer.data["updateProduct"]["product"]["owner"] == "bob"
            assert (await client.owners("orders"))["bob"]


async def test_a_service_that_is_told_to_stop_finishes_what_runs(data: Path) -> None:
    async with serving(data) as (service, client):
        await register_what_is_written_to(client)
        # the test's own use must not be what keeps the server up
        sockets = (data / "postgres.socket").read_text().strip()
        holder = await asyncpg.connect(host=sockets, user="headwater", database=DATABASE)
        observer = await asyncpg.connect(host=sockets, user="headwater", database=DATABASE)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headwater' AND wait_event_type = 'Lock'"

        async def queued() -> bool:
            return bool(await observer.fetchval(waiting) == 1)

        async def refuses_connections() -> bool:
            try:
                await client.status("/health")
            except httpx.TransportError:
                return True
            return False

        try:
            held = holder.transaction()
            await held.start()
            await holder.fetch("SELECT FROM asset FOR UPDATE")
            update = asyncio.create_task(client(UPDATE, input={"product": {"name": "orders"}, "owner": "bob"}))
            await awaited(queued)
            service.process.terminate()
            await awaited(refuses_connections)
            # it has all the time it needs, and what runs is not cut off
            await asyncio.wait({update}, timeout=0.5)
            assert service.runs
            assert not update.done()
            await held.rollback()
            answer = await asyncio.wait_for(update, PATIENCE)
        finally:
            await holder.close()
            await observer.close()
        assert (answer.status, answer.data["updateProduct"]["product"]["owner"]) == (200, "bob")
        assert await service.finished() in (0, 128 + signal.SIGTERM)
    assert "Traceback" not in str(service.err)
    assert postmaster(data) is None


async def test_a_second_demo_keeps_the_data_and_ctrl_c_ends_each_cleanly(new_data: Path) -> None:
    async with headwater(new_data, "demo") as demo:
        address = (await demo.out.saying(ADDRESS))[0]
        async with client_of(address) as client:
            page = await client.http.get("/graphql", headers={"Accept": "text/html"})
            assert page.status_code == 200
            assert (await client("{ products { totalCount } }")).data["products"]["totalCount"] > 10
            uid = (await client(REGISTER, input=product_fields("mine"))).data["registerProduct"]["product"]["uid"]
        await ended_by_ctrl_c(demo)
        assert re.findall(ADDRESS, str(demo.out)) == [address]
        assert [it for it in EXAMPLES if it.query.strip() in str(demo.out)] == list(EXAMPLES[:2])
    assert postmaster(new_data) is None

    started = time.monotonic()
    async with headwater(new_data, "demo") as demo:
        address = (await demo.out.saying(ADDRESS))[0]
        assert time.monotonic() - started < 5
        async with client_of(address) as client:
            assert (await client('{ product(name: "mine") { uid } }')).data == {"product": {"uid": uid}}
        with await asyncio.to_thread(EmbeddedServer.start, new_data):
            await ended_by_ctrl_c(demo)
            assert postmaster(new_data), "somebody else uses it still"
    assert postmaster(new_data) is None


async def ended_by_ctrl_c(command: Command) -> None:
    others = command.workers()
    # a terminal sends it to everybody in the foreground
    os.killpg(command.process.pid, signal.SIGINT)
    assert await command.finished() in (0, 128 + signal.SIGINT)
    assert "Traceback" not in str(command.err) + str(command.out)
    await gone(*others)


async def test_the_demo_is_open_but_a_credential_that_does_not_hold_is_refused_there_too(data: Path) -> None:
    async with headwater(data, "demo", workers="3") as demo:
        address = (await demo.out.saying(ADDRESS))[0]
        everything = {"tenant": "default", "actor": "anonymous", "scopes": ["read", "write", "admin"]}
        async with client_of(address) as client:
            assert (await client("{ viewer { tenant actor scopes } }")).data["viewer"] == everything
        wrong = [{"X-API-Key": FIRST_KEY}, {"X-API-Key": ""}, {"Authorization": "Bearer e.e.e"}, {"Authorization": "Basic YTph"}]
        async with client_of(address) as client:
            for headers in wrong:
                answer = await client("{ __typename }", headers)
                assert (answer.status, answer.code_and_field[0]) == (401, "UNAUTHENTICATED"), headers
        key = (await run(data, "keys", "create", "somebody", "--scope", "read")).out.lines[0]
        async with client_of(address, key) as client:
            assert (await client("{ viewer { scopes } }")).data == {"viewer": {"scopes": ["read"]}}
        # what is open is one process, however many the environment asks for
        assert not [it for it in demo.workers() if "postgres" not in it.name()]


@pytest.mark.parametrize("user", [None, pwd.getpwnam("nobody").pw_uid], ids=["as oneself", "as an ordinary user"])
async def test_two_that_need_a_secret_at_once_make_one_that_nobody_else_reads(new_data: Path, user: int | None) -> None:
    if user is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can be somebody else")
        os.chown(new_data.parent, user, user)
    try:
        migrated = await run(new_data, "migrate", user=user)
    except PermissionError:
        pytest.skip("that user cannot execute the command")
    assert migrated.process.returncode == 0, str(migrated.err)
    secret = new_data / "key.secret"
    secret.unlink()
    made = await asyncio.gather(
        *(run(new_data, "keys", "create", name, "--scope", "read", user=user) for name in ("first", "second"))
    )
    assert [it.process.returncode for it in made] == [0, 0], [str(it.err) for it in made]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.stat().st_uid == (os.geteuid() if user is None else user)
    assert [it.name for it in new_data.iterdir() if "secret" in it.name] == ["key.secret"]
    async with headwater(new_data, "serve", user=user) as service:
        address = (await service.err.saying(ADDRESS))[0]
        for command in made:
            async with client_of(address, command.out.lines[0]) as client:
                assert (await client("{ viewer { tenant } }")).data == {"viewer": {"tenant": "default"}}
        service.process.terminate()
        await service.finished()


async def test_a_secret_that_was_cut_short_is_not_used(data: Path) -> None:
    (data / "key.secret").write_text("")
    refused = await run(data, "serve")
    assert refused.process.returncode == 1
    (line,) = refused.err.lines
    assert line.startswith(f"error: {data / 'key.secret'} must hold the 64 characters that API keys are verified with")


async def test_a_port_in_use_is_one_clear_sentence(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = await run(data, "demo", "--port", str(port))
    assert refused.process.returncode == 1
    assert len(refused.err.lines) == 1
    assert f"127.0.0.1:{port}" in str(refused.err)
    assert "Address already in use" in str(refused.err)
    assert "--port" in str(refused.err)
    assert postmaster(data) is None


async def test_an_address_that_others_can_reach_is_refused(new_data: Path) -> None:
    refused = await run(new_data, "demo", "--host", "0.0.0.0")
    assert refused.process.returncode == 1
    assert len(refused.err.lines) == 1
    assert "0.0.0.0 is not a loopback address" in str(refused.err)
    assert not new_data.exists(), "what cannot be served needs no server"


async def test_several_workers_answer_and_all_end_when_told_to(data: Path) -> None:
    async with serving(data, "--workers", "2") as (service, client):
        await register_what_is_written_to(client)
        assert await client.status("/ready") == 200
        # whichever of them answers knows the key
        asked = await asyncio.gather(*(client("{ viewer { tenant } }", {"Connection": "close"}) for _ in range(16)))
        assert [it.data for it in asked] == [{"viewer": {"tenant": "default"}}] * 16
        workers = service.workers()
        assert len(workers) >= 2
        service.process.terminate()
        assert await service.finished() in (0, 128 + signal.SIGTERM)
    # Python's own tracker of resources is the last to notice
    await gone(*workers)
    assert "Traceback" not in str(service.err)
    assert postmaster(data) is None


async def test_workers_whose_parent_was_killed_end_too(data: Path) -> None:
    async with serving(data, "--workers", "2") as (service, client):
        assert await client.status("/ready") == 200
        workers = service.workers()
        service.process.kill()
        await service.finished()
        await gone(*workers)


async def test_a_terminal_that_is_closed_ends_all_workers(data: Path) -> None:
    async with serving(data, "--workers", "2") as (service, client):
        assert await client.status("/ready") == 200
        workers = service.workers()
        service.process.send_signal(signal.SIGHUP)
        await service.finished()
        await gone(*workers)
    assert postmaster(data) is None


async def test_a_terminal_that_is_closed_ends_the_demo_and_its_server(data: Path) -> None:
    async with headwater(data, "demo", "--port", "0") as demo:
        await demo.out.saying(ADDRESS)
        demo.process.send_signal(signal.SIGHUP)
        assert await demo.finished() == 128 + signal.SIGHUP
    assert postmaster(data) is None


async def test_each_request_is_one_line_of_json_with_its_id(data: Path) -> None:
    async with serving(data) as (service, client):
        own = await client("query Mine { products { totalCount } }", {"X-Request-ID": "mine-1"})
        given = await client("{ nothing }")
        health = await client.http.get("/health")
        service.process.terminate()
        await service.finished()
    # the first line says where the service is
    _serving, first, second, third = (orjson.loads(line) for line in service.err.lines)
    assert own.headers["X-Request-ID"] == first["request_id"] == "mine-1"
    assert (first["method"], first["path"], first["status"], first["operation"]) == ("POST", "/graphql", 200, "query Mine")
    assert first["milliseconds"] > 0
    assert "errors" not in first
    assert given.headers["X-Request-ID"] == second["request_id"]
    assert second["errors"] == ["BAD_INPUT"]
    assert health.headers["X-Request-ID"] == third["request_id"]
    assert (third["method"], third["path"], third["status"]) == ("GET", "/health", 200)
    assert len({line["request_id"] for line in (first, second, third)}) == 3


async def test_verify_names_what_was_tampered_with_and_fails(data: Path) -> None:
    async with serving(data) as (service, client):
        await register_what_is_written_to(client)
        service.process.terminate()
        await service.finished()
    assert (await run(data, "verify")).process.returncode == 0
    with await asyncio.to_thread(EmbeddedServer.start, data) as server:
        connection = await asyncpg.connect(server.address(DATABASE))
        tampered = await connection.fetchval(
            "UPDATE product_version SET owner = 'mallory' WHERE name = 'orders' RETURNING asset_id"
        )
        await connection.close()
    verified = await run(data, "verify")
    assert verified.process.returncode == 1
    assert [line for line in verified.out.lines if f"PRODUCT {tampered} " in line and "differs in content" in line]
    assert "1 differences" in verified.out.lines[-1]
    assert "Traceback" not in str(verified.err)
