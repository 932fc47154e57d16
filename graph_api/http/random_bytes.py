"""Random bytes for ids."""

from os import urandom

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
