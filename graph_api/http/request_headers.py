"""Headers of a request, read in one pass."""

from collections.abc import Sequence

from starlette.types import Scope

from graph_api.auth.credentials import Credentials


class RequestHeaders:
    """Headers of a request. Names are in lower case, as servers pass them."""

    __slots__ = ("_first", "_raw")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        # of a repeated header, the first value remains
        self._first = dict(reversed(raw))

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a header."""
        return self._first.get(name)

    def text(self, name: bytes) -> str | None:
        """Return the first value of a header as text."""
        value = self._first.get(name)
        return None if value is None else value.decode("latin-1")

    def all(self, name: bytes) -> list[bytes]:
        """Return all values of a header."""
        if name not in self._first:
            return []
        if len(self._first) == len(self._raw):
            return [self._first[name]]
        return [value for it, value in self._raw if it == name]

    def traceparents(self) -> list[str]:
        """Return all values of the header traceparent."""
        return [value.decode("latin-1") for value in self.all(b"traceparent")]

    def credentials(self) -> Credentials:
        """Return the headers that authenticate the request."""
        return Credentials(self.text(b"x-api-key"), self.text(b"authorization"), self.text(b"x-headwater-tenant"))


def headers_of(scope: Scope) -> RequestHeaders:
    """Return the headers of a request."""
    headers: RequestHeaders = scope["state"]["headers"]
    return headers
