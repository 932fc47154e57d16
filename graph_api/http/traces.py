"""Traces, as in W3C Trace Context: a request continues the trace of its caller, or starts one."""

import re
from collections.abc import Sequence
from os import urandom
from typing import NamedTuple

from starlette.types import Scope

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")

# The service that starts a trace decides whether it is sampled; traces started here are not.
_NOT_SAMPLED = "00"


class Trace(NamedTuple):
    """Trace of a request, and the span of the request in it."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def continue_trace(traceparents: Sequence[str]) -> Trace:
    """Start a span in the trace of the traceparent headers. Start a trace if there is not exactly one valid header."""
    digits = urandom(24).hex()
    parent = _TRACEPARENT.fullmatch(traceparents[0]) if len(traceparents) == 1 else None
    trace_id, flags = parent.groups() if parent else (digits[:32], _NOT_SAMPLED)
    return Trace(trace_id, digits[32:], flags)


def traceparent_of(scope: Scope) -> str:
    """Return the traceparent header for requests that this request sends to other services."""
    trace: Trace = scope["state"]["trace"]
    return trace.traceparent
