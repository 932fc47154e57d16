"""Pace at which a process discards input."""

# Seconds between two pieces of at most 256 KB, the most that the event loop reads at once.
_SECONDS_A_PIECE = 0.01

# Seconds for which a closed connection still reads and discards what the client sends.
LINGER_SECONDS = 2.0


class DiscardPace:
    """Pace at which the connections of a process read and discard what their clients send, one piece after the other.

    So many connections that send what nobody reads take no more time of the event loop than one.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def reserve(self, now: float) -> float | None:
        """Return the seconds until a connection may read its next piece, or None if it is closed before."""
        seconds = max(0.0, self._next - now)
        if seconds >= LINGER_SECONDS:
            return None
        self._next = now + seconds + _SECONDS_A_PIECE
        return seconds
