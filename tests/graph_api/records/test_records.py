"""External records through GraphQL: requests to services, failures, limits, isolation of callers, and addresses."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from db.assets import entity as entities
from db.author import Author
from db.errors import TransactionConflict, Unavailable
from db.sql import text
from db.tenancy import api_key
from graph_api.app import create_app
from graph_api.auth.principals import OPEN_PRINCIPAL
from graph_api.records import addresses, fetching, results, transports
from graph_api.records.addresses import is_public
from graph_api.records.transports import CheckedAddresses, NotPublic
from graph_api.settings import Settings
from schema.execution.executor import Executor
from schema.execution.operation import Request as Operation
from schema.root import schema
from schema.temporal.history import HISTORY_BY_SUBJECT
from tests.builders import Api
from tests.conftest import recording
from tests.graph_api.auth.issuer import AUDIENCE, ISSUER, jwks, token
from tests.graph_api.records.remote import TIMEOUT, Remote, listening, raw_server, record, remote

pytestmark = pytest.mark.api

PUT = """
  mutation ($code: String!, $source: RecordSourceInput) {
    putEntityType(input: { code: $code, label: "Customer", source: $source }) { entityType { code } }
  }
"""
ONE = 'query ($key: String!) { entity(ref: { key: { type: "CUSTOMER", key: $key } }) { displayName record } }'
ALL = "{ entities(first: 100) { nodes { key record } } }"


@pytest.fixture
async def crm() -> AsyncIterator[Remote]:
    async with remote() as service:
        yield service


def app_of(address: str, services: dict[str, Any], **settings: Any) -> Starlette:
    return create_app(Settings(database_url=address, services=services, **settings), require_auth=False)


@asynccontextmanager
async def serving(address: str, settings: dict[str, Any] | None = None, **services: Any) -> AsyncIterator[Api]:
    """Run the service with configured services."""
    app = app_of(address, services, **(settings or {}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as client:
            with recording(app.state.database) as recorded:
                yield Api(client, app.state.database, recorded)
                await recorded.check(app.state.database)
            assert app.state.database.connections_in_use == 0, "a request left its connection behind"


async def put_type(api: Api, code: str = "CUSTOMER", **source: Any) -> None:
    settings = {"service": "crm", "endpoint": "/customers", "lookupField": "id", **source}
    assert (await api(PUT, code=code, source=settings)).data


async def create_customers(api: Api, *keys: str, **source: Any) -> None:
    await put_type(api, **source)
    for key in keys:
        await api.create(f"Customer {key}", type="CUSTOMER", key=key)


def answers(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Callable[[Request], Awaitable[Response]]:
    """Build a handler that always answers with this JSON, or with these bytes."""

    async def answer(_: Request) -> Response:
        if isinstance(content, bytes):
            return Response(content, status, headers)
        return JSONResponse(content, status, headers)

    return answer


def code_and_message(error: dict[str, Any]) -> tuple[str, str]:
    return error["extensions"]["code"], error["message"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"id": 7}, 7, None, {"id": 42, "a": [1]}, {"id": 42, "a": 2}], {"id": 42, "a": [1]}),
        ([{"id": "42"}], {"id": "42"}),
        ({"id": 42, "name": None}, {"id": 42, "name": None}),
        ({"name": "without the key"}, {"name": "without the key"}),
        ({}, {}),
        ({"id": 4}, None),
        ({"id": None}, None),
        ({"id": True}, None),
        ([], None),
        ([{"id": 420}, {"id": "042"}, {"name": "none"}], None),
    ],
)
async def test_a_record_is_the_object_or_the_element_of_the_list_with_the_key(
    address: str, crm: Remote, content: Any, expected: Any
) -> None:
    crm.handler = answers(content)
    async with serving(address, crm=crm.address) as api:
        await create_customers(api, "42")
        answer = await api(ONE, key="42")
    assert answer.body["data"] == {"entity": {"displayName": "Customer 42", "record": expected}}
    if expected is None:
        assert code_and_message(answer.error) == ("NOT_FOUND", "The service crm has no record with id '42'.")
        assert answer.error["path"] == ["entity", "record"]
        assert answer.error["locations"] == [{"line": 1, "column": ONE.index("record }") + 1}]
    assert crm.targets == ["/customers?id=42"]


@pytest.mark.parametrize("status", [404, 410])
async def test_status_404_and_410_mean_not_found(address: str, crm: Remote, status: int) -> None:
    crm.handler = answers({"detail": "none"}, status=status)
    async with serving(address, crm=crm.address) as api:
        await create_customers(api, "42")
        assert (await api(ONE, key="42")).code_and_field == ("NOT_FOUND", None)


@pytest.mark.parametrize(
    ("base", "endpoint", "field", "key", "target"),
    [
        ("", "/customers", "id", "42", "/customers?id=42"),
        ("/", "/", "id", "42", "/?id=42"),
        ("/api/v1", "/customers/{key}.json", "id", "42", "/api/v1/customers/42.json"),
        ("/api/", "/customers", "customer number&x=1#", "a b&c=d/?é%2F+", None),
        ("/api", "/customers/{key}", "id", "prod.orders?x=1#y é", "/api/customers/prod.orders%3Fx%3D1%23y%20%C3%A9"),
        ("/api", "/a;b=c/@me,(1)!$&'*+:~/%C3%A9", "id", "1", "/api/a;b=c/@me,(1)!$&'*+:~/%C3%A9?id=1"),
    ],
)
async def test_the_url_of_a_request(
    address: str, crm: Remote, base: str, endpoint: str, field: str, key: str, target: str | None
) -> None:
    queries: list[dict[str, str]] = []

    async def handler(request: Request) -> Response:
        queries.append(dict(request.query_params))
        return JSONResponse({"fine": True})

    crm.handler = handler
    async with serving(address, crm=crm.address + base) as api:
        await create_customers(api, key, endpoint=endpoint, lookupField=field)
        assert (await api(ONE, key=key)).data["entity"]["record"] == {"fine": True}
    if target is not None:
        assert crm.targets == [target]
    else:
        assert queries == [{field: key}]
        assert crm.targets[0].startswith("/api/customers?")


async def test_without_a_source_or_key_there_is_no_record_and_a_local_one_has_the_details(address: str, crm: Remote) -> None:
    async with serving(address, crm=crm.address) as api:
        await api.put_types()
        await put_type(api)
        await put_type(api, "LOCAL", isLocal=True)
        await api.create("Ann")
        await api.create("Bo", type="CUSTOMER")
        await api.create("Cy", type="LOCAL", details={"email": "cy@shop.example", "note": "n"})
        await api.create("Di", type="LOCAL", key="4")
        nodes = (await api("{ entities(orderBy: { field: DISPLAY_NAME }) { nodes { record } } }")).data["entities"]["nodes"]
    assert [it["record"] for it in nodes] == [None, None, {"email": "cy@shop.example", "note": "n"}, {}]
    assert crm.targets == []


async def test_a_record_is_current_at_any_as_of(address: str, crm: Remote) -> None:
    async with serving(address, crm=crm.address) as api:
        await create_customers(api, "1")
        query = '{ entity(ref: { key: { type: "CUSTOMER", key: "1" } }, asOf: "2026-01-02") { record } }'
        assert (await api(query)).data == {"entity": {"record": record("1")}}


async def test_each_record_is_fetched_once_within_the_concurrency_limit(address: str, crm: Remote) -> None:
    keys = [str(number) for number in range(1, 51)]

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.005)
        return await crm.default_handler(request)

    crm.handler = slow
    query = """
      query Other { __typename }
      query Selected {
        a: entities(first: 50) { nodes { key record again: record ...more } }
        b: entities(first: 100) { nodes { key ... on Entity { record } } edges { node { key record } } }
      }
      fragment more on Entity { record third: record }
    """
    async with serving(address, crm={"address": crm.address, "concurrency": 5}) as api:
        await create_customers(api, *keys)
        api.statements.clear()
        response = await api.client.post("/graphql", json={"query": query, "operationName": "Selected"})
        # two pages, and the entity types of their entities
        assert len(api.statements) <= 4
    data = response.json()["data"]
    for node in [*data["a"]["nodes"], *data["b"]["nodes"], *(it["node"] for it in data["b"]["edges"])]:
        expected = record(node.pop("key"))
        assert set(map(str, node.values())) == {str(expected)}
    assert len(data["b"]["edges"]) == 50
    assert sorted(crm.targets) == sorted(f"/customers?id={key}" for key in keys)
    # one of five is kept for another tenant
    assert crm.max_concurrent == 4


async def test_the_concurrency_limit_is_per_process_and_a_small_request_does_not_wait_for_a_large_one(
    address: str, crm: Remote
) -> None:
    keys = [str(number) for number in range(1, 61)]

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.01)
        return await crm.default_handler(request)

    crm.handler = slow
    async with serving(address, crm={"address": crm.address, "concurrency": 2}) as api:
        await create_customers(api, *keys)
        large = asyncio.create_task(api(ALL))
        async with asyncio.timeout(TIMEOUT):
            while not crm.targets:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert (await api(ONE, key="60")).data["entity"]["record"] == record("60")
        requests_so_far = len(crm.targets)
        assert [it["record"] for it in (await large).data["entities"]["nodes"]]
    assert crm.max_concurrent == 2
    assert requests_so_far < 30


async def test_a_service_with_batching_gets_one_request(address: str, crm: Remote) -> None:
    keys = [str(number) for number in range(1, 49)]
    async with serving(address, crm={"address": crm.address, "batch": 50}) as api:
        await create_customers(api, *keys, "none")
        answer = await api("{ entities(first: 100) { nodes { key record } } }")
        assert len(crm.targets) == 1
        records = {it["key"]: it["record"] for it in answer.body["data"]["entities"]["nodes"]}
        assert records == {**{key: record(key) for key in keys}, "none": None}
        assert code_and_message(answer.error) == ("NOT_FOUND", "The service crm has no record with id 'none'.")

        # neither one object nor a 404 is a valid answer to a batch
        for wrong in (answers({"id": 1}), answers({}, status=404)):
            crm.handler = wrong
            codes = {it["extensions"]["code"] for it in (await api(ALL)).errors}
            assert codes == {"UNAVAILABLE"}


async def test_long_keys_and_keys_in_the_path_are_not_batched(address: str, crm: Remote) -> None:
    long = [f"{number}-{'x' * 480}" for number in range(1, 31)]
    crm.handler = answers({"by": "key"})
    async with serving(address, crm={"address": crm.address, "batch": 50}) as api:
        await create_customers(api, *long, endpoint="/customers/{key}")
        assert len((await api(ALL)).data["entities"]["nodes"]) == len(crm.targets) == 30
        await put_type(api)
        crm.handler, crm.targets = answers([]), []
        await api(ALL)
    assert 1 < len(crm.targets) < 10
    assert all(len(it) < 5_000 for it in crm.targets)


async def test_a_federation_gateway_gets_records_of_entities(address: str, crm: Remote) -> None:
    async with serving(address, crm=crm.address) as api:
        await put_type(api)
        entities_ = [await api.create(key, type="CUSTOMER", key=key) for key in ("1", "no")]
        query = "query ($it: [_Any!]!) { _entities(representations: $it) { ... on Entity { record } } }"
        answer = await api(query, it=[{"__typename": "Entity", "id": it["id"]} for it in entities_])
    assert answer.body["data"] == {"_entities": [{"record": record("1")}, {"record": None}]}
    assert answer.error["path"] == ["_entities", 1, "record"]


async def forever(request: Request) -> Response:
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return Response()


async def trickling(request: Request) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        yield b"["
        while not await request.is_disconnected():
            yield b" "
            await asyncio.sleep(0.02)

    return StreamingResponse(drops())


async def endless(request: Request) -> Response:
    async def flood() -> AsyncIterator[bytes]:
        yield b'["'
        while not await request.is_disconnected():
            yield b"x" * 100_000

    return StreamingResponse(flood())


FAILURES = {
    "slow": (forever, "does not answer within 0.3 s"),
    "trickling": (trickling, "does not answer within 0.3 s"),
    "endless": (endless, "answers with more than 100000 bytes"),
    "large": (answers({"id": 42, "text": "x" * 100_000}), "answers with more than 100000 bytes"),
    "failing": (answers({"id": 42}, status=500), "answers with status 500"),
    "forbidding": (answers({"id": 42}, status=403), "answers with status 403"),
    "no content": (answers(b"", status=204), "answers with status 204"),
    "empty": (answers(b""), "answers with a body that is not JSON"),
    "HTML": (answers(b"<html>"), "answers with a body that is not JSON"),
    "NaN": (answers(b'{"id": 42, "n": NaN}'), "answers with a body that is not JSON"),
    "infinity": (answers(b'{"id": 42, "n": 1e999}'), "answers with a body that is not JSON"),
    "a lone surrogate": (answers(b'{"id": 42, "n": "\\ud800"}'), "answers with a body that is not JSON"),
    "unclosed brackets": (answers(b"[" * 90_000), "answers with a body that is not JSON"),
    "deep": (answers(b'{"id": 42, "a": ' + b"[" * 300 + b"]" * 300 + b"}"), "nested more than 64 levels deep"),
    "a string": (answers("42"), "answers with JSON that is neither a record nor a list of records"),
    "null": (answers(None), "answers with JSON that is neither a record nor a list of records"),
    "compressed": (
        answers(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
        "answers with a Content-Encoding that was not requested",
    ),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES)
async def test_a_failing_service_affects_only_its_record(
    address: str, crm: Remote, answer: Callable[[Request], Awaitable[Response]], reason: str
) -> None:
    async def fail_one(request: Request) -> Response:
        return await (answer if request.query_params["id"] == "42" else crm.default_handler)(request)

    crm.handler = fail_one
    async with serving(address, crm={"address": crm.address, "timeout": 0.3, "max_bytes": 100_000}) as api:
        await create_customers(api, "42", "43")
        started = time.monotonic()
        response = await api("{ entities(orderBy: { field: DISPLAY_NAME }) { totalCount nodes { key record } } }")
        assert time.monotonic() - started < 2
        nodes = [{"key": "42", "record": None}, {"key": "43", "record": record("43")}]
        assert response.body["data"] == {"entities": {"totalCount": 2, "nodes": nodes}}
        code, message = code_and_message(response.error)
        assert (code, message.startswith("The service crm "), reason in message) == ("UNAVAILABLE", True, True)
        assert response.error["path"] == ["entities", "nodes", 0, "record"]
        assert set(response.error) == {"message", "path", "locations", "extensions"}
        assert str(crm.port) not in str(response.body["errors"])
        # the failure is not cached
        crm.handler = crm.default_handler
        assert (await api(ONE, key="42")).data["entity"]["record"] == record("42")


async def test_a_redirect_is_not_followed(address: str, crm: Remote) -> None:
    async with remote() as other:
        for status in (301, 302, 303, 307, 308):

            async def elsewhere(_: Request, status: int = status) -> Response:
                return RedirectResponse(f"{other.address}/customers?id=42", status)

            crm.handler = elsewhere
            async with serving(address, crm=crm.address, other=other.address) as api:
                await put_type(api)
                await api.create("x", type="CUSTOMER", key=str(status))
                error = (await api(ONE, key=str(status))).error
                assert code_and_message(error) == ("UNAVAILABLE", "The service crm redirects, and redirects are not followed.")
        assert other.targets == []
    assert len(crm.targets) == 5


@pytest.mark.parametrize("dropped", [1, 2, 9])
async def test_a_broken_connection_is_retried_once(address: str, dropped: int) -> None:
    tries = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.readuntil(b"\r\n\r\n")
        if tries > dropped:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async with raw_server(drop) as port, serving(address, crm=f"http://127.0.0.1:{port}") as api:
        await create_customers(api, "42")
        answer = await api(ONE, key="42")
    assert tries == 2
    if dropped == 1:
        assert answer.data["entity"]["record"] == {}
    else:
        assert code_and_message(answer.error) == (
            "UNAVAILABLE",
            "The service crm closed the connection before its answer was complete.",
        )


async def test_a_timeout_or_a_status_is_not_retried(address: str, crm: Remote) -> None:
    async with serving(address, crm={"address": crm.address, "timeout": 0.2}) as api:
        await create_customers(api, "42")
        for answer in (forever, answers({}, status=503)):
            crm.handler, crm.targets = answer, []
            assert (await api(ONE, key="42")).code_and_field == ("UNAVAILABLE", None)
            assert len(crm.targets) == 1


async def test_a_closed_port_and_an_unknown_host_are_connection_errors(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def do_nothing(*_: Any) -> None: ...

    async with raw_server(do_nothing) as port:
        pass

    async def unknown(host: str, _: int) -> list[Any]:
        raise OSError(f"{host}: name or service not known")

    monkeypatch.setattr(transports, "resolve", unknown)
    for service_address in (f"http://127.0.0.1:{port}", "http://crm.example"):
        async with serving(address, crm=service_address) as api:
            await put_type(api)
            await api.create("x", type="CUSTOMER", key=service_address)
            with structlog.testing.capture_logs() as logs:
                error = (await api(ONE, key=service_address)).error
            assert code_and_message(error) == ("UNAVAILABLE", "The service crm cannot be connected to.")
            (line,) = [it for it in logs if it["event"] == "record fetch failed"]
            assert (line["service"], line["records"], "ConnectError" in line["cause"]) == ("crm", 1, True)


async def test_a_service_that_is_not_configured_is_not_called(address: str, crm: Remote) -> None:
    # where no service is configured, a source may name any
    async with serving(address) as api:
        await create_customers(api, "42")
    async with serving(address, other=crm.address) as api:
        message = (
            "The service crm is not configured for the tenant default at /customers. Add it to HEADWATER_SERVICES, with the"
            " tenant and the path in its option tenants."
        )
        assert code_and_message((await api(ONE, key="42")).error) == ("UNAVAILABLE", message)
    assert crm.targets == []


async def test_the_records_of_a_request_have_a_total_time_limit(
    address: str, crm: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TOTAL_TIMEOUT", 0.3)
    crm.handler = forever
    async with serving(address, crm={"address": crm.address, "timeout": 10, "concurrency": 2}) as api:
        await create_customers(api, "1", "2", "3", "4")
        started = time.monotonic()
        errors = (await api(ALL)).errors
        assert time.monotonic() - started < 2
    reason = "Fetching the external records of this request took longer than 0.3 s. Select fewer in one request."
    assert [code_and_message(it) for it in errors] == [("UNAVAILABLE", reason)] * 4
    assert len(crm.targets) == 2


async def test_the_records_of_a_request_have_a_total_byte_limit_including_repetitions(
    address: str, crm: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MAX_TOTAL_BYTES", 5_000)
    crm.handler = answers({"text": "x" * 1_000})
    async with serving(address, crm={"address": crm.address, "concurrency": 1}) as api:
        await create_customers(api, *"123456789")
        answer = await api(ALL)
        assert len([it for it in answer.body["data"]["entities"]["nodes"] if it["record"]]) == 4
        assert {it["extensions"]["code"] for it in answer.errors} == {"LIMIT_EXCEEDED"}
        assert len(crm.targets) == 5
        repeated = " ".join(f"r{number}: record" for number in range(6))
        answer = await api(f'{{ entity(ref: {{ key: {{ type: "CUSTOMER", key: "1" }} }}) {{ {repeated} }} }}')
        assert {it["extensions"]["code"] for it in answer.errors} == {"LIMIT_EXCEEDED"}
        assert set(answer.body["data"]["entity"].values()) == {None}


async def test_an_unexpected_error_in_fetching_is_masked_and_affects_only_the_record(api: Api) -> None:
    async def broken(lookups: Any, caller: Any) -> Any:
        raise RuntimeError("secret")

    await create_customers(api, "42")
    executor = Executor(schema, api.database, fetch=broken)
    answer = await executor.execute(Operation(ONE, {"key": "42"}), OPEN_PRINCIPAL, "r")
    assert answer.data == {"entity": {"displayName": "Customer 42", "record": None}}
    assert [it["extensions"]["code"] for it in answer.errors] == ["INTERNAL"]
    assert "secret" not in str(answer.errors)


CREATE = """
  mutation ($key: String!) {
    createEntity(input: { type: "CUSTOMER", key: $key, displayName: "New" }) { changed entity { displayName record } }
  }
