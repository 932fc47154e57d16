"""A request as the whole service sees it: its headers, its id and its trace, and what the log tells of it."""

import re
from collections.abc import Sequence
from os import urandom
from typing import NamedTuple

from starlette.types import Scope

from graph_api.auth.authenticator import Credentials

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

# The digit of a UUID that holds its variant, by a random digit.
_VARIANTS = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}

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


class RequestHeaders(dict[bytes, bytes]):
    """Headers of a request: of each the first value. Names are in lower case, as servers pass them."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        # of a repeated header, the first value remains
        super().__init__(reversed(raw))
        self._raw = raw

    def text(self, name: bytes) -> str | None:
        """Return the first value of a header as text."""
        value = self.get(name)
        return None if value is None else value.decode("latin-1")

    def all(self, name: bytes) -> list[bytes]:
        """Return all values of a header."""
        if len(self) == len(self._raw):
            return [self[name]] if name in self else []
        return [value for it, value in self._raw if it == name]

    def credentials(self) -> Credentials:
        """Return the headers that authenticate the request."""
        found = [self.get(b"x-api-key"), self.get(b"authorization"), self.get(b"x-headwater-tenant")]
        return Credentials(*[None if it is None else it.decode("latin-1") for it in found])


class HttpRequest:
    """A request, as W3C Trace Context has it a span of a trace: it continues the trace of its caller, or starts one."""

    __slots__ = ("errors", "headers", "operation", "request_id", "scope", "status", "trace_id", "traceparent")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.headers = headers = RequestHeaders(scope["headers"])
        self.request_id = request_id_of(headers.get(b"x-request-id"))
        # the traceparent is that of requests that this request sends to other services
        self.trace_id, self.traceparent = continue_trace(headers.all(b"traceparent") if b"traceparent" in headers else ())
        # of the response; 0: none has begun
        self.status = 0
        self.operation = ""
        # codes of the errors in the response
        self.errors: Sequence[str] = ()


def request_of(scope: Scope) -> HttpRequest:
    """Return the request of a scope."""
    request: HttpRequest = scope["state"]["request"]
    return request


def request_id_of(of_client: bytes | None) -> str:
    """Return the request id that the client sent, or a new UUID if there is none or it is invalid."""
    if of_client is not None and _REQUEST_ID.fullmatch(of_client):
        return of_client.decode()
    # as uuid4() does, at a fraction of the cost
    digits = random_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:]}"


class Trace(NamedTuple):
    """Id of a trace, and the header by which other services continue it."""

    trace_id: str
    traceparent: str


def continue_trace(traceparents: Sequence[bytes]) -> Trace:
    """Start a span in the trace of the traceparent headers. Start a trace if there is not exactly one valid header."""
    digits, flags = random_bytes(24).hex(), _NOT_SAMPLED
    span_id, trace_id = digits[:16], digits[16:]
    if len(traceparents) == 1 and (parent := _TRACEPARENT.fullmatch(traceparents[0].decode("latin-1"))):
        trace_id, flags = parent.groups()
    return Trace(trace_id, f"00-{trace_id}-{span_id}-{flags}")
