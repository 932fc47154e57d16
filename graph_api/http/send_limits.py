"""Bounds of unsent answers: the time in which a client takes one, and the bytes that a process holds of all."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field

log = logging.getLogger("uvicorn.error")


@dataclass(slots=True)
class SendLimits:
    """Limits of unsent answers, and the connections that have one.

    Connections with few unsent bytes, as an answer to which the transport still adds, are not among them.
    """

    # seconds for which a client may take nothing of an answer
    timeout: float = 30.0
    # bytes a second that a client takes of an answer, on average since it could not be sent at once
    min_rate: float = 10_000.0
    max_bytes: int = 134_217_728
    # the oldest first
    watches: dict["SendWatch", None] = field(default_factory=dict)

    def is_exceeded(self) -> bool:
        """True if more bytes are unsent than may be."""
        return sum([it.unsent for it in self.watches]) > self.max_bytes

    def enforce(self) -> None:
        """Abort the connection that waits longest, of the tenant with the most unsent bytes, until few enough are unsent."""
        while self.is_exceeded():
            by_tenant: Counter[int | None] = Counter()
            for watch in self.watches:
                by_tenant[watch.tenant_id] += watch.unsent
            ((tenant_id, _),) = by_tenant.most_common(1)
            oldest = next(it for it in self.watches if it.tenant_id == tenant_id)
            log.warning(
                "More than %d bytes of answers are unsent. A connection with %d of them is closed.", self.max_bytes, oldest.unsent
            )
            oldest.abort()


class SendWatch:
    """Watch of a connection with unsent bytes. It is aborted when its client takes none of them for some seconds, or too few."""

    __slots__ = ("_deadline", "_last_unsent", "_limits", "_loop", "_timer", "_transport", "tenant_id")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, limits: SendLimits) -> None:
        self._loop = loop
        self._transport = transport
        self._limits = limits
        # the tenant whose answer it is, if a credential came with the request
        self.tenant_id: int | None = None
        self._last_unsent = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    def start(self) -> None:
        """Watch until nothing is unsent, or until `stop`. Has no effect if nothing is unsent, or if the watch runs."""
        if self._timer is not None or not (unsent := self.unsent):
            return
        limits = self._limits
        self._deadline = self._loop.time() + limits.timeout + unsent / limits.min_rate
        limits.watches[self] = None
        self._check_later(unsent)
        if limits.is_exceeded():
            # the transport, which calls this while it writes, cannot be aborted now
            self._loop.call_soon(limits.enforce)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            del self._limits.watches[self]

    def abort(self) -> None:
        self.stop()
        self._transport.abort()

    def _check_later(self, unsent: int) -> None:
        self._last_unsent = unsent
        seconds = min(self._limits.timeout, self._deadline - self._loop.time())
        self._timer = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        unsent, limits = self.unsent, self._limits
        if not unsent:
            self.stop()
        elif self._loop.time() >= self._deadline:
            log.warning("A client took less than %g bytes a second of its answer. Its connection is closed.", limits.min_rate)
            self.abort()
        elif unsent >= self._last_unsent:
            log.warning("A client took nothing of its answer for %g s. Its connection is closed.", limits.timeout)
            self.abort()
        else:
            self._check_later(unsent)
