"""Occasions that recur, of which a few are worth mentioning."""

import time


class Occasion:
    """Tells when something that recurs is to be mentioned: at first, and then once a period at most."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._next = 0.0

    def is_due(self) -> bool:
        """True if it was not mentioned within the period. The caller mentions it then."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._period
        return True
