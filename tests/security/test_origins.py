"""CORS: pages of a configured origin may send keys and read responses, other pages may not, nor have a browser send a GET."""

import pytest

from tests.security.service_harness import LIST, ORIGIN, Client, Owner

pytestmark = pytest.mark.api

EVIL = "https://evil.example"


def preflight(origin: str, *headers: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(headers),
    }


async def test_a_page_of_a_configured_origin_may_send_a_key_or_a_token(client: Client) -> None:
    for header in ("Authorization", "X-API-Key", "Content-Type", "X-Headwater-Tenant", "X-Request-ID", "traceparent"):
        response = await client.http.options("/graphql", headers=preflight(ORIGIN, "content-type", header))
        assert response.status_code == 200, header
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert header.lower() in response.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "http://localhost:5173",
        f"{ORIGIN}.evil.example",
        ORIGIN.replace("https", "http"),
        f"{ORIGIN}:8443",
        "https://APP.shop.example",
    ],
)
async def test_a_page_of_another_origin_may_neither_send_nor_read(client: Client, owner: Owner, origin: str) -> None:
    response = await client.http.options("/graphql", headers=preflight(origin, "Authorization", "X-API-Key"))
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers
    answer = await client(key=await owner.key("read"), headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_a_configured_origin_may_read_data_and_errors(client: Client, owner: Owner) -> None:
    for key, status in ((await owner.key("read"), 200), ("nonsense", 401), (await owner.key("write"), 403)):
        answer = await client(key=key, headers={"Origin": ORIGIN})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        # a cache must not serve the response to a page of another origin
        assert "origin" in answer.headers["vary"].lower()


async def test_a_preflight_for_another_header_or_method_is_rejected(client: Client) -> None:
    for headers in (preflight(ORIGIN, "X-Evil"), preflight(ORIGIN, "Authorization", method="PUT")):
        assert (await client.http.options("/graphql", headers=headers)).status_code == 400


async def test_a_get_with_a_key_in_either_header_runs_a_query(client: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Origin": EVIL, "X-API-Key": key}):
        response = await client.http.get("/graphql", params={"query": LIST}, headers=headers)
        assert (response.status_code, "errors" in response.json()) == (200, False)
        # the page of another origin cannot have sent the key unasked, and cannot read the answer
        assert response.headers.get("access-control-allow-origin") is None


async def test_credentials_of_a_browser_are_none(client: Client) -> None:
    """A browser adds the Basic credentials that it keeps to requests of every page."""
    for headers in ({"Authorization": "Basic YW5uOnNlY3JldA=="}, {"Authorization": "Negotiate YII"}):
        vouched = {"Sec-Fetch-Site": "same-origin", **headers}
        response = await client.http.get("/graphql", params={"query": LIST}, headers=vouched)
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")


async def test_a_page_of_a_configured_origin_may_read_by_get(client: Client, owner: Owner) -> None:
    key = await owner.key("read")
    requested = preflight(ORIGIN, "X-API-Key", method="GET")
    assert (await client.http.options("/graphql", headers=requested)).status_code == 200
    response = await client.http.get("/graphql", params={"query": LIST}, headers={"Origin": ORIGIN, "X-API-Key": key})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, ORIGIN)
