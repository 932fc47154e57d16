"""Browsers: whose pages may read an answer, which requests none of them can have sent, and what an answer is taken for."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from graph_api.app import create_app
from graph_api.settings import Settings
from tests.builders import REGISTER, Api, Statements, product_fields

PAGE = "https://app.shop.example"
ASKED = {"origin": PAGE, "access-control-request-method": "POST"}
FORCED = {"GraphQL-Require-Preflight": "1"}


@asynccontextmanager
async def serving(address: str, **settings: Any) -> AsyncIterator[Api]:
    app = create_app(Settings(database_url=address, **settings), require_auth=False)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Api(client, app.state.database, Statements())


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control")}


async def test_without_origins_no_page_is_told_that_it_may_read(api: Api) -> None:
    assert cors(await api.client.options("/graphql", headers=ASKED)) == {}
    assert cors(await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": PAGE})) == {}


async def test_a_page_of_a_configured_origin_may_ask_and_read_refusals_too(address: str) -> None:
    async with serving(address, cors_origins=[PAGE, "http://localhost:5173"]) as api:
        needed = (
            "authorization, content-type, x-api-key, x-request-id, traceparent, x-headwater-tenant, graphql-require-preflight"
        )
        preflight = await api.client.options("/graphql", headers={**ASKED, "access-control-request-headers": needed})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in preflight.headers
        for method, path, status in (("POST", "/graphql", 415), ("DELETE", "/graphql", 405), ("GET", "/nothing", 404)):
            response = await api.client.request(method, path, headers={"origin": PAGE})
            assert (response.status_code, response.headers["access-control-allow-origin"]) == (status, PAGE)
            exposed = response.headers["access-control-expose-headers"]
            assert exposed == "X-Request-ID, traceparent, RateLimit-Policy, RateLimit, Retry-After"
        response = await api.client.get("/health", headers={"origin": PAGE, "host": "evil.example"})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (403, PAGE)


async def test_a_page_of_another_origin_may_not(address: str) -> None:
    async with serving(address, cors_origins=[PAGE]) as api:
        for other in ("https://evil.example", f"{PAGE}.evil.example", "http://app.shop.example", "null"):
            preflight = await api.client.options("/graphql", headers={**ASKED, "origin": other})
            assert preflight.status_code == 400
            asked = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": other})
            for response in (preflight, asked):
                assert "access-control-allow-origin" not in response.headers
        odd = await api.client.options("/graphql", headers={**ASKED, "access-control-request-headers": "x-other"})
        assert odd.status_code == 400


async def test_a_defect_is_readable_to_the_page_that_met_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    async with serving(address, cors_origins=[PAGE]) as api:
        monkeypatch.setattr("schema.execution.executor.Executor.run", broken)
        response = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": PAGE})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (500, PAGE)


async def test_every_page_may_where_that_is_configured_without_its_cookies(address: str) -> None:
    async with serving(address, cors_origins=["*"]) as api:
        response = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": PAGE})
        assert cors(response)["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in cors(response)


async def test_an_answer_is_taken_for_what_it_is_and_not_kept(api: Api) -> None:
    asked = [
        await api.client.post("/graphql", json={"query": "{ __typename }"}),
        await api.client.post("/graphql", content="{}"),
        await api.client.get("/nothing"),
        await api.client.get("/graphql", headers={"accept": "text/html"}),
        await api.client.get("/health", headers={"host": "evil.example"}),
    ]
    for response in asked:
        told = response.headers
        assert (told["x-content-type-options"], told["cache-control"]) == ("nosniff", "no-store")
        assert (told["x-frame-options"], told["referrer-policy"]) == ("DENY", "no-referrer")
        assert told["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("header", ["GraphQL-Require-Preflight", "Apollo-Require-Preflight"])
async def test_a_query_may_come_in_the_address_where_no_page_can_have_sent_it(api: Api, header: str) -> None:
    await api.register()
    asked = {
        "query": "query one($name: String!) { product(name: $name) { name } } query other { __typename }",
        "variables": '{"name": "orders"}',
        "operationName": "one",
    }
    response = await api.client.get("/graphql", params=asked, headers={header: "true"})
    assert (response.status_code, response.json()["data"]) == (200, {"product": {"name": "orders"}})
    for unforced in ({}, {header: ""}, {header: " "}):
        response = await api.client.get("/graphql", params=asked, headers=unforced)
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_INPUT")
        assert "GraphQL-Require-Preflight" in response.json()["errors"][0]["message"]


async def test_a_get_writes_nothing(api: Api) -> None:
    both = f"query read {{ __typename }} {REGISTER.replace('mutation', 'mutation write', 1)}"
    given = json.dumps({"input": product_fields()})
    for asked in ({"query": REGISTER}, {"query": both, "operationName": "write"}):
        response = await api.client.get("/graphql", params={**asked, "variables": given}, headers=FORCED)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_INPUT"
    read = await api.client.get("/graphql", params={"query": both, "operationName": "read"}, headers=FORCED)
    assert read.json()["data"] == {"__typename": "Query"}
    assert (await api('{ product(name: "orders") { name } }')).data == {"product": None}


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "query"),
        ("query=", 400, "query"),
        ("query={__typename}&query={__typename}", 400, "query"),
        ("query={__typename}&variables={", 400, "variables"),
        ("query={__typename}&variables=[]", 400, "variables"),
        ("query={__typename}&extensions=5", 400, "extensions"),
        ("query={nope}", 400, "nope"),
        ("query={", 400, None),
        (f"query={{__typename}}{'%20' * 6_000}", 414, None),
    ],
)
async def test_what_an_address_cannot_ask_is_refused(api: Api, query: str, status: int, field: str | None) -> None:
    response = await api.client.get(f"/graphql?{query}", headers={**FORCED, "accept": "application/graphql-response+json"})
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"].get("field")) == (status, field)
    assert error["extensions"]["code"] == ("LIMIT_EXCEEDED" if status == 414 else "BAD_INPUT")


async def test_several_operations_at_once_are_refused_unless_configured(api: Api) -> None:
    response = await api.client.post("/graphql", json=[{"query": "{ __typename }"}])
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (400, "BAD_INPUT")
    assert "HEADWATER_MAX_BATCH" in error["message"]


async def test_several_operations_run_in_order_each_by_itself(address: str) -> None:
    async with serving(address, max_batch=4, key_rate="1000/minute") as api:
        sent: list[Any] = [
            {"query": REGISTER, "variables": {"input": product_fields("a")}},
            # what fails, and what is no operation, is so by itself
            {"query": REGISTER, "variables": {"input": product_fields("a", owner="bo")}},
            5,
            {"query": "{ products { nodes { name } } }"},
        ]
        response = await api.client.post("/graphql", json=sent)
        first, second, third, fourth = response.json()
        assert response.status_code == 200
        assert first["data"]["registerProduct"]["product"]["name"] == "a"
        assert second["errors"][0]["extensions"]["code"] == "CONFLICT"
        assert third["errors"][0]["extensions"]["code"] == "BAD_INPUT"
        assert fourth["data"] == {"products": {"nodes": [{"name": "a"}]}}
        assert {it["extensions"]["requestId"] for it in response.json()} == {response.headers["x-request-id"]}
        # each that was run was charged
        costs = [it["extensions"]["cost"]["actual"] for it in (first, second, fourth)]
        assert f'"key";r={1000 - sum(max(1, it) for it in costs)};' in response.headers["ratelimit"]


@pytest.mark.parametrize(("number", "code"), [(0, "BAD_INPUT"), (3, "LIMIT_EXCEEDED")])
async def test_more_operations_than_may_be_sent_at_once_are_none(address: str, number: int, code: str) -> None:
    async with serving(address, max_batch=2) as api:
        response = await api.client.post("/graphql", json=[{"query": "{ __typename }"}] * number)
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, code)
