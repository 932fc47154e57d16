"""Parser of the requests of a connection: heads, parts of bodies and their ends, within limits of their size."""

import logging
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import unquote

import httptools

# Bytes of a request line and its headers, and of what frames a body between two parts of it: the sizes of chunks, and trailers.
MAX_HEAD_BYTES = 65_536

# The parser cannot be stopped at the end of a request, so it is given the bytes up to the end of a head, or of a body of a known
# length, and so many of another body. Those behind a body can hold further requests.
_BODY_SLICE_BYTES = 1_024

_END_OF_HEAD = b"\r\n\r\n"

log = logging.getLogger("uvicorn.error")


class Head(NamedTuple):
    """Request line and headers of a request."""

    method: str
    # decoded, and as it was sent
    path: str
    raw_path: bytes
    query_string: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keeps_alive: bool
    expects_continue: bool
    # it has headers of a proxy
    is_forwarded: bool


class RequestReceiver(Protocol):
    """Receiver of what was parsed. It may stop the parser, which then calls it no more."""

    def on_head_begin(self) -> None:
        """A part of a head has arrived, and the rest is awaited."""

    def on_head(self, head: Head) -> None: ...

    def on_body_part(self, part: bytes) -> None: ...

    def on_request_end(self) -> None: ...

    def on_upgrade(self) -> None:
        """The client offers to upgrade the connection. No request is read after this one."""

    def on_error(self, status: HTTPStatus, reason: str) -> None: ...


class RequestParser:
    """Incremental parser of pipelined requests, on top of httptools."""

    def __init__(self, receiver: RequestReceiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        # a request that is pipelined behind one with `Connection: close` is ignored instead of refused
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.is_stopped = False
        # True from the end of a head to that of its body
        self.is_in_body = False
        self._head_bytes = 0
        # bytes since a part of the body that are none of it
        self._framing_bytes = 0
        # a head has begun in bytes that were not counted, as they arrived together with the end of the request before
        self._is_behind = False

    @property
    def is_in_head(self) -> bool:
        """True if a part of a head has arrived."""
        return self._head_bytes > 0 and not self.is_in_body

    def stop(self) -> None:
        """Parse nothing more."""
        self.is_stopped = True

    def parse(self, data: bytes, start: int) -> int:
        """Parse from an index on, to the end of a head or through a slice of a body at most. Return the index up to which data
        needs no more parsing."""
        end = self._parse_body(data, start) if self.is_in_body else self._parse_head(data, start)
        return len(data) if end is None else end

    def _parse_head(self, data: bytes, start: int) -> int | None:
        """Parse a head, or the part of it that is there. Return its end, or None if nothing after it is to be parsed."""
        room = MAX_HEAD_BYTES - self._head_bytes
        if not room:
            self._refuse_large_head()
            return None
        begins = not self._head_bytes
        found = data.find(_END_OF_HEAD, start, start + room)
        end = min(len(data), start + room) if found < 0 else found + len(_END_OF_HEAD)
        part = data[start:end]
        self._head_bytes += len(part)
        if not self._feed(part):
            return None
        if begins and self.is_in_head and not self.is_stopped:
            self._receiver.on_head_begin()
        return end

    def _parse_body(self, data: bytes, start: int) -> int | None:
        """Parse a slice of a body. Return its end, or None if nothing after it is to be parsed."""
        if self._body_left:
            part = data[start : start + self._body_left]
            self._body_left -= len(part)
            return start + len(part) if self._feed(part) else None
        part = data[start : start + _BODY_SLICE_BYTES]
        self._framing_bytes += len(part)
        if self._framing_bytes > MAX_HEAD_BYTES:
            self._receiver.on_error(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"Between two parts of a body there may be at most {MAX_HEAD_BYTES} bytes of chunk sizes and trailers.",
            )
            return None
        return start + len(part) if self._feed(part) else None

    def _feed(self, data: bytes) -> bool:
        """Give httptools data. Return False if it reads no further request."""
        try:
            self._parser.feed_data(data)
            if self._is_behind and not self.is_stopped:
                self._is_behind = False
                self._head_bytes = max(1, self._parsed_head_bytes())
                self._receiver.on_head_begin()
        except httptools.HttpParserError:
            log.warning("Invalid HTTP request received.")
            self._receiver.on_error(HTTPStatus.BAD_REQUEST, "Invalid HTTP request received.")
        except httptools.HttpParserUpgrade:
            self._receiver.on_upgrade()
        else:
            return True
        return False

    def _parsed_head_bytes(self) -> int:
        """Return the size of what was parsed of a head, at least."""
        return len(self._url) + sum(len(name) + len(value) for name, value in self._headers)

    def _refuse_large_head(self) -> None:
        reason = f"The request line and headers may have at most {MAX_HEAD_BYTES} bytes."
        self._receiver.on_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)

    # Called by httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects_continue = self._is_forwarded = False
        # bytes of a body that have yet to arrive, if its length is known
        self._body_left = 0
        self._is_behind = not self._head_bytes

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_in_body:
            # a trailer is no header: proxies in front of the service, and authentication, have not seen it
            return
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        elif name == b"content-length" and value.isdigit():
            self._body_left = int(value)
        elif name.startswith(b"x-forwarded-"):
            self._is_forwarded = True

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._is_behind = False
            if self._parsed_head_bytes() > MAX_HEAD_BYTES:
                self._refuse_large_head()
        if self.is_stopped:
            return
        self.is_in_body = True
        self._framing_bytes = 0
        version = self._parser.get_http_version()
        self._receiver.on_head(
            Head(
                self._parser.get_method().decode("ascii"),
                *_split_url(self._url),
                version,
                self._headers,
                version != "1.0" and self._parser.should_keep_alive(),
                self._expects_continue,
                self._is_forwarded,
            )
        )

    def on_body(self, body: bytes) -> None:
        if not self.is_stopped:
            self._framing_bytes = 0
            self._receiver.on_body_part(body)

    def on_message_complete(self) -> None:
        if not self.is_stopped:
            self.is_in_body = False
            self._head_bytes = 0
            self._receiver.on_request_end()


def _split_url(url: bytes) -> tuple[str, bytes, bytes]:
    """Return the path of a URL, decoded and as it was sent, and the query string."""
    parsed = httptools.parse_url(url)
    raw_path: bytes = parsed.path
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, parsed.query or b""
