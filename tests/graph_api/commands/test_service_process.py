"""The `headwater` command as a process on its own data: concurrent starts, signals, and kills in the middle of writes."""

import asyncio
import fcntl
import os
import pwd
import re
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import asyncpg
import httpx
import orjson
import psutil
import pytest

from db.embedded.server import EmbeddedServer
from db.revision import latest_revision
from graph_api.commands.database import DATABASE
from graph_api.graphiql.examples import EXAMPLES
from tests.builders import REGISTER, UPDATE, product_fields
from tests.commands import run_in_process
from tests.graph_api.commands.service_processes import (
    ADDRESS,
    FIRST_KEY,
    connect,
    postmaster_of,
    run_on,
    serve_on,
    start_on,
)
from tests.graph_api.commands.writers import WRITERS, Writers, all_owners, register_products
from tests.processes import PATIENCE, CommandProcess, wait_for_end_of, wait_until

pytestmark = pytest.mark.integration


async def test_serve_rejects_a_database_that_is_not_migrated_and_names_the_remedy(new_data: Path) -> None:
    result = await run_on(new_data, "serve")
    assert (result.code, len(result.err)) == (1, 1)
    assert "headwater migrate" in result.err[0]
    assert postmaster_of(new_data) is None


async def test_two_concurrent_migrations_succeed_a_third_changes_nothing_and_the_service_is_ready(new_data: Path) -> None:
    both = await asyncio.gather(run_on(new_data, "migrate"), run_on(new_data, "migrate"))
    assert [it.code for it in both] == [0, 0], [it.err for it in both]
    latest = latest_revision()
    migrated, unchanged = f"Migrated from nothing to {latest}.", f"The database is at revision {latest}."
    assert sorted(it.out for it in both) == sorted([[migrated], [unchanged]])
    third = await run_on(new_data, "migrate")
    assert (third.code, third.out) == (0, [unchanged])
    async with serve_on(new_data) as (_, client):
        assert await client.status("/health") == 200
        assert await client.status("/ready") == 200


async def test_a_service_killed_amid_writes_has_kept_every_acknowledged_one(data: Path) -> None:
    async with serve_on(data) as (service, client):
        await register_products(client)
        async with Writers(client).at_work() as writers:
            await writers.wait_for_writes(60)
            service.process.kill()
            await service.exit_code()
    assert writers.disconnected == WRITERS
    assert postmaster_of(data), "nobody stopped it"
    async with serve_on(data) as (service, client):
        verified = await run_in_process("verify", data=str(data))
        assert verified.code == 0, verified.out
        assert writers.acknowledged.items() <= (await all_owners(client)).items()
        service.process.terminate()
        await service.exit_code()
    assert postmaster_of(data) is None


async def test_requests_are_unavailable_while_postgresql_is_down_and_a_lone_service_starts_it_again(data: Path) -> None:
    async with serve_on(data) as (service, client):
        await register_products(client)
        killed = postmaster_of(data)
        assert killed
        async with Writers(client).at_work() as writers:
            await writers.wait_for_writes(60)
            # nobody can start the server before the lock is released
            with (data / "start.lock").open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                killed.kill()
                await writers.wait_until(lambda: all(writers.error_codes))
                await wait_for_end_of(killed)
                assert await client.status("/ready") == 503
                assert await client.status("/health") == 200
            await writers.wait_for_writes(20)
            assert await client.status("/ready") == 200
        assert writers.error_codes == [{"UNAVAILABLE"}] * WRITERS
        assert writers.disconnected == 0
        assert service.is_running
        verified = await run_in_process("verify", data=str(data))
        assert verified.code == 0, verified.out
        assert writers.acknowledged.items() <= (await all_owners(client)).items()
        service.process.terminate()
        await service.exit_code()
    assert postmaster_of(data) is None


async def test_the_first_request_after_a_restart_of_postgresql_succeeds(data: Path) -> None:
    async with serve_on(data) as (_, client):
        await register_products(client)
        # Several connections of the pool are stale afterwards.
        await asyncio.gather(*(client(UPDATE, input={"product": {"name": "orders"}, "owner": f"o{n}"}) for n in range(8)))
        killed = postmaster_of(data)
        assert killed
        killed.kill()
        await wait_for_end_of(killed)
        with await asyncio.to_thread(EmbeddedServer.start, data):
            answer = await client(UPDATE, input={"product": {"name": "orders"}, "owner": "bob"})
            assert answer.data["updateProduct"]["product"]["owner"] == "bob"
            assert (await client.owners("orders"))["bob"]


