"""A database that becomes read-only, as in a failover, and writable again: reads go on, and writes answer UNAVAILABLE."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from db import migrations
from db.driver import domain_error
from db.embedded.server import EmbeddedServer
from db.errors import HeadwaterError, ReadOnly, Timeout, Unavailable
from db.revision import latest_revision
from graph_api.app import create_app
from graph_api.settings import Settings
from tests.builders import REGISTER, ApiResponse, product_fields
from tests.databases import SETTINGS, in_database
from tests.processes import wait_until
from tests.security.service_harness import LIST, SECRET, Owner

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, whose settings a test may change."""
    directory: Path = tmp_path_factory.mktemp("cluster")
    with EmbeddedServer.start(directory, SETTINGS) as server:
        server.ensure_database("headwater")
        yield in_database(server.address("postgres"), "headwater")


class _Client:
    """Client of a service in this process, with a key."""

    def __init__(self, http: httpx.AsyncClient, address: str) -> None:
        self.http = http
        self._address = address

    async def __call__(self, query: str, key: str, headers: dict[str, str] | None = None, **variables: Any) -> ApiResponse:
        response = await self.http.post(
            "/graphql", json={"query": query, "variables": variables}, headers={"X-API-Key": key, **(headers or {})}
        )
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def status(self) -> str:
        return str((await self.http.get("/ready")).json()["status"])

    async def make_read_only(self, value: str) -> None:
        """Make the server accept reads only, or writes again, and wait until the service says so."""
        owner = await asyncpg.connect(self._address)
        await owner.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await owner.execute("SELECT pg_reload_conf()")
        await owner.close()

        async def is_known() -> bool:
            return await self.status() == ("read-only" if value == "on" else "ok")

        await wait_until(is_known)


@pytest.fixture
async def client(cluster: str) -> AsyncIterator[_Client]:
    await migrations.upgrade(cluster)
    app = create_app(Settings(database_url=cluster, key_secret=SECRET))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        yield _Client(http, cluster)


def warnings(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [it for it in logs if it["log_level"] == "warning"]


@asynccontextmanager
async def missing(cluster: str, table: str) -> AsyncIterator[None]:
    """Take a table away for the time of the block."""
    owner = await asyncpg.connect(cluster)
    try:
        await owner.execute(f"ALTER TABLE {table} RENAME TO away")
        yield
        await owner.execute(f"ALTER TABLE away RENAME TO {table}")
    finally:
        await owner.close()


async def test_reads_go_on_and_writes_are_unavailable_until_the_database_is_writable(client: _Client, cluster: str) -> None:
    owner = Owner(cluster)
    name = await owner.tenant()
    writing, reading, other = [await owner.key("read", "write", of=name) for _ in range(3)]
    operator = await owner.key("read", operator=True)
    assert (await client(REGISTER, writing, input=product_fields("orders"))).data
    await client.make_read_only("on")
    with capture_logs() as logs:
        for key in (reading, other):
            assert (await client(LIST, key)).data == {"products": {"nodes": [{"name": "orders"}]}}
        for _ in range(2):
            assert (await client(LIST, operator, {"X-Headwater-Tenant": name})).data["products"]["nodes"]
        refused = await client(REGISTER, writing, input=product_fields("customers"))
    assert refused.error["extensions"]["code"] == "UNAVAILABLE"
    assert refused.error["message"] == ReadOnly().message
    # each once in a while, and not for each key or read
    assert [it["event"] for it in warnings(logs)] == [
        "last use of a key not recorded",
        "read by an operator not audited",
        "failed mutation not audited",
        "unavailable",
    ]
    assert (await client.http.get("/ready")).json() == {
        "status": "read-only",
        "revision": latest_revision(),
        "reason": ReadOnly().message,
    }
    await client.make_read_only("off")
    assert (await client(REGISTER, writing, input=product_fields("customers"))).data
    assert (await client(LIST, reading)).data["products"]["nodes"] == [{"name": "customers"}, {"name": "orders"}]


async def test_the_log_says_why_the_database_was_unavailable(client: _Client, cluster: str) -> None:
    key, unknown_yet = [await Owner(cluster).key("read") for _ in range(2)]
    query = (
        "query ($name: String!) { product(name: $name) { name } again: product(name: $name) { owner } products { totalCount } }"
    )
    async with missing(cluster, "product_version"):
        with capture_logs() as logs:
            answer = await client(query, key, name="a secret")
    assert [it["extensions"]["code"] for it in answer.errors] == ["UNAVAILABLE"] * len(answer.errors)
    assert len(answer.errors) > 1
    # once for all fields, and without what was sent
    (reason,) = {it["message"] for it in answer.errors}
    cause = {"cause": "UndefinedTableError", "sqlstate": "42P01"}
    assert warnings(logs) == [{"event": "unavailable", "log_level": "warning", "reason": reason, **cause}]
    async with missing(cluster, "api_key"):
        with capture_logs() as logs:
            assert (await client(query, unknown_yet, name="a secret")).status == 503
    assert [it["sqlstate"] for it in warnings(logs)] == ["42P01"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("25006", ReadOnly),
        # of these, the service is to blame
        ("25001", NoneType),
        ("25P01", NoneType),
        ("25P02", NoneType),
        ("25P03", Unavailable),
        ("25P04", Timeout),
        ("53100", ReadOnly),
        ("53200", Unavailable),
        ("53300", Unavailable),
        ("57000", Unavailable),
        ("57014", Timeout),
        ("57P01", Unavailable),
        ("57P03", Unavailable),
        ("57P05", Unavailable),
        ("58000", Unavailable),
        ("58030", Unavailable),
        ("58P01", Unavailable),
    ],
)
def test_each_state_of_a_server_that_refuses_is_expected(state: str, expected: type[HeadwaterError | None]) -> None:
    error = asyncpg.PostgresError.new({"C": state, "M": "refused"})
    assert type(domain_error(error)) is expected
