"""Traces: each request goes on with the one that its caller is in, as W3C Trace Context has it, or begins one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex

from starlette.types import Scope

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")

# Whoever begins a trace says whether it is recorded; this service records none.
_NOT_SAMPLED = "00"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a request is a part of, and the part that it is."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def going_on(traceparents: Sequence[str]) -> Trace:
    """A part of the trace that the caller named; what is none, or names several, is no trace of its."""
    told = _TRACEPARENT.fullmatch(traceparents[0]) if len(traceparents) == 1 else None
    trace_id, flags = told.groups() if told else (token_hex(16), _NOT_SAMPLED)
    return Trace(trace_id, token_hex(8), flags)


def traceparent_of(scope: Scope) -> str:
    """The trace that this request is a part of, for those that it asks in turn."""
    trace: Trace = scope["state"]["trace"]
    return trace.traceparent