async def test_a_terminated_service_completes_running_requests(data: Path) -> None:
    async with serve_on(data) as (service, client):
        await register_products(client)
        # These connections do not count as users of the embedded server, which would keep it running.
        sockets = (data / "postgres.socket").read_text().strip()
        holder = await asyncpg.connect(host=sockets, user="headwater", database=DATABASE)
        observer = await asyncpg.connect(host=sockets, user="headwater", database=DATABASE)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headwater' AND wait_event_type = 'Lock'"

        async def update_waits() -> bool:
            return bool(await observer.fetchval(waiting) == 1)

        async def refuses_connections() -> bool:
            try:
                await client.status("/health")
            except httpx.TransportError:
                return True
            return False

        try:
            lock = holder.transaction()
            await lock.start()
            await holder.fetch("SELECT FROM asset FOR UPDATE")
            update = asyncio.create_task(client(UPDATE, input={"product": {"name": "orders"}, "owner": "bob"}))
            await wait_until(update_waits)
            service.process.terminate()
            await wait_until(refuses_connections)
            await asyncio.wait({update}, timeout=0.5)
            assert service.is_running
            assert not update.done()
            await lock.rollback()
            answer = await asyncio.wait_for(update, PATIENCE)
        finally:
            await holder.close()
            await observer.close()
        assert (answer.status, answer.data["updateProduct"]["product"]["owner"]) == (200, "bob")
        assert await service.exit_code() in (0, 128 + signal.SIGTERM)
    assert "Traceback" not in str(service.err)
    assert postmaster_of(data) is None


async def test_a_second_demo_keeps_the_data_and_ctrl_c_ends_each_cleanly(new_data: Path) -> None:
    async with start_on(new_data, "demo") as demo:
        address = (await demo.out.line_matching(ADDRESS))[0]
        async with connect(address) as client:
            page = await client.http.get("/graphql", headers={"Accept": "text/html"})
            assert page.status_code == 200
            assert (await client("{ products { totalCount } }")).data["products"]["totalCount"] > 10
            uid = (await client(REGISTER, input=product_fields("mine"))).data["registerProduct"]["product"]["uid"]
        await end_by_ctrl_c(demo)
        assert demo.out.lines[0] == "Loaded the demo data."
        assert re.findall(ADDRESS, str(demo.out)) == [address]
        assert [it for it in EXAMPLES if it.query.strip() in str(demo.out)] == list(EXAMPLES[:2])
    assert postmaster_of(new_data) is None

    started = time.monotonic()
    async with start_on(new_data, "demo") as demo:
        address = (await demo.out.line_matching(ADDRESS))[0]
        assert time.monotonic() - started < 5
        assert demo.out.lines[0] == "Kept the data of the last run."
        async with connect(address) as client:
            assert (await client('{ product(name: "mine") { uid } }')).data == {"product": {"uid": uid}}
        with await asyncio.to_thread(EmbeddedServer.start, new_data):
            await end_by_ctrl_c(demo)
            assert postmaster_of(new_data), "another process still uses it"
    assert postmaster_of(new_data) is None


async def end_by_ctrl_c(command: CommandProcess) -> None:
    children = command.children()
    # A terminal sends the signal to all processes in the foreground.
    os.killpg(command.process.pid, signal.SIGINT)
    assert await command.exit_code() in (0, 128 + signal.SIGINT)
    assert "Traceback" not in str(command.err) + str(command.out)
    await wait_for_end_of(*children)


async def test_the_demo_needs_no_credentials_but_rejects_invalid_ones(data: Path) -> None:
    async with start_on(data, "demo", workers="3") as demo:
        address = (await demo.out.line_matching(ADDRESS))[0]
        everything = {"tenant": "default", "actor": "anonymous", "scopes": ["read", "write", "admin"]}
        async with connect(address) as client:
            assert (await client("{ viewer { tenant actor scopes } }")).data["viewer"] == everything
        invalid = [
            {"X-API-Key": FIRST_KEY},
            {"X-API-Key": ""},
            {"Authorization": "Bearer e.e.e"},
            {"Authorization": "Basic YTph"},
        ]
        async with connect(address) as client:
            for headers in invalid:
                answer = await client("{ __typename }", headers)
                assert (answer.status, answer.code_and_field[0]) == (401, "UNAUTHENTICATED"), headers
        key = (await run_in_process("keys", "create", "somebody", "--scope", "read", data=str(data))).out[0]
        async with connect(address, key) as client:
            assert (await client("{ viewer { scopes } }")).data == {"viewer": {"scopes": ["read"]}}
        # Without authentication there is only one process, however many workers are set.
        assert not [it for it in demo.children() if "postgres" not in it.name()]


