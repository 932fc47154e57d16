"""Media types: negotiation of the response by Accept, and recognition of JSON bodies."""

import pytest

from graph_api.http.responses import GRAPHQL, JSON, is_json, negotiate
from tests.builders import Api


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        # no header, or a wildcard alone: JSON
        ("", JSON),
        (" , ", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html, */*;q=0.1", JSON),
        # named
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        ("Application/GraphQL-Response+JSON", GRAPHQL),
        # equal weights: the GraphQL type, and a named type before one matched by a wildcard
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{JSON};q=0.5, {GRAPHQL};q=0.5", GRAPHQL),
        (f"{JSON}, */*", JSON),
        (f"{GRAPHQL}, */*", GRAPHQL),
        (f"{JSON}, application/*", JSON),
        # different weights: the higher one, in any order
        (f"{JSON};q=1, {GRAPHQL};q=0.5", JSON),
        (f"{GRAPHQL};q=0.5, {JSON};q=0.501", JSON),
        (f"{JSON};q=0.9, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL}; q=0.1 , {JSON}; Q=0.2", JSON),
        (f"{GRAPHQL};q=0.5, */*", JSON),
        (f"{JSON};q=0.5, */*", GRAPHQL),
        (f"{JSON};q=0.5, application/*;q=0.6, */*;q=0.9", GRAPHQL),
        # the most specific range counts, even with a lower weight
        (f"{GRAPHQL};q=0, {JSON}", JSON),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"{JSON};q=0, */*", GRAPHQL),
        ("application/*;q=0, */*", None),
        (f"{JSON};q=0.000, {GRAPHQL};q=0.", None),
        ("*/*;q=0", None),
        # other types
        ("text/html", None),
        ("text/*, image/png", None),
        ("application/json-seq", None),
        ("application/xml, multipart/mixed; deferSpec=20220824, application/json", JSON),
        # charsets other than UTF-8 are not acceptable
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f'{JSON}; charset="UTF-8"; q=0.7, {GRAPHQL}; q=0.3', JSON),
        (f"{JSON}; charset=iso-8859-1", None),
        (f"{GRAPHQL}; charset=utf-16, {JSON};q=0.1", JSON),
        # invalid weights
        (f"{GRAPHQL};q=2, {JSON};q=0.1", JSON),
        (f"{GRAPHQL};q=high", None),
        (f"{GRAPHQL};q=1.5, {JSON};q=-1", None),
        # weights as old clients write them
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),
        (f'{JSON};q="0.5", {GRAPHQL};q= 0.4999', JSON),
        # the same twice
        (f"{JSON};q=0.9, {GRAPHQL};q=0.5, {JSON};q=0.1", JSON),
    ],
)
def test_negotiate_selects_the_type_with_the_highest_weight(accept: str, media_type: str | None) -> None:
    assert negotiate([accept]) == media_type


def test_several_accept_headers_are_combined() -> None:
    assert negotiate([]) == JSON
    assert negotiate(["text/html", f"{GRAPHQL};q=0.5", JSON]) == JSON


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        (JSON, True),
        ("Application/JSON", True),
        (f"{JSON};charset=utf-8", True),
        (f'{JSON}; charset="UTF-8"', True),
        (f"{JSON}; charset=utf-16", False),
        (f"{JSON}; charset=iso-8859-1", False),
        ("", False),
        ("text/plain", False),
        (GRAPHQL, False),
        ("application/x-www-form-urlencoded", False),
        ("application/jsonl", False),
    ],
)
def test_only_json_in_utf_8_is_accepted_as_a_body(content_type: str, json: bool) -> None:
    assert is_json(content_type) is json


@pytest.mark.api
async def test_the_negotiated_type_determines_the_status_of_errors(api: Api) -> None:
    body = '{"query": "{ nope }"}'
    for accept, media_type, status in (
        ([f"{JSON};q=1", f"{GRAPHQL};q=0.5"], JSON, 200),
        ([f"{JSON};q=0.5", f"{GRAPHQL};q=1"], GRAPHQL, 400),
    ):
        lines = [("accept", it) for it in accept]
        answer = await api.client.post("/graphql", content=body, headers=[*lines, ("content-type", JSON)])
        assert (answer.headers["content-type"], answer.status_code) == (f"{media_type}; charset=utf-8", status)
        assert "data" not in answer.json()
    for content_type in ("application/json; charset=utf-16", "text/plain"):
        rejected = await api.client.post("/graphql", content=body, headers={"content-type": content_type})
        assert (rejected.status_code, rejected.json()["errors"][0]["extensions"]["code"]) == (415, "BAD_INPUT")


@pytest.mark.api
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"])
async def test_an_unsupported_method_is_answered_405_with_allow(api: Api, method: str) -> None:
    answer = await api.client.request(method, "/graphql")
    assert answer.status_code == 405
    assert {it.strip() for it in answer.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
