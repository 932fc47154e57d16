"""The GraphQL endpoint over HTTP: request ids, bodies, media types, hosts, health and errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog

from db.driver_connection import StatementHook
from db.revision import latest_revision
from db.sql import text
from graph_api.app import create_app
from graph_api.settings import Settings
from schema.temporal.history import HISTORY_COUNT_BY_SUBJECT
from tests.builders import REGISTER, Api, Statements, product_fields

COUNT = '{"query": "{ products { totalCount } }"}'
GRAPHQL = "application/graphql-response+json"


async def post(api: Api, body: str | bytes, **headers: str) -> httpx.Response:
    all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.client.post("/graphql", content=body, headers={"content-type": "application/json", **all_headers})


async def test_a_request_id_is_kept_if_valid_and_returned_in_body_and_header(api: Api) -> None:
    for request_id in ("my-request.1", "2b5a1f0e:7"):
        answer = await api("{ __typename }", headers={"X-Request-ID": request_id})
        assert (answer.headers["x-request-id"], answer.body["extensions"]["requestId"]) == (request_id, request_id)
    for invalid in ("", "no spaces", "x" * 129, "<script>"):
        answer = await api("{ __typename }", headers={"X-Request-ID": invalid})
        assert answer.headers["x-request-id"] == answer.body["extensions"]["requestId"] != invalid


async def test_the_change_log_has_the_request_id(api: Api) -> None:
    await api(REGISTER, headers={"X-Request-ID": "traced"}, input=product_fields())
    async with api.database.snapshot(1) as connection:
        row = await connection.fetch_one(text("SELECT request_id, actor FROM change WHERE tenant_id = CAST(:tenant AS bigint)"))
    assert tuple(row or ()) == ("traced", "anonymous")


async def test_log_lines_are_short_whatever_a_client_sends(api: Api) -> None:
    fields = " ".join(f"a{number}: products(first: 1000) {{ totalCount }}" for number in range(10))
    with structlog.testing.capture_logs() as logs:
        assert (await api.client.get("/" + "x" * 10_000)).status_code == 404
        assert (await api(f"query {'x' * 10_000} {{ __typename }}")).data
        assert len((await api(f"{{ {fields} }}")).errors) == 10
    path, name, codes = [it for it in logs if it["event"] == "request"]
    assert (path["path"], name["operation"]) == ("/" + "x" * 499, f"query {'x' * 100}")
    assert codes["errors"] == ["LIMIT_EXCEEDED"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{bad", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[]", None),
        (b"{}", "query"),
        (b'{"query": 5}', "query"),
        (b'{"query": ""}', "query"),
        (b'{"query": "{ __typename }", "variables": []}', "variables"),
        (b'{"query": "{ __typename }", "operationName": 5}', "operationName"),
        (b'{"query": "{ __typename }", "extensions": []}', "extensions"),
        (b'{"query": "{ __typename }", "variables": {"a": NaN}}', None),
    ],
)
async def test_an_invalid_body_is_answered_400_without_data(api: Api, body: bytes, field: str | None) -> None:
    response = await post(api, body)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["extensions"]["code"], error["extensions"].get("field")) == ("BAD_INPUT", field)
    assert "data" not in response.json()
    assert (await api("{ __typename }")).data == {"__typename": "Query"}


async def test_a_too_large_body_is_answered_413_with_or_without_content_length(api: Api) -> None:
    large = json.dumps({"query": "{ __typename }", "variables": {"x": "x" * 262_144}})

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    for body in (large, chunks()):
        response = await api.client.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 413
        assert response.json()["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_unsupported_content_types_methods_and_accept_headers_are_rejected(api: Api) -> None:
    assert (await api.client.post("/graphql", content=COUNT, headers={"content-type": "text/plain"})).status_code == 415
    assert (await api.client.post("/graphql", files={"operations": b"{}"})).status_code == 415
    assert (await post(api, COUNT, accept="text/xml")).status_code == 406
    for method, path, status in (("DELETE", "/graphql", 405), ("PUT", "/graphql", 405), ("GET", "/nothing", 404)):
        rejected = await api.client.request(method, path)
        assert rejected.status_code == status
        assert rejected.json()["errors"][0]["extensions"]["code"]
        assert rejected.json()["extensions"]["requestId"] == rejected.headers["x-request-id"]


@pytest.mark.parametrize(
    ("accept", "query", "media_type", "status"),
    [
        (GRAPHQL, "{ products { totalCount } }", GRAPHQL, 200),
        (GRAPHQL, "{ nope }", GRAPHQL, 400),
        (f"{GRAPHQL}, application/json;q=0.9", "{ products(first: 0) { totalCount } }", GRAPHQL, 200),
        ("application/json", "{ nope }", "application/json", 200),
        ("*/*", "{ products { totalCount } }", "application/json", 200),
        (f"{GRAPHQL};q=0, application/json", "{ nope }", "application/json", 200),
    ],
)
async def test_the_response_has_the_negotiated_type(api: Api, accept: str, query: str, media_type: str, status: int) -> None:
    response = await post(api, json.dumps({"query": query}), accept=accept)
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.status_code == status
    assert ("data" in response.json()) == ("nope" not in query)


async def test_a_browser_gets_graphiql_and_the_root_redirects_to_it(api: Api) -> None:
    page = await api.client.get("/graphql", headers={"accept": "text/html,application/xhtml+xml"})
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await api.client.get("/")).headers["location"] == "/graphql"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[2001:db8::1]:80", "[::1]x", "127.0.0.1:80@evil"]
)
async def test_a_foreign_host_is_rejected_without_authentication(api: Api, host: str) -> None:
    response = await api.client.post("/graphql", content=COUNT, headers={"content-type": "application/json", "host": host})
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
async def test_a_loopback_host_is_accepted(api: Api, host: str) -> None:
    response = await api.client.post("/graphql", content=COUNT, headers={"content-type": "application/json", "host": host})
    assert response.status_code == 200


async def test_a_client_on_another_machine_is_rejected_without_authentication(address: str) -> None:
    app = create_app(Settings(database_url=address), require_auth=False)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 5))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/health")).status_code == 403


async def test_health_and_readiness(api: Api) -> None:
    assert (await api.client.get("/health")).json() == {"status": "ok"}
    assert (await api.client.get("/ready")).json() == {"status": "ok", "revision": latest_revision()}


async def test_a_database_without_the_schema_is_not_ready(empty_address: str) -> None:
    app = create_app(Settings(database_url=empty_address), require_auth=False)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200


async def test_concurrent_requests_share_a_small_pool(address: str) -> None:
    app = create_app(Settings(database_url=address, pool_size=2), require_auth=False)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        api = Api(client, app.state.database, Statements())
        await api.register()
        answers: list[Any] = await asyncio.gather(
            *(api('{ product(name: "orders") { name history { totalCount } } }') for _ in range(40))
        )
        assert {it.data["product"]["history"]["totalCount"] for it in answers} == {1}
        assert app.state.database.connections_in_use == 0


async def test_an_unhandled_error_is_answered_500_with_the_request_id(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("schema.execution.executor.Executor.run", broken)
    answer = await api("{ __typename }", headers={"X-Request-ID": "quote-me"})
    assert (answer.status, answer.code_and_field, answer.headers["x-request-id"]) == (500, ("INTERNAL", None), "quote-me")
    assert "secret" not in str(answer.body)
    monkeypatch.undo()
    assert (await api("{ __typename }")).data


class _LostCommit(StatementHook):
    """Loses the connection when it commits."""

    async def before(self, _connection: Any, text: str, _arguments: Any) -> str:
        if text == "COMMIT":
            raise ConnectionResetError("gone")
        return text


async def test_a_failed_commit_reports_an_unknown_outcome(api: Api) -> None:
    api.database.hooks.append(_LostCommit())
    response = await post(api, json.dumps({"query": REGISTER, "variables": {"input": product_fields()}}), accept=GRAPHQL)
    assert (response.status_code, response.json()["data"]) == (200, None)
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert "unknown" in error["message"]


async def test_a_failed_read_below_a_mutation_rolls_it_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(connection: Any, *_: Any) -> list[Any]:
        await connection.fetch(text("SELECT 1 / 0 AS tenant_id WHERE CAST(:tenant AS bigint) > 0 -- tenant_id = "))
        return []

    monkeypatch.setattr(HISTORY_COUNT_BY_SUBJECT, "_find", failing)
    answer = await api(
        "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { product { history { totalCount } } } }",
        input=product_fields(),
    )
    assert answer.body["data"] is None
    assert {error["extensions"]["code"] for error in answer.errors} == {"INTERNAL", "UNAVAILABLE"}
    assert (await api('{ product(name: "orders") { name } }')).data["product"] is None
