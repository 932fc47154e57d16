"""Browsers: CORS, security headers, GET that no page can forge, and batches."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from db.errors import BadInput
from graph_api.app import create_app
from graph_api.http.browsers import CrossOriginPolicy
from graph_api.http.request import RequestHeaders
from graph_api.settings import Settings
from tests.builders import REGISTER, Api, Statements, product_fields

PAGE = "https://app.shop.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST"}
PREFLIGHT_HEADER = {"GraphQL-Require-Preflight": "1"}


@asynccontextmanager
async def serving(address: str, *, require_auth: bool = False, **settings: Any) -> AsyncIterator[Api]:
    app = create_app(Settings(database_url=address, **settings), require_auth=require_auth)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Api(client, app.state.database, Statements())


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control")}


async def test_without_configured_origins_there_are_no_cors_headers(address: str) -> None:
    async with serving(address, require_auth=True, key_secret="a secret of the tests, made at random") as api:
        for origin in (PAGE, "http://localhost:5173"):
            preflight = await api.client.options("/graphql", headers={**PREFLIGHT, "origin": origin})
            answer = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": origin})
            assert (preflight.status_code, cors(preflight), cors(answer)) == (405, {}, {})
            assert "vary" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:5173", "http://localhost", "https://localhost:8443", "http://127.0.0.1:3000", "http://[::1]:3000"],
)
async def test_the_demo_allows_pages_of_this_machine(api: Api, origin: str) -> None:
    requested = {**PREFLIGHT, "origin": origin, "access-control-request-headers": "content-type, x-api-key"}
    preflight = await api.client.options("/graphql", headers=requested)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, origin)
    answers = [
        await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": origin}),
        await api.client.get("/graphql", params={"query": "{ __typename }"}, headers={"origin": origin}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        PAGE,
        "null",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:5173",
        "http://localhost:5173.evil.example",
        "http://evil.example#http://localhost",
        "http://127x0x0x1",
        "file://localhost",
    ],
)
async def test_the_demo_allows_no_page_of_another_machine(api: Api, origin: str) -> None:
    preflight = await api.client.options("/graphql", headers={**PREFLIGHT, "origin": origin})
    answer = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": origin})
    forged = await api.client.get("/graphql", params={"query": "{ __typename }"}, headers={"origin": origin})
    assert (preflight.status_code, forged.status_code) == (400, 400)
    assert all("access-control-allow-origin" not in it.headers for it in (preflight, answer, forged))


async def test_the_host_is_checked_before_all_that_browsers_send(api: Api) -> None:
    """A page whose name resolves to this machine is of the same origin as the service, for the browser."""
    rebound = {"host": "evil.example", "origin": "http://localhost:5173", "sec-fetch-site": "same-origin"}
    preflight = await api.client.options("/graphql", headers={**PREFLIGHT, **rebound})
    read = await api.client.get("/graphql", params={"query": "{ __typename }"}, headers={**PREFLIGHT_HEADER, **rebound})
    assert (preflight.status_code, read.status_code) == (403, 403)
    assert [it.json()["errors"][0]["extensions"]["code"] for it in (preflight, read)] == ["FORBIDDEN", "FORBIDDEN"]


async def test_a_page_of_a_configured_origin_may_send_requests_and_read_errors(address: str) -> None:
    async with serving(address, cors_origins=[PAGE, "http://localhost:5173"]) as api:
        requested_headers = (
            "authorization, content-type, x-api-key, x-request-id, traceparent, x-headwater-tenant, graphql-require-preflight"
        )
        preflight = await api.client.options(
            "/graphql", headers={**PREFLIGHT, "access-control-request-headers": requested_headers}
        )
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


async def test_a_page_of_another_origin_gets_no_cors_headers(address: str) -> None:
    async with serving(address, cors_origins=[PAGE]) as api:
        for other in ("https://evil.example", f"{PAGE}.evil.example", "http://app.shop.example", "null"):
            preflight = await api.client.options("/graphql", headers={**PREFLIGHT, "origin": other})
            assert preflight.status_code == 400
            response = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": other})
            for it in (preflight, response):
                assert "access-control-allow-origin" not in it.headers
        unknown_header = await api.client.options("/graphql", headers={**PREFLIGHT, "access-control-request-headers": "x-other"})
        assert unknown_header.status_code == 400


async def test_an_unhandled_error_has_cors_headers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    async with serving(address, cors_origins=[PAGE]) as api:
        monkeypatch.setattr("schema.execution.executor.Executor.run", broken)
        response = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": PAGE})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (500, PAGE)


async def test_every_origin_can_be_allowed_without_credentials(address: str) -> None:
    async with serving(address, cors_origins=["*"]) as api:
        response = await api.client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": PAGE})
        assert cors(response)["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in cors(response)


async def test_every_response_has_security_headers(api: Api) -> None:
    responses = [
        await api.client.post("/graphql", json={"query": "{ __typename }"}),
        await api.client.post("/graphql", content="{}"),
        await api.client.get("/nothing"),
        await api.client.get("/graphql", headers={"accept": "text/html"}),
        await api.client.get("/health", headers={"host": "evil.example"}),
    ]
    for response in responses:
        headers = response.headers
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("header", ["GraphQL-Require-Preflight", "Apollo-Require-Preflight"])
async def test_a_get_runs_a_query_only_with_a_preflight_header(api: Api, header: str) -> None:
    await api.register()
    parameters = {
        "query": "query one($name: String!) { product(name: $name) { name } } query other { __typename }",
        "variables": '{"name": "orders"}',
        "operationName": "one",
    }
    response = await api.client.get("/graphql", params=parameters, headers={header: "true"})
    assert (response.status_code, response.json()["data"]) == (200, {"product": {"name": "orders"}})
    for headers in ({}, {header: ""}, {header: " "}):
        response = await api.client.get("/graphql", params=parameters, headers=headers)
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_INPUT")
        assert "GraphQL-Require-Preflight" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": PAGE},
        {"origin": PAGE, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-origin"},
    ],
    ids=str,
)
async def test_a_get_runs_a_query_if_the_browser_vouches_for_its_page(address: str, headers: dict[str, str]) -> None:
    async with serving(address, cors_origins=[PAGE]) as api:
        response = await api.client.get("/graphql", params={"query": "{ __typename }"}, headers=headers)
        assert (response.status_code, response.json()["data"]) == (200, {"__typename": "Query"})


# Headers that a page of any origin can have a browser send with a GET, or that say nothing.
FORGEABLE = [
    {"accept": "application/json"},
    {"accept": "application/graphql-response+json"},
    {"origin": "null"},
    {"origin": "https://evil.example"},
    {"origin": f"{PAGE}.evil.example"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "cross-site, same-origin"},
]


def test_credentials_that_a_browser_adds_by_itself_do_not_protect_a_get() -> None:
    policy = CrossOriginPolicy([PAGE])
    policy.refuse_forgeable_get(RequestHeaders([(b"authorization", b"bearer any")]))
    # a browser adds Basic and Negotiate to requests of any page, once the user has signed in
    for header in ((b"authorization", b"Basic YW5uOg=="), (b"authorization", b"Bearer "), (b"x-api-key", b" ")):
        with pytest.raises(BadInput):
            policy.refuse_forgeable_get(RequestHeaders([header]))


@pytest.mark.parametrize("origins", [[PAGE], ["*"]], ids=str)
async def test_a_get_that_any_page_can_forge_is_rejected(address: str, origins: list[str]) -> None:
    async with serving(address, cors_origins=origins) as api:
        for headers in FORGEABLE + ([{"origin": PAGE}] if origins == ["*"] else []):
            response = await api.client.get("/graphql", params={"query": "{ __typename }"}, headers=headers)
            assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_INPUT"), headers


async def test_a_get_cannot_run_a_mutation(api: Api) -> None:
    both = f"query read {{ __typename }} {REGISTER.replace('mutation', 'mutation write', 1)}"
    variables = json.dumps({"input": product_fields()})
    for parameters in ({"query": REGISTER}, {"query": both, "operationName": "write"}):
        response = await api.client.get("/graphql", params={**parameters, "variables": variables}, headers=PREFLIGHT_HEADER)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_INPUT"
    read = await api.client.get("/graphql", params={"query": both, "operationName": "read"}, headers=PREFLIGHT_HEADER)
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
async def test_an_invalid_query_string_is_rejected(api: Api, query: str, status: int, field: str | None) -> None:
    response = await api.client.get(
        f"/graphql?{query}", headers={**PREFLIGHT_HEADER, "accept": "application/graphql-response+json"}
    )
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"].get("field")) == (status, field)
    assert error["extensions"]["code"] == ("LIMIT_EXCEEDED" if status == 414 else "BAD_INPUT")


async def test_a_batch_is_rejected_unless_configured(api: Api) -> None:
    response = await api.client.post("/graphql", json=[{"query": "{ __typename }"}])
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (400, "BAD_INPUT")
    assert "HEADWATER_MAX_BATCH" in error["message"]


async def test_operations_of_a_batch_run_in_order_and_fail_separately(address: str) -> None:
    async with serving(address, max_batch=4, key_rate="1000/minute") as api:
        batch: list[Any] = [
            {"query": REGISTER, "variables": {"input": product_fields("a")}},
            # an operation that fails, and an element that is not an operation
            {"query": REGISTER, "variables": {"input": product_fields("a", owner="bo")}},
            5,
            {"query": "{ products { nodes { name } } }"},
        ]
        response = await api.client.post("/graphql", json=batch)
        first, second, third, fourth = response.json()
        assert response.status_code == 200
        assert first["data"]["registerProduct"]["product"]["name"] == "a"
        assert second["errors"][0]["extensions"]["code"] == "CONFLICT"
        assert third["errors"][0]["extensions"]["code"] == "BAD_INPUT"
        assert fourth["data"] == {"products": {"nodes": [{"name": "a"}]}}
        assert {it["extensions"]["requestId"] for it in response.json()} == {response.headers["x-request-id"]}
        # every executed operation was charged
        costs = [it["extensions"]["cost"]["actual"] for it in (first, second, fourth)]
        assert f'"key";r={1000 - sum(max(1, it) for it in costs)};' in response.headers["ratelimit"]


@pytest.mark.parametrize(("count", "code"), [(0, "BAD_INPUT"), (3, "LIMIT_EXCEEDED")])
async def test_an_empty_or_too_large_batch_is_rejected(address: str, count: int, code: str) -> None:
    async with serving(address, max_batch=2) as api:
        response = await api.client.post("/graphql", json=[{"query": "{ __typename }"}] * count)
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, code)