"""


@pytest.mark.parametrize("query", [ONE, CREATE])
async def test_no_database_connection_is_held_while_a_service_responds(address: str, crm: Remote, query: str) -> None:
    connections = []
    async with serving(address, crm=crm.address) as api:
        await create_customers(api, "42")

        async def count_connections(request: Request) -> Response:
            connections.append(api.database.connections_in_use)
            return await crm.default_handler(request)

        crm.handler = count_connections
        assert (await api(query, key="42" if query == ONE else "43")).data
    assert connections == [0]


async def test_a_mutation_is_committed_although_its_record_fails(address: str, crm: Remote) -> None:
    async with serving(address, crm=crm.address) as api:
        await create_customers(api)

        async def count_committed(_: Request) -> Response:
            async with api.database.snapshot(1) as connection:
                statement = text("SELECT count(*) AS n FROM entity_version WHERE tenant_id = CAST(:tenant AS bigint)")
                row = await connection.fetch_one(statement)
            return JSONResponse({"committed": row is not None and row.n}, 500)

        crm.handler = count_committed
        answer = await api(CREATE, key="1")
        assert answer.body["data"] == {"createEntity": {"changed": True, "entity": {"displayName": "New", "record": None}}}
        assert answer.code_and_field == ("UNAVAILABLE", None)
        crm.handler = crm.default_handler
        assert (await api(ONE, key="1")).data["entity"] == {"displayName": "New", "record": record("1")}


async def test_a_mutation_that_is_rolled_back_fetches_nothing(address: str, crm: Remote) -> None:
    query = """
      mutation {
        a: createEntity(input: { type: "CUSTOMER", key: "1", displayName: "New" }) { entity { record } }
        b: createEntity(input: { type: "NONE", displayName: "New" }) { entity { record } }
      }
    """
    async with serving(address, crm=crm.address) as api:
        await create_customers(api)
        answer = await api(query)
        assert (answer.body["data"], answer.code_and_field) == (None, ("BAD_INPUT", "type"))
    assert crm.targets == []


async def test_a_retried_mutation_fetches_once(address: str, crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = 0
    create = entities.create

    async def interrupted(connection: Any, *arguments: Any, **fields: Any) -> Any:
        nonlocal runs
        created = await create(connection, *arguments, **fields)
        runs += 1
        if runs == 2:
            raise TransactionConflict("Two writers met.")
        return created

    monkeypatch.setattr(entities, "create", interrupted)
    query = """
      mutation {
        a: createEntity(input: { type: "CUSTOMER", key: "1", displayName: "A" }) { entity { record } }
        b: createEntity(input: { type: "CUSTOMER", key: "2", displayName: "B" }) { entity { record } }
      }
    """
    async with serving(address, crm=crm.address) as api:
        await create_customers(api)
        assert (await api(query)).data == {it: {"entity": {"record": record(key)}} for it, key in (("a", "1"), ("b", "2"))}
    assert runs == 4
    assert sorted(crm.targets) == ["/customers?id=1", "/customers?id=2"]


async def test_a_record_below_a_field_that_became_null_is_not_fetched(address: str, crm: Remote) -> None:
    query = """{
      gone: entity(ref: { key: { type: "CUSTOMER", key: "1" } }) { record history(first: 100000) { totalCount } }
      there: entity(ref: { key: { type: "CUSTOMER", key: "2" } }) { record }
    }"""
    async with serving(address, crm=crm.address) as api:
        await create_customers(api, "1", "2")
        answer = await api(query)
        assert answer.body["data"] == {"gone": None, "there": {"record": record("2")}}
        assert answer.code_and_field == ("LIMIT_EXCEEDED", "first")
        assert crm.targets == ["/customers?id=2"]
        # the same if null propagates up to the data
        answer = await api("{ entities { nodes { record history(first: 100000) { totalCount } } } }")
        assert answer.body["data"] is None
        assert {it["extensions"]["code"] for it in answer.errors} == {"LIMIT_EXCEEDED"}
    assert len(crm.targets) == 1


async def test_a_record_deferred_before_its_parent_became_null_is_not_fetched(
    address: str, crm: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: Any) -> Any:
        await asyncio.sleep(0.1)
        raise Unavailable("It took a while to fail.")

    monkeypatch.setattr(HISTORY_BY_SUBJECT, "_find", late)
    query = """{
      nodes(ids: $ids) { ... on Entity { label record } }
      gone: domain(name: "sales") { entities { nodes { record history { nodes { id } } } } }
    }"""
    async with serving(address, crm=crm.address) as api:
        await put_type(api)
        await api("""mutation { putEntityType(input: { code: "LEAD", label: "Lead", domain: "sales",
          source: { service: "crm", endpoint: "/leads", lookupField: "id" } }) { entityType { code } } }""")
        await api.create("3", type="LEAD", key="3")
        customers_ = [await api.create(it, type="CUSTOMER", key=it) for it in ("1", "2")]
        answer = await api("query ($ids: [ID!]!) " + query, ids=[customers_[1]["id"]])
    assert answer.body["data"] == {"nodes": [{"label": "2", "record": record("2")}], "gone": None}
    assert answer.error["path"] == ["gone", "entities", "nodes", 0, "history"]
    assert crm.targets == ["/customers?id=2"]


async def test_only_the_authorization_is_forwarded_and_only_to_configured_services(address: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(jwks("ES256", "a"))
    tokens_accepted = {"jwt_algorithm": "ES256", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": keys}
    bearer = f"Bearer {token(tenant='default')}"
    sent_headers = {"Authorization": bearer, "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "X-Request-ID": "traced-1"}
    async with remote() as trusted, remote() as other:
        forwarding = {"address": trusted.address, "authorization": True}
        with_key = {"address": other.address, "headers": {"X-Api-Key": "hush", "Accept": "application/vnd.crm+json"}}
        async with serving(address, tokens_accepted, crm=forwarding, other=with_key) as api:
            await create_customers(api, "1")
            await put_type(api, "OTHER", service="other")
            await api.create("b", type="OTHER", key="1")
            with structlog.testing.capture_logs() as logs:
                response = await api.client.post("/graphql", json={"query": ALL}, headers=sent_headers)
            assert "errors" not in response.json()
            assert (await api(ALL)).data
            # an API key of Headwater is not forwarded
            async with api.database.transaction(1, Author("tester")) as connection:
                _, key = await api_key.create(connection, api.client._transport.app.state.authenticator.key_signer, "a", ["read"])  # type: ignore[attr-defined]
            assert (await api(ALL, headers={"Authorization": f"Bearer {key}"})).data
        forwarded, configured = trusted.headers[0], other.headers[0]
        assert forwarded["authorization"] == bearer
        assert "authorization" not in trusted.headers[1]
        assert "authorization" not in trusted.headers[2]
        assert "authorization" not in configured
        assert (configured["x-api-key"], configured["accept"], forwarded["accept"]) == (
            "hush",
            "application/vnd.crm+json",
            "application/json",
        )
        standard = {"host", "user-agent", "accept", "accept-encoding", "connection", "x-request-id", "traceparent"}
        assert set(forwarded) == standard | {"authorization"}
        assert set(configured) == standard | {"x-api-key"}
        assert (forwarded["x-request-id"], forwarded["accept-encoding"], forwarded["user-agent"]) == (
            "traced-1",
            "identity",
            "headwater",
        )
        # the same trace as in the response to the caller
        assert forwarded["traceparent"] == configured["traceparent"] == response.headers["traceparent"]
        assert "hush" not in str(logs)
        assert bearer not in str(logs)


async def test_cookies_of_a_service_are_not_sent_back(address: str, crm: Remote) -> None:
    crm.handler = answers({"id": 42}, headers={"Set-Cookie": "session=anns; Path=/"})
    async with serving(address, crm=crm.address) as api:
        await create_customers(api, "42")
        for _ in range(2):
            assert (await api(ONE, key="42")).data["entity"]["record"]
    assert [it.get("cookie") for it in crm.headers] == [None, None]


async def test_a_disconnect_stops_further_requests(address: str, crm: Remote) -> None:
    released = asyncio.Event()

    async def until_released(request: Request) -> Response:
        await released.wait()
        return await crm.default_handler(request)

    crm.handler = until_released
    app = app_of(address, {"crm": {"address": crm.address, "timeout": 10, "concurrency": 1}})
    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as client:
        await create_customers(Api(client, app.state.database, None), "1", "2")  # type: ignore[arg-type]
        abandoned = asyncio.create_task(client.post("/graphql", json={"query": ALL}))
        async with asyncio.timeout(TIMEOUT):
            while not crm.targets:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            abandoned.cancel()
            # the running request keeps its slot until it ends
            later = asyncio.create_task(client.post("/graphql", json={"query": ONE, "variables": {"key": "2"}}))
            await asyncio.sleep(0.2)
            assert len(crm.targets) == 1
            released.set()
            assert (await later).json()["data"]["entity"]["record"] == record("2")
    assert len(crm.targets) == 2


_STORE = """
UPDATE entity_type SET source = jsonb_set(source, '{endpoint}', to_jsonb(CAST(:endpoint AS text)))
WHERE tenant_id = CAST(:tenant AS bigint)
"""


@pytest.mark.parametrize(
    "endpoint",
    [
        "//evil.example/x",
        "http://evil.example/x",
        "@evil.example/x",
        ":80@evil.example/x",
        ".evil.example/x",
        "/../admin",
        "/x/../../admin",
        "/%2e%2e/admin",
        "/..;/admin",
        "/customers?all=1",
        "/customers#x",
        "\\\\evil.example\\x",
        "/customers HTTP/1.1\r\nX: y",
        "",
    ],
)
async def test_an_invalid_endpoint_in_the_database_is_not_requested(address: str, crm: Remote, endpoint: str) -> None:
    async with serving(address, crm=f"{crm.address}/api") as api:
        await create_customers(api, "42")
        async with api.database.transaction(1, Author("intruder")) as connection:
            await connection.execute(text(_STORE), {"endpoint": endpoint})
        error = (await api(ONE, key="42")).error
        message = f"The service crm has an endpoint that is not a valid path: {endpoint!r}."
        assert code_and_message(error) == ("UNAVAILABLE", message)
    assert crm.targets == []


@pytest.mark.parametrize("key", [".", "..", "../x?y#z", "a/../../x?y#z", "%2e%2e", "..\\x", "..;x", "a/%2e%2e%2fx", "./x"])
async def test_a_key_that_would_change_the_path_is_not_found(address: str, crm: Remote, key: str) -> None:
    async with serving(address, crm=f"{crm.address}/api") as api:
        await create_customers(api, key, endpoint="/customers/{key}")
        assert (await api(ONE, key=key)).code_and_field == ("NOT_FOUND", None)
        assert crm.targets == []
        # in a query string it is an ordinary value
        await put_type(api)
        assert (await api(ONE, key=key)).data["entity"]["record"] == record(key)
    assert crm.targets[0].startswith("/api/customers?id=")


async def test_a_host_with_a_private_address_is_called_only_if_configured(
    address: str, crm: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolutions = []

    async def resolved(host: str, port: int) -> list[addresses.Address]:
        resolutions.append((host, port))
        return [ip_address("127.0.0.1")]

    monkeypatch.setattr(transports, "resolve", resolved)
    service_address = f"http://crm.example:{crm.port}"
    async with serving(address, crm=service_address) as api:
        await create_customers(api, "42")
        reason = "resolves to an address that is not public; set its option private to allow that"
        error = (await api(ONE, key="42")).error
        assert code_and_message(error) == ("UNAVAILABLE", f"The service crm {reason}.")
    assert crm.targets == []
    async with serving(address, crm={"address": service_address, "private": True}) as api:
        assert (await api(ONE, key="42")).data["entity"]["record"] == record("42")
    assert resolutions == [("crm.example", crm.port)] * 2
    assert crm.headers[0]["host"] == f"crm.example:{crm.port}"


async def test_localhost_is_called_if_configured(address: str, crm: Remote) -> None:
    async with serving(address, crm=f"http://localhost:{crm.port}") as api:
        await create_customers(api, "42")
        assert (await api(ONE, key="42")).data["entity"]["record"] == record("42")
    assert crm.headers[0]["host"] == f"localhost:{crm.port}"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "192.0.0.9",
        "192.0.0.10",
        "168.63.129.16",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "2002:a83f:8110::",
        "::ffff:168.63.129.16",
        "3fff::1",
        "3fff:fff::1",
        "2606:2800::5efe:10.0.0.1",
        "2606:2800::200:5efe:10.0.0.1",
        "2606:2800::5efe:168.63.129.16",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.215.14",
        "2606:2800::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2606:2800::5efe:808:808",
        "3ffe::1",
    ],
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ip_address(address))


class FakeTransport(httpx.AsyncBaseTransport):
    """Transport that stores requests and can connect to some addresses only."""

    def __init__(self, *reachable: str) -> None:
        self.requests: list[httpx.Request] = []
        self._reachable = reachable

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host not in self._reachable:
            raise httpx.ConnectError("rejected")
        return httpx.Response(200, json={})


def resolve_to(monkeypatch: pytest.MonkeyPatch, *resolved_to: str) -> list[str]:
    """Replace name resolution. Return the list of resolved hosts, which grows."""
    hosts: list[str] = []

    async def resolved(host: str, _: int) -> list[addresses.Address]:
        hosts.append(host)
        await asyncio.sleep(0.01)
        return [ip_address(it) for it in resolved_to]

    monkeypatch.setattr(transports, "resolve", resolved)
    return hosts


def client_of(transport: FakeTransport, *, allow_private: bool = False) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=CheckedAddresses(transport, allow_private=allow_private, connect_timeout=2), timeout=None)


async def test_only_public_addresses_of_a_host_are_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "10.0.0.1", "93.184.215.14", "::1")
    transport = FakeTransport("93.184.215.14", "10.0.0.1", "::1")
    async with client_of(transport) as client:
        await client.get("https://crm.example:8443/x?y=1")
    (request,) = transport.requests
    assert str(request.url) == "https://93.184.215.14:8443/x?y=1"
    # TLS verifies the host name, and the Host header has it
    assert request.extensions["sni_hostname"] == "crm.example"
    assert request.headers["host"] == "crm.example:8443"
    transport = FakeTransport("10.0.0.1", "::1")
    async with client_of(transport) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://crm.example/x")
    assert [it.url.host for it in transport.requests] == ["93.184.215.14"]


async def test_the_next_address_is_tried_if_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "2606:2800::1", "93.184.215.14", "8.8.8.8")
    transport = FakeTransport("93.184.215.14")
    async with client_of(transport) as client:
        assert (await client.get("http://crm.example/x")).status_code == 200
    assert [it.url.host for it in transport.requests] == ["2606:2800::1", "93.184.215.14"]
    assert transport.requests[0].extensions["timeout"]["connect"] < 1


async def test_concurrent_requests_share_a_resolution_and_later_ones_resolve_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = resolve_to(monkeypatch, "8.8.8.8")
    async with client_of(FakeTransport("8.8.8.8")) as client:
        await asyncio.gather(*(client.get("http://crm.example/") for _ in range(20)))
        assert len(hosts) == 1
        # a changed resolution is checked again
        resolve_to(monkeypatch, "127.0.0.1")
        with pytest.raises(NotPublic):
            await client.get("http://crm.example/")


async def test_a_configured_ip_address_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = resolve_to(monkeypatch, "8.8.8.8")
    transport = FakeTransport("10.0.0.1", "::1")
    async with client_of(transport) as client:
        await client.get("http://10.0.0.1/")
        await client.get("http://[::1]:81/")
    assert (hosts, [str(it.url) for it in transport.requests]) == ([], ["http://10.0.0.1/", "http://[::1]:81/"])