@pytest.mark.parametrize("user", [None, pwd.getpwnam("nobody").pw_uid], ids=["this user", "an ordinary user"])
async def test_two_concurrent_commands_create_one_secret_that_only_its_owner_reads(new_data: Path, user: int | None) -> None:
    if user is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can run commands as another user")
        os.chown(new_data.parent, user, user)
    try:
        migrated = await run_on(new_data, "migrate", user=user)
    except PermissionError:
        pytest.skip("that user cannot execute the command")
    assert migrated.code == 0, migrated.err
    secret = new_data / "key.secret"
    secret.unlink()
    created = await asyncio.gather(
        *(run_on(new_data, "keys", "create", name, "--scope", "read", user=user) for name in ("first", "second"))
    )
    assert [it.code for it in created] == [0, 0], [it.err for it in created]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.stat().st_uid == (os.geteuid() if user is None else user)
    assert [it.name for it in new_data.iterdir() if "secret" in it.name] == ["key.secret"]
    async with start_on(new_data, "serve", user=user) as service:
        address = (await service.err.line_matching(ADDRESS))[0]
        for result in created:
            async with connect(address, result.out[0]) as client:
                assert (await client("{ viewer { tenant } }")).data == {"viewer": {"tenant": "default"}}
        service.process.terminate()
        await service.exit_code()


async def test_a_truncated_secret_is_rejected(data: Path) -> None:
    (data / "key.secret").write_text("")
    result = await run_on(data, "serve")
    assert result.code == 1
    (line,) = result.err
    assert line.startswith(f"error: {data / 'key.secret'} must hold the 64 characters that API keys are verified with")


async def test_a_port_in_use_is_reported_in_one_line(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = await run_on(data, "demo", "--port", str(port))
    assert result.code == 1
    (line,) = result.err
    assert f"127.0.0.1:{port}" in line
    assert "Address already in use" in line
    assert "--port" in line
    assert postmaster_of(data) is None


async def test_the_demo_rejects_an_address_that_others_can_reach_before_it_starts_a_server(new_data: Path) -> None:
    result = await run_on(new_data, "demo", "--host", "0.0.0.0")
    assert result.code == 1
    (line,) = result.err
    assert "0.0.0.0 is not a loopback address" in line
    assert not new_data.exists()


async def test_all_workers_respond_and_end_when_terminated(data: Path) -> None:
    async with serve_on(data, "--workers", "2") as (service, client):
        await register_products(client)
        assert await client.status("/ready") == 200
        # Each connection goes to any worker, and each worker accepts the key.
        answers = await asyncio.gather(*(client("{ viewer { tenant } }", {"Connection": "close"}) for _ in range(16)))
        assert [it.data for it in answers] == [{"viewer": {"tenant": "default"}}] * 16
        workers = service.children()
        assert len(workers) >= 2
        service.process.terminate()
        assert await service.exit_code() in (0, 128 + signal.SIGTERM)
    # The resource tracker of multiprocessing ends last.
    await wait_for_end_of(*workers)
    assert "Traceback" not in str(service.err)
    assert postmaster_of(data) is None


def connections_of(process: psutil.Process, port: int) -> int:
    """Count the connections of clients that a process holds."""
    connections = process.net_connections(kind="tcp")
    return sum(it.laddr.port == port and it.status == psutil.CONN_ESTABLISHED for it in connections)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux distributes connections")
async def test_connections_are_distributed_among_workers_and_to_the_one_that_replaces_another(data: Path) -> None:
    async with serve_on(data, "--workers", "2") as (service, _):
        address = (await service.err.line_matching(ADDRESS))[0]
        port = httpx.URL(address).port
        assert port is not None

        async def shares() -> list[int]:
            """Open 60 connections, have each answered, and return the numbers of those that processes hold."""
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE, limits=limits) as many:
                answers = await asyncio.gather(*(many.get(str(httpx.URL(address).join("/health"))) for _ in range(60)))
                assert {it.status_code for it in answers} == {200}
                return [count for it in service.children() if (count := connections_of(it, port))]

        # another service does not get a share
        refused = await run_on(data, "serve", "--workers", "2", "--port", str(port))
        assert refused.code == 1
        assert "Address already in use" in refused.err[-1]
        both = await shares()
        assert len(both) == 2
        assert min(both) >= 10, both
        killed = next(it for it in service.children() if "spawn_main" in " ".join(it.cmdline()))
        killed.kill()
        await wait_for_end_of(killed)
        # those of the worker that ended wait for the next one
        assert min(both := await shares()) >= 10, both


