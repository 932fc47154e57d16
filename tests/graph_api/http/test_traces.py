"""Traces: a request goes on with the one of its caller, and whom it asks is told."""

import re

import pytest
import structlog

from graph_api.http.traces import continue_trace
from tests.builders import Api

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"
WRITTEN = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


async def test_a_trace_is_gone_on_with_as_a_part_of_its_own(api: Api) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        answer = await api("{ __typename }", headers={"traceparent": VALID})
    told = WRITTEN.fullmatch(answer.headers["traceparent"])
    assert told
    assert (told[1], told[3]) == (TRACE, "01")
    assert told[2] not in (SPAN, "0" * 16)
    (line,) = (it for it in logged if it["event"] == "request")
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize(
    "sent",
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
async def test_what_names_no_trace_begins_one(api: Api, sent: str) -> None:
    told = {(await api("{ __typename }", headers={"traceparent": sent})).headers["traceparent"] for _ in range(2)}
    assert len(told) == 2
    for written in told:
        read = WRITTEN.fullmatch(written)
        assert read
        assert read[1] != TRACE
        assert read[3] == "00"


def test_whoever_names_two_traces_names_none() -> None:
    assert continue_trace([VALID]).trace_id == TRACE
    assert continue_trace([VALID, VALID]).trace_id != TRACE


async def test_what_is_refused_bears_its_trace_too(api: Api) -> None:
    for path, method in (("/graphql", "DELETE"), ("/nothing", "GET"), ("/health", "GET")):
        response = await api.client.request(method, path, headers={"traceparent": VALID})
        assert TRACE in response.headers["traceparent"]
