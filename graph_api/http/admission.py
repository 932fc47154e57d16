"""Admission: no more runs at once than the pool can serve, and whoever comes in a crowd keeps nobody else out."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import NamedTuple

from db.errors import Unavailable

BUSY = "The service is busy, and as many wait for it as may. Try again in a moment."
TOO_LONG = "The service is busy, and it was not the turn of this request in {:g} s. Try again in a moment."


class _Caller(NamedTuple):
    """Whose request it is: a tenant, and a credential in it."""

    tenant_id: int
    who: str


class _Waiter:
    """One that waits for a place; its turn is told whether it got one."""

    def __init__(self, caller: _Caller) -> None:
        self.caller = caller
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Slot:
    """What a request holds for as long as it needs the database. It is given back once."""

    def __init__(self, admission: "Admission", caller: _Caller) -> None:
        self._admission = admission
        self._caller = caller
        self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._admission._take_back(self._caller)


_PLACE: ContextVar[Slot] = ContextVar("place")


def release_slot() -> None:
    """Gives back the place of the request that runs, if it has one: what is left of it needs none."""
    if (place := _PLACE.get(None)) is not None:
        place.give_back()


class Admission:
    """One a process: so many places, and a room in which so many more wait for so many seconds.

    A place that falls free goes to the tenant that holds the fewest, of these to the one that got one longest ago, and in it to
    the credential that holds the fewest; into a full room comes who has fewer waiting there than another, in whose stead. With
    `one_for_others`, the last place is for tenants that have none.
    """

    def __init__(self, places: int, waiting: int, patience: float, *, one_for_others: bool = False) -> None:
        self._places = places
        self._room = waiting
        self._patience = patience
        self._held: Counter[_Caller] = Counter()
        self._waiters: list[_Waiter] = []
        self._one_for_others = one_for_others and places > 1
        # in which order tenants got their last place
        self._turns = itertools.count()
        self._got: dict[int, int] = {}

    @asynccontextmanager
    async def place(self, tenant_id: int, who: str) -> AsyncIterator[Slot]:
        """A place for the block, or Unavailable."""
        caller = _Caller(tenant_id, who)
        free = self._places - self._held.total()
        if self._one_for_others and free == 1 and any(it.tenant_id == tenant_id for it in self._held):
            raise Unavailable(BUSY)
        if free:
            # whoever waited got what was free before
            self._give(caller)
        else:
            await self._wait(caller)
        place = Slot(self, caller)
        before = _PLACE.set(place)
        try:
            yield place
        finally:
            _PLACE.reset(before)
            place.give_back()

    async def _wait(self, caller: _Caller) -> None:
        self._make_room(caller)
        waiter = _Waiter(caller)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._patience):
                got = await waiter.turn
        except BaseException as error:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.result():
                # it came at the same moment
                self._take_back(caller)
            if isinstance(error, TimeoutError):
                raise Unavailable(TOO_LONG.format(self._patience)) from None
            raise
        if not got:
            raise Unavailable(BUSY)

    def _make_room(self, caller: _Caller) -> None:
        """Room for one more, if need be that of another, or Unavailable."""
        latest_first = self._waiting()[::-1]
        if len(latest_first) < self._room:
            return
        tenants = Counter(it.caller.tenant_id for it in latest_first)
        callers = Counter(it.caller for it in latest_first)
        crowds = sorted(latest_first, key=lambda it: (tenants[it.caller.tenant_id], callers[it.caller]), reverse=True)
        for waiter in crowds:
            if waiter.caller.tenant_id == caller.tenant_id:
                fewer = callers[caller] < callers[waiter.caller]
            else:
                fewer = tenants[caller.tenant_id] < tenants[waiter.caller.tenant_id]
            if fewer:
                self._waiters.remove(waiter)
                waiter.turn.set_result(False)
                return
        raise Unavailable(BUSY)

    def _take_back(self, caller: _Caller) -> None:
        """A place falls free, and whose turn it is gets it."""
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        waiters = self._waiting()
        if not waiters:
            return
        tenants: Counter[int] = Counter()
        for holder, number in self._held.items():
            tenants[holder.tenant_id] += number
        # of those alike the first
        waiter = min(
            waiters,
            key=lambda it: (tenants[it.caller.tenant_id], self._got.get(it.caller.tenant_id, -1), self._held[it.caller]),
        )
        self._waiters.remove(waiter)
        self._give(waiter.caller)
        waiter.turn.set_result(True)

    def _give(self, caller: _Caller) -> None:
        self._held[caller] += 1
        self._got[caller.tenant_id] = next(self._turns)

    def _waiting(self) -> list[_Waiter]:
        """Who waits, without those that are just leaving."""
        return [it for it in self._waiters if not it.turn.done()]
