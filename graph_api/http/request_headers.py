"""Headers of a request, read in one pass."""

from collections.abc import Sequence

from starlette.types import Scope

from graph_api.auth.credentials import Credentials


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
        return Credentials(self.text(b"x-api-key"), self.text(b"authorization"), self.text(b"x-headwater-tenant"))


def headers_of(scope: Scope) -> RequestHeaders:
    """Return the headers of a request."""
    headers: RequestHeaders = scope["state"]["headers"]
    return headers
