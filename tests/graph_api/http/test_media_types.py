"""Media types: which one a client prefers, by what its Accept says, and which bodies are JSON."""

import pytest

from graph_api.http.media_types import GRAPHQL, JSON, is_json, negotiate
from tests.builders import Api


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        # nothing said, or anything meant: what clients have been sent ever since
        ("", JSON),
        (" , ", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html, */*;q=0.1", JSON),
        # named
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        ("Application/GraphQL-Response+JSON", GRAPHQL),
        # of the same weight: the more telling one, and one that is named before one that is meant
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{JSON};q=0.5, {GRAPHQL};q=0.5", GRAPHQL),
        (f"{JSON}, */*", JSON),
        (f"{GRAPHQL}, */*", GRAPHQL),
        (f"{JSON}, application/*", JSON),
        # of other weights: the heavier one, in whatever order
        (f"{JSON};q=1, {GRAPHQL};q=0.5", JSON),
        (f"{GRAPHQL};q=0.5, {JSON};q=0.501", JSON),
        (f"{JSON};q=0.9, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL}; q=0.1 , {JSON}; Q=0.2", JSON),
        (f"{GRAPHQL};q=0.5, */*", JSON),
        (f"{JSON};q=0.5, */*", GRAPHQL),
        (f"{JSON};q=0.5, application/*;q=0.6, */*;q=0.9", GRAPHQL),
        # what is said more closely counts, even if it is less
        (f"{GRAPHQL};q=0, {JSON}", JSON),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"{JSON};q=0, */*", GRAPHQL),
        ("application/*;q=0, */*", None),
        (f"{JSON};q=0.000, {GRAPHQL};q=0.", None),
        ("*/*;q=0", None),
        # others
        ("text/html", None),
        ("text/*, image/png", None),
        ("application/json-seq", None),
        ("application/xml, multipart/mixed; deferSpec=20220824, application/json", JSON),
        # in UTF-8
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f'{JSON}; charset="UTF-8"; q=0.7, {GRAPHQL}; q=0.3', JSON),
        (f"{JSON}; charset=iso-8859-1", None),
        (f"{GRAPHQL}; charset=utf-16, {JSON};q=0.1", JSON),
        # weights that are none
        (f"{GRAPHQL};q=2, {JSON};q=0.1", JSON),
        (f"{GRAPHQL};q=high", None),
        (f"{GRAPHQL};q=1.5, {JSON};q=-1", None),
        # weights as clients of old write them
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),
        (f'{JSON};q="0.5", {GRAPHQL};q= 0.4999', JSON),
        # the same twice
        (f"{JSON};q=0.9, {GRAPHQL};q=0.5, {JSON};q=0.1", JSON),
    ],
)
def test_an_answer_is_of_the_type_that_weighs_most(accept: str, media_type: str | None) -> None:
    assert negotiate([accept]) == media_type


def test_an_accept_that_comes_in_several_lines_is_one() -> None:
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
def test_a_body_is_json_in_utf_8(content_type: str, json: bool) -> None:
    assert is_json(content_type) is json


@pytest.mark.api
async def test_a_client_is_answered_in_the_type_that_it_prefers_and_by_its_rules(api: Api) -> None:
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
        refused = await api.client.post("/graphql", content=body, headers={"content-type": content_type})
        assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (415, "BAD_INPUT")


@pytest.mark.api
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"])
async def test_another_method_is_refused_and_told_which_there_are(api: Api, method: str) -> None:
    answer = await api.client.request(method, "/graphql")
    assert answer.status_code == 405
    assert {it.strip() for it in answer.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
