"""A pool holds a bounded number of connections, and passes a slot on to who waits for it first."""

import asyncio
from typing import cast

import pytest

from db.driver_connection import DriverConnection
from db.errors import Unavailable
from db.pool import Pool


class FakeConnection:
    """A connection without a server."""

    is_closed = False
    is_usable = True

    def note_release(self) -> None: ...

    async def close(self) -> None:
        self.is_closed = True
        await asyncio.sleep(0)


def pool_of(size: int, timeout: float = 10) -> Pool:
    async def connect() -> DriverConnection:
        return cast(DriverConnection, FakeConnection())

    return Pool(connect, size=size, timeout=timeout)


async def begin_waiting(pool: Pool) -> asyncio.Task[DriverConnection]:
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    return waiting


async def test_who_waits_first_gets_the_next_connection_even_if_others_come_later() -> None:
    pool = pool_of(1)
    held = await pool.acquire()
    first, second = await begin_waiting(pool), await begin_waiting(pool)
    await pool.release(held)
    late = await begin_waiting(pool)
    assert await first is held
    assert (second.done(), late.done(), pool.in_use) == (False, False, 1)
    for waiting in (second, late):
        await pool.release(held)
        assert await waiting is held
    await pool.release(held)
    assert pool.in_use == 0


async def test_a_cancelled_waiter_takes_no_slot() -> None:
    pool = pool_of(1)
    held = await pool.acquire()
    cancelled, waiting = await begin_waiting(pool), await begin_waiting(pool)
    cancelled.cancel()
    await pool.release(held)
    assert await waiting is held
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_slot_that_comes_with_a_cancellation_goes_to_the_next_waiter() -> None:
    pool = pool_of(1)
    held = await pool.acquire()
    cancelled, waiting = await begin_waiting(pool), await begin_waiting(pool)
    await pool.release(held)
    cancelled.cancel()
    assert await waiting is held
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await pool.release(held)
    assert pool.in_use == 0


async def test_a_wait_for_a_slot_is_limited() -> None:
    pool = pool_of(1, timeout=0.01)
    held = await pool.acquire()
    with pytest.raises(Unavailable, match="in use"):
        await pool.acquire()
    await pool.release(held)
    assert await pool.acquire() is held


async def test_a_connection_that_is_closed_counts_until_it_has_ended() -> None:
    pool = pool_of(1)
    held = await pool.acquire()
    held.is_usable = False
    waiting = await begin_waiting(pool)
    closing = asyncio.create_task(pool.release(held))
    await asyncio.sleep(0)
    assert (pool.in_use, waiting.done()) == (1, False)
    await closing
    assert await waiting is not held


async def test_a_failed_connect_frees_its_slot() -> None:
    async def connect() -> DriverConnection:
        raise Unavailable("The server is away.")

    pool = Pool(connect, size=1, timeout=10)
    for _ in range(2):
        with pytest.raises(Unavailable, match="away"):
            await pool.acquire()
    assert pool.in_use == 0
