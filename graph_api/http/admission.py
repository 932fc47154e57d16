"""Admission control: bounded concurrency, with slots shared fairly between tenants and credentials."""

import asyncio
import itertools
from collections import Counter
from contextvars import ContextVar
from typing import NamedTuple, Self

from db.errors import Unavailable

QUEUE_FULL = "The service is busy, and no more requests can wait for it. Retry in a moment."
QUEUE_TIMEOUT = "The service is busy: the request waited {:g} s for a free slot. Retry in a moment."


class _Caller(NamedTuple):
    """Tenant and credential of a request."""

    tenant_id: int
    credential: str


class _Waiter:
    """A request in the queue. Its future becomes True with a slot, False if another request takes its position."""

    def __init__(self, caller: _Caller) -> None:
        self.caller = caller
        self.admitted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Slot:
    """Permission to use the database for the block of an `async with`. Releasing it twice has no effect."""

    def __init__(self, admission: "Admission", caller: _Caller) -> None:
        self._admission = admission
        self._caller = caller
        self._is_held = False

    async def __aenter__(self) -> Self:
        if not self._admission._try_assign(self._caller):
            await self._admission._wait(self._caller)
        self._is_held = True
        self._token = _CURRENT_SLOT.set(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        _CURRENT_SLOT.reset(self._token)
        self.release()

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._admission._release(self._caller)


_CURRENT_SLOT: ContextVar[Slot] = ContextVar("slot")


def release_slot() -> None:
    """Release the slot of the current request, if it holds one: the rest of the request does not use the database."""
    if (slot := _CURRENT_SLOT.get(None)) is not None:
        slot.release()


class Admission:
    """Slots of one process, and a bounded queue of requests that wait for one.

    A free slot goes to the tenant with the fewest slots, among equals to the one whose last slot is oldest, and within the tenant
    to the credential with the fewest. If the queue is full, a request of a tenant (or credential) with fewer waiting requests
    replaces one of a tenant with more. With `reserve_last`, the last free slot is reserved for tenants that hold none.
    """

    def __init__(self, slots: int, max_waiting: int, timeout: float, *, reserve_last: bool = False) -> None:
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._free = slots
        self._held: Counter[_Caller] = Counter()
        self._waiters: list[_Waiter] = []
        self._reserve_last = reserve_last and slots > 1
        # the sequence number of the last slot that each tenant got
        self._sequence = itertools.count()
        self._last_slot: dict[int, int] = {}

    def slot(self, tenant_id: int, credential: str) -> Slot:
        """Return a slot, to hold for the block of an `async with`, which raises Unavailable if there is none."""
        return Slot(self, _Caller(tenant_id, credential))

    def _try_assign(self, caller: _Caller) -> bool:
        """Assign a free slot. Return False if there is none, or raise Unavailable if the last one is reserved for others."""
        if self._reserve_last and self._free == 1 and any(it.tenant_id == caller.tenant_id for it in self._held):
            raise Unavailable(QUEUE_FULL)
        # no request waits while a slot is free, for a released slot goes to a waiter at once
        if self._free:
            self._assign(caller)
            return True
        return False

    async def _wait(self, caller: _Caller) -> None:
        self._reserve_queue_position(caller)
        waiter = _Waiter(caller)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._timeout):
                admitted = await waiter.admitted
        except BaseException as error:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.admitted.cancelled() and waiter.admitted.result():
                # the slot was assigned at the moment of the timeout or cancellation
                self._release(caller)
            if isinstance(error, TimeoutError):
                raise Unavailable(QUEUE_TIMEOUT.format(self._timeout)) from None
            raise
        if not admitted:
            raise Unavailable(QUEUE_FULL)

    def _reserve_queue_position(self, caller: _Caller) -> None:
        """Ensure room for one more waiter, if necessary by rejecting another, or raise Unavailable."""
        latest_first = self._active_waiters()[::-1]
        if len(latest_first) < self._max_waiting:
            return
        by_tenant = Counter(it.caller.tenant_id for it in latest_first)
        by_caller = Counter(it.caller for it in latest_first)
        candidates = sorted(latest_first, key=lambda it: (by_tenant[it.caller.tenant_id], by_caller[it.caller]), reverse=True)
        for waiter in candidates:
            if waiter.caller.tenant_id == caller.tenant_id:
                has_fewer = by_caller[caller] < by_caller[waiter.caller]
            else:
                has_fewer = by_tenant[caller.tenant_id] < by_tenant[waiter.caller.tenant_id]
            if has_fewer:
                self._waiters.remove(waiter)
                waiter.admitted.set_result(False)
                return
        raise Unavailable(QUEUE_FULL)

    def _release(self, caller: _Caller) -> None:
        """Free a slot, and assign it to the next waiter."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        waiters = self._active_waiters() if self._waiters else ()
        if not waiters:
            return
        held_by_tenant: Counter[int] = Counter()
        for holder, count in self._held.items():
            held_by_tenant[holder.tenant_id] += count
        # min() returns the first of equal waiters, which waited longest
        waiter = min(
            waiters,
            key=lambda it: (
                held_by_tenant[it.caller.tenant_id],
                self._last_slot.get(it.caller.tenant_id, -1),
                self._held[it.caller],
            ),
        )
        self._waiters.remove(waiter)
        self._assign(waiter.caller)
        waiter.admitted.set_result(True)

    def _assign(self, caller: _Caller) -> None:
        self._free -= 1
        self._held[caller] += 1
        self._last_slot[caller.tenant_id] = next(self._sequence)

    def _active_waiters(self) -> list[_Waiter]:
        """Return the waiters that were neither admitted, rejected nor cancelled."""
        return [it for it in self._waiters if not it.admitted.done()]