async def test_workers_end_when_their_parent_is_killed(data: Path) -> None:
    async with serve_on(data, "--workers", "2") as (service, client):
        assert await client.status("/ready") == 200
        workers = service.children()
        service.process.kill()
        await service.exit_code()
        await wait_for_end_of(*workers)


async def test_a_closed_terminal_ends_all_workers(data: Path) -> None:
    async with serve_on(data, "--workers", "2") as (service, client):
        assert await client.status("/ready") == 200
        workers = service.children()
        service.process.send_signal(signal.SIGHUP)
        await service.exit_code()
        await wait_for_end_of(*workers)
    assert postmaster_of(data) is None


async def test_a_closed_terminal_ends_the_demo_and_its_server(data: Path) -> None:
    async with start_on(data, "demo", "--port", "0") as demo:
        await demo.out.line_matching(ADDRESS)
        demo.process.send_signal(signal.SIGHUP)
        assert await demo.exit_code() == 128 + signal.SIGHUP
    assert postmaster_of(data) is None


async def test_each_request_is_logged_as_one_json_line_with_its_id(data: Path) -> None:
    async with serve_on(data) as (service, client):
        named = await client("query Mine { products { totalCount } }", {"X-Request-ID": "mine-1"})
        unnamed = await client("{ nothing }")
        health = await client.http.get("/health")
        service.process.terminate()
        await service.exit_code()
    # The first line announces the address.
    _serving, first, second, third = (orjson.loads(line) for line in service.err.lines)
    assert named.headers["X-Request-ID"] == first["request_id"] == "mine-1"
    assert (first["method"], first["path"], first["status"], first["operation"]) == ("POST", "/graphql", 200, "query Mine")
    assert first["milliseconds"] > 0
    assert "errors" not in first
    assert unnamed.headers["X-Request-ID"] == second["request_id"]
    assert second["errors"] == ["BAD_INPUT"]
    assert health.headers["X-Request-ID"] == third["request_id"]
    assert (third["method"], third["path"], third["status"]) == ("GET", "/health", 200)
    assert len({line["request_id"] for line in (first, second, third)}) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_signal_loses_no_log_line(data: Path, workers: int, number: int) -> None:
    async with serve_on(data, "--workers", str(workers)) as (service, client):
        sent = [f"request-{index}" for index in range(50)]
        for request_id in sent:
            await client("{ __typename }", {"X-Request-ID": request_id})
        service.process.send_signal(number)
        await service.exit_code()
    logged = [line.get("request_id") for line in map(orjson.loads, service.err.lines)]
    assert sorted(it for it in logged if it) == sorted(sent)
    if workers == 1:
        assert [it for it in logged if it] == sent


async def test_verify_names_a_version_that_was_tampered_with_and_fails(data: Path) -> None:
    async with serve_on(data) as (service, client):
        await register_products(client)
        service.process.terminate()
        await service.exit_code()
    assert (await run_in_process("verify", data=str(data))).code == 0
    with await asyncio.to_thread(EmbeddedServer.start, data) as server:
        connection = await asyncpg.connect(server.address(DATABASE))
        tampered = await connection.fetchval(
            "UPDATE product_version SET owner = 'mallory' WHERE name = 'orders' RETURNING asset_id"
        )
        await connection.close()
    verified = await run_in_process("verify", data=str(data))
    assert verified.code == 1
    assert [line for line in verified.out if f"PRODUCT {tampered} " in line and "differs in content" in line]
    assert "1 differences" in verified.out[-1]
    assert "Traceback" not in str(verified.err)
