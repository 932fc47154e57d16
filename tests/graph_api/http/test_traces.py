"""Traces: a request continues the trace of its caller, or starts one."""

import re

import pytest
import structlog

from graph_api.http.request import continue_trace
from tests.builders import Api

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


async def test_a_valid_trace_is_continued_with_a_new_span(api: Api) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        answer = await api("{ __typename }", headers={"traceparent": VALID})
    match = TRACEPARENT.fullmatch(answer.headers["traceparent"])
    assert match
    assert (match[1], match[3]) == (TRACE, "01")
    assert match[2] not in (SPAN, "0" * 16)
    (line,) = (it for it in logged if it["event"] == "request")
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "",
        VALID.upper(),
        f"01-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"{VALID}, {VALID}",
        "<script>",
    ],
)
async def test_an_invalid_traceparent_starts_a_new_trace(api: Api, value: str) -> None:
    traceparents = {(await api("{ __typename }", headers={"traceparent": value})).headers["traceparent"] for _ in range(2)}
    assert len(traceparents) == 2
    for traceparent in traceparents:
        match = TRACEPARENT.fullmatch(traceparent)
        assert match
        assert match[1] != TRACE
        assert match[3] == "00"


def test_two_traceparent_headers_start_a_new_trace() -> None:
    header = VALID.encode()
    assert continue_trace([header]).trace_id == TRACE
    assert continue_trace([header, header]).trace_id != TRACE


async def test_error_responses_have_a_traceparent(api: Api) -> None:
    for path, method in (("/graphql", "DELETE"), ("/nothing", "GET"), ("/health", "GET")):
        response = await api.client.request(method, path, headers={"traceparent": VALID})
        assert TRACE in response.headers["traceparent"]
