"""Admission control: bounded concurrency, with slots shared fairly between tenants and credentials."""

import asyncio
import itertools
import math
from collections import Counter
from contextvars import ContextVar
from typing import NamedTuple, Self

from db.errors import Unavailable
from db.tenant_ids import NO_TENANT_ID

# Slots that are kept for tenants that hold none, if there are three times as many in all.
KEPT_SLOTS = 2

# Seconds after its last request in which a tenant keeps another from taking more than half of the slots.
ACTIVE_SECONDS = 10.0

QUEUE_FULL = "The service is busy, and no more requests can wait for it. Retry in a moment."
QUEUE_TIMEOUT = "The service is busy: the request waited {:g} s for a free slot. Retry in a moment."


class _Caller(NamedTuple):
    """Tenant and credential of a request."""

    tenant_id: int
    credential: str


class _Tenant:
    """State of a tenant: the slots that it holds, when it got its last one, and when it last wanted one."""

    __slots__ = ("held", "last_slot", "wanted_at")

    def __init__(self) -> None:
        self.held = 0
        # a sequence number
        self.last_slot = -1
        self.wanted_at = 0.0


class _Waiter:
    """A request in the queue. Its future becomes True with a slot, False if another request takes its position."""

    def __init__(self, caller: _Caller) -> None:
        self.caller = caller
        self.admitted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Slot:
    """Permission to use what an admission guards, for the block of an `async with`, or from `acquire` to `release`. Releasing it
    twice has no effect."""

    def __init__(self, admission: "Admission", caller: _Caller) -> None:
        self._admission = admission
        self._caller = caller
        self._is_held = False

    async def __aenter__(self) -> Self:
        await self.acquire()
        self._token = _CURRENT_SLOT.set(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        _CURRENT_SLOT.reset(self._token)
        self.release()

    async def acquire(self) -> None:
        if not self._admission._try_assign(self._caller):
            await self._admission._wait(self._caller)
        self._is_held = True

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
    """Slots of one process, and a queue of requests that wait for one, so many at most, and so many seconds.

    Some slots are kept for tenants that hold none, and a tenant holds at most half of all, rounded up, if another one is active:
    it holds a slot, or wanted one lately. Within these bounds a free slot goes to the tenant with the fewest, among equals to the
    one whose last slot is oldest, and within the tenant to the credential with the fewest. If the queue is full, a request of a
    tenant (or credential) with fewer waiting requests replaces one of a tenant with more.

    Requests without a credential wait behind all others.
    """

    def __init__(
        self, slots: int, max_waiting: float = math.inf, timeout: float | None = None, *, kept: int | None = None
    ) -> None:
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._slots = self._free = slots
        self._half = (slots + 1) // 2
        self._kept = min(KEPT_SLOTS, slots // 3) if kept is None else kept
        self._held: Counter[_Caller] = Counter()
        # in order of their last requests
        self._tenants: dict[int, _Tenant] = {}
        self._waiters: list[_Waiter] = []
        # rings when others are no longer active, and a tenant that waits may have more than half
        self._timer: asyncio.TimerHandle | None = None
        self._sequence = itertools.count()

    def slot(self, tenant_id: int, credential: str) -> Slot:
        """Return a slot, to hold for the block of an `async with`, which raises Unavailable if there is none."""
        return Slot(self, _Caller(tenant_id, credential))

    def _try_assign(self, caller: _Caller) -> bool:
        """Assign a free slot. Return False if there is none for this caller."""
        tenant = self._tenants.pop(caller.tenant_id) if caller.tenant_id in self._tenants else _Tenant()
        self._tenants[caller.tenant_id] = tenant
        tenant.wanted_at = asyncio.get_running_loop().time()
        if self._waiters:
            # those that may have a slot now, because others are no longer active, precede
            self._assign_to_waiters()
        if self._is_allowed(tenant):
            self._assign(caller, tenant)
            return True
        return False

    def _is_allowed(self, tenant: _Tenant) -> bool:
        """True if there is a free slot for a tenant."""
        if not tenant.held:
            return self._free > 0
        if self._free <= self._kept:
            return False
        return tenant.held < self._half or (self._is_only_holder(tenant) and self._seconds_of_activity(tenant) <= 0)

    def _is_only_holder(self, tenant: _Tenant) -> bool:
        return tenant.held == self._slots - self._free

    def _seconds_of_activity(self, tenant: _Tenant) -> float:
        """Return the seconds for which others that hold no slot are still active; 0 or less if none is."""
        latest = next((it for it in reversed(self._tenants.values()) if it is not tenant), None)
        return 0 if latest is None else latest.wanted_at + ACTIVE_SECONDS - asyncio.get_running_loop().time()

    async def _wait(self, caller: _Caller) -> None:
        self._reserve_queue_position(caller)
        waiter = _Waiter(caller)
        self._waiters.append(waiter)
        self._start_timer()
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

        def weight(caller: _Caller) -> tuple[bool, int]:
            return caller.tenant_id == NO_TENANT_ID, by_tenant[caller.tenant_id]

        candidates = sorted(latest_first, key=lambda it: (weight(it.caller), by_caller[it.caller]), reverse=True)
        for waiter in candidates:
            if waiter.caller.tenant_id == caller.tenant_id:
                is_lighter = by_caller[caller] < by_caller[waiter.caller]
            else:
                is_lighter = weight(caller) < weight(waiter.caller)
            if is_lighter:
                self._waiters.remove(waiter)
                waiter.admitted.set_result(False)
                return
        raise Unavailable(QUEUE_FULL)

    def _release(self, caller: _Caller) -> None:
        """Free a slot, and assign what is free to waiters."""
        self._free += 1
        self._tenants[caller.tenant_id].held -= 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        if self._waiters:
            self._assign_to_waiters()

    def _assign_to_waiters(self) -> None:
        while self._free and self._assign_next():
            pass
        self._start_timer()

    def _start_timer(self) -> None:
        """Have slots assigned once others are no longer active, if a tenant that waits may have more of them then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._free > self._kept:
            for waiter in self._active_waiters():
                tenant = self._tenants[waiter.caller.tenant_id]
                if self._is_only_holder(tenant):
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self._seconds_of_activity(tenant), self._assign_to_waiters)
                    return

    def _assign_next(self) -> bool:
        """Assign a free slot to the next waiter. Return False if none may have it."""
        tenants = self._tenants
        allowed = {it: self._is_allowed(tenants[it]) for it in {waiter.caller.tenant_id for waiter in self._waiters}}
        waiters = [it for it in self._active_waiters() if allowed[it.caller.tenant_id]]
        if not waiters:
            return False

        def priority(waiter: _Waiter) -> tuple[bool, int, int, int]:
            tenant_id = waiter.caller.tenant_id
            tenant = tenants[tenant_id]
            return tenant_id == NO_TENANT_ID, tenant.held, tenant.last_slot, self._held[waiter.caller]

        # min() returns the first of equal waiters, which waited longest
        waiter = min(waiters, key=priority)
        self._waiters.remove(waiter)
        self._assign(waiter.caller, tenants[waiter.caller.tenant_id])
        waiter.admitted.set_result(True)
        return True

    def _assign(self, caller: _Caller, tenant: _Tenant) -> None:
        self._free -= 1
        tenant.held += 1
        tenant.last_slot = next(self._sequence)
        self._held[caller] += 1

    def _active_waiters(self) -> list[_Waiter]:
        """Return the waiters that were neither admitted, rejected nor cancelled."""
        return [it for it in self._waiters if not it.admitted.done()]
