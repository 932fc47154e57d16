"""Pages elsewhere: those of a configured origin may ask with a key and read the answer, others may not."""

import pytest

from tests.security.service_harness import ORIGIN, Client, Owner

pytestmark = pytest.mark.api

EVIL = "https://evil.example"


def preflight(origin: str, *headers: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(headers),
    }


async def test_a_page_of_a_configured_origin_may_ask_with_a_key_or_a_token(ask: Client) -> None:
    for header in ("Authorization", "X-API-Key", "Content-Type", "X-Headwater-Tenant", "X-Request-ID", "traceparent"):
        response = await ask.http.options("/graphql", headers=preflight(ORIGIN, "content-type", header))
        assert response.status_code == 200, header
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert header.lower() in response.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [EVIL, "null", f"{ORIGIN}.evil.example", ORIGIN.replace("https", "http"), f"{ORIGIN}:8443", "https://APP.shop.example"],
)
async def test_a_page_of_another_origin_may_neither_ask_nor_read(ask: Client, owner: Owner, origin: str) -> None:
    response = await ask.http.options("/graphql", headers=preflight(origin, "Authorization", "X-API-Key"))
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers
    answer = await ask(key=await owner.key("read"), headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_a_configured_origin_may_read_answers_and_refusals(ask: Client, owner: Owner) -> None:
    for key, status in ((await owner.key("read"), 200), ("nonsense", 401), (await owner.key("write"), 403)):
        answer = await ask(key=key, headers={"Origin": ORIGIN})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        # one answer is not to be given to another page
        assert "origin" in answer.headers["vary"].lower()


async def test_what_a_page_may_not_send_it_is_not_told_that_it_may(ask: Client) -> None:
    for asked in (preflight(ORIGIN, "X-Evil"), preflight(ORIGIN, "Authorization", method="PUT")):
        assert (await ask.http.options("/graphql", headers=asked)).status_code == 400
