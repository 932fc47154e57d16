"""Hooks and fixtures of all tests: one PostgreSQL server for the run, one clone of a template database for each test."""

import asyncio
import gc
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette

from db.author import Author
from db.database import Database
from db.driver_connection import StatementHook
from db.rows import Row
from db.sql import statement
from graph_api import demo
from graph_api.app import create_app
from graph_api.settings import Settings
from tests import randomness
from tests.builders import Api, Statements
from tests.databases import EMPTY, MIGRATED, SERVER_VARIABLE, Reset, RunServer, prepare_now, temporary_database


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # a shell that runs the tests in the background has them, and the processes that they start, ignore these
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    randomness.configure(config)
    if _starts_the_run(config) and not config.option.collectonly:
        server = RunServer()
        config.add_cleanup(server.stop)
        server.start()


def pytest_sessionstart(session: pytest.Session) -> None:
    if _starts_the_run(session.config):
        session.config.get_terminal_writer().line(f"Random tests: {randomness.description(session.config)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.line(f"To repeat the random tests of this run: {randomness.description(config)}")


def _starts_the_run(config: pytest.Config) -> bool:
    """Return False in a worker of xdist."""
    return not hasattr(config, "workerinput")


# The secret that the service of the tests seals cursors with.
_SECRET = "a secret of the tests, made at random"

# A module that imports one of these starts processes.
PROCESS_NAMES = {"subprocess", "EmbeddedServer", "Browser"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test as `unit` or `integration`, unless it is marked as an integration test explicitly."""
    assert isinstance(item, pytest.Function)
    if item.get_closest_marker("integration") is None:
        is_integration = "server" in item.fixturenames or vars(item.module).keys() & PROCESS_NAMES
        item.add_marker("integration" if is_integration else "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest tests first, so that no worker is left with one at the end."""
    items.sort(key=_seconds, reverse=True)


def pytest_collection_finish() -> None:
    """Leave all that was imported out of garbage collections: each would visit some 400 000 objects that stay."""
    gc.collect()
    gc.freeze()


def _seconds(item: pytest.Item) -> float:
    """Return how long the tests take that go to one worker with this one, as its marker `slow` says."""
    slow = item.get_closest_marker("slow")
    return float(slow.args[0]) if slow is not None else 0.0


@pytest.fixture(autouse=True)
async def _end_left_tasks() -> AsyncIterator[None]:
    """End the tasks that the test leaves, as the end of an event loop of its own would."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {current for current in [asyncio.current_task()] if current}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture(scope="session")
def server() -> str:
    """The address of the run's server, as its superuser."""
    return os.environ[SERVER_VARIABLE]


@pytest.fixture
async def empty_address(server: str) -> AsyncIterator[str]:
    """A database of this test's own with nothing in it."""
    async with temporary_database(server, EMPTY) as address:
        yield address


@pytest.fixture
def template() -> str:
    """The template that `address` clones. Modules override it with what `prepare_now` returns."""
    return MIGRATED


@pytest.fixture
async def address(server: str, template: str) -> AsyncIterator[str]:
    """The address of a clone of the template, which only this test uses."""
    async with temporary_database(server, template) as address:
        yield address


@pytest.fixture(scope="session")
def demo_template(server: str) -> str:
    """A template that holds the demo mesh."""

    async def fill(address: str) -> None:
        database = Database(address, pool_size=1)
        await demo.load(database)
        await database.close()

    return prepare_now(server, "demo", fill)


FIGURES = statement("lineage/figures")

# Statements that begin and end transactions, set the tenant, or read the instant. The revision belongs to no tenant, nor do
# savepoints and constraints.
_OPENING_OR_ENDING = re.compile(r"BEGIN|COMMIT$|ROLLBACK$|SELECT set_config\('headwater.tenant_id'|SELECT now\(\)")
_NAMES_TENANT = re.compile(r"tenant_id = |INSERT INTO \w+ \(tenant_id")
_WITHOUT_TENANT = ("tenant_named(", "only_tenant(", "alembic_version", "SAVEPOINT", "SET CONSTRAINTS")


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    opened = Database(address, pool_size=10)
    yield opened
    await opened.close()


@pytest.fixture
async def statements(database: Database) -> AsyncIterator[Statements]:
    """Counts what the test's database is asked. Every statement has to name the tenant."""
    with recording(database) as recorded:
        yield recorded
        await recorded.check(database)


class recording(StatementHook):  # noqa: N801
    def __init__(self, database: Database) -> None:
        self._hooks = database.hooks
        self._recorded = Statements()
        self._without_tenant: list[str] = []

    def __enter__(self) -> Statements:
        self._hooks.append(self)
        return self._recorded

    def __exit__(self, *_: object) -> None:
        self._hooks.remove(self)
        assert not self._without_tenant, "every statement names the tenant"

    async def before(self, _connection: "asyncpg.Connection[Row]", text: str, _arguments: Sequence[Any] | None) -> str:
        self._recorded.all_statements += 1
        # figures are read in the background, when an estimate first wants them
        if not _OPENING_OR_ENDING.match(text) and text != FIGURES.text:
            self._recorded.executed.append(text)
            if not _NAMES_TENANT.search(text) and not any(it in text for it in _WITHOUT_TENANT):
                self._without_tenant.append(text)
        return text


@pytest.fixture
async def own_api(address: str) -> AsyncIterator[Api]:
    """The whole service in this process, over HTTP, with a database at `address`, which only this test uses."""
    async with serving(address) as api:
        yield api


@pytest.fixture
def api(own_api: Api) -> Api:
    """The service that the tests of a folder or module use. Those that need no service of their own override it with
    `shared_api`."""
    return own_api


class SharedService:
    """A service that the tests of a process use one after the other. Each finds the database as it was created, and documents of
    others in the cache.

    It is for tests that see the service through its API. Those that need another connection to its database, an empty cache or
    settings have a service of their own.
    """

    def __init__(self, server: str) -> None:
        self.address = ""
        self._server = server
        self._opened = AsyncExitStack()
        self._service: tuple[Starlette, Reset] | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Api]:
        """Lend the service. It is replaced if a test fails to give it back as it was."""
        app, reset = self._service or await self._open()
        try:
            async with api_of(app) as api:
                yield api
            await reset.run()
            app.state.figures._entries.clear()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._service = None
        await self._opened.aclose()

    async def _open(self) -> tuple[Starlette, Reset]:
        self.address = await self._opened.enter_async_context(temporary_database(self._server))
        reset = await Reset.of(self.address)
        self._opened.push_async_callback(reset.close)
        # the requests of all its tests would exhaust the rate of one caller
        app = open_app(self.address, tenant_rate="", key_rate="")
        await self._opened.enter_async_context(app.router.lifespan_context(app))
        self._service = app, reset
        return self._service


@pytest.fixture(scope="session")
async def shared_service(server: str) -> AsyncIterator[SharedService]:
    service = SharedService(server)
    yield service
    await service.close()


@pytest.fixture
async def shared_api(shared_service: SharedService) -> AsyncIterator[Api]:
    """The whole service in this process, over HTTP. `SharedService` tells for which tests it is."""
    async with shared_service.use() as api:
        yield api


@pytest.fixture
async def demo_api(server: str, demo_template: str) -> AsyncIterator[Api]:
    """The same service with the demo mesh."""
    async with temporary_database(server, demo_template) as address, serving(address) as api:
        yield api


@asynccontextmanager
async def serving(address: str) -> AsyncIterator[Api]:
    """Serve a database without authentication."""
    app = open_app(address)
    async with app.router.lifespan_context(app), api_of(app) as api:
        yield api


def open_app(address: str, **settings: Any) -> Starlette:
    """Build the service without authentication."""
    # a fixed secret, so that golden cursors stay the same
    return create_app(Settings(database_url=address, key_secret=_SECRET, **settings), require_auth=False)


@asynccontextmanager
async def api_of(app: Starlette) -> AsyncIterator[Api]:
    """Use a running service. Check that every statement names the tenant and every connection is returned."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        with recording(app.state.database) as recorded:
            yield Api(client, app.state.database, recorded, app.state.figures)
            await recorded.check(app.state.database)
        await app.state.figures.wait_until_idle()
        assert app.state.database.connections_in_use == 0, "a request left its connection behind"


@pytest.fixture
def author() -> Author:
    return Author("tester", "request-1")
