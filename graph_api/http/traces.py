"""Traces, as in W3C Trace Context: a request continues the trace of its caller, or starts one. Random bytes for ids."""

import re
from collections.abc import Sequence
from os import urandom
from typing import NamedTuple

from starlette.types import Scope

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")

# The service that starts a trace decides whether it is sampled; traces started here are not.
_NOT_SAMPLED = "00"

# Bytes that one system call fetches.
_FETCHED = 4_096


class RandomBytes:
    """Random bytes of the operating system, fetched in advance: a system call takes longer than the rest of an id."""

    def __init__(self) -> None:
        self._fetched = b""
        self._used = 0

    def __call__(self, size: int) -> bytes:
        """Return so many bytes, each of which is used once."""
        start = self._used
        if start + size > len(self._fetched):
            self._fetched, start = urandom(_FETCHED), 0
        self._used = start + size
        return self._fetched[start : self._used]


random_bytes = RandomBytes()


class Trace(NamedTuple):
    """Trace of a request, and the span of the request in it."""

    trace_id: str
    # header for requests that this request sends to other services
    traceparent: str


def continue_trace(traceparents: Sequence[bytes]) -> Trace:
    """Start a span in the trace of the traceparent headers. Start a trace if there is not exactly one valid header."""
    span_id, trace_id, flags = random_bytes(8).hex(), "", _NOT_SAMPLED
    if len(traceparents) == 1 and (parent := _TRACEPARENT.fullmatch(traceparents[0].decode("latin-1"))):
        trace_id, flags = parent.groups()
    trace_id = trace_id or random_bytes(16).hex()
    return Trace(trace_id, f"00-{trace_id}-{span_id}-{flags}")


def traceparent_of(scope: Scope) -> str:
    """Return the traceparent header for requests that this request sends to other services."""
    trace: Trace = scope["state"]["trace"]
    return trace.traceparent
