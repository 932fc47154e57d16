"""Pool of connections: a bounded number of them, each of which runs the statements of one holder at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from db.driver_connection import DriverConnection
from db.errors import Unavailable


class Pool:
    """Connections that are opened on demand, and kept until the pool is closed or one of them is no longer usable."""

    def __init__(self, connect: Callable[[], Awaitable[DriverConnection]], *, size: int, timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._size = size
        # Those who wait for a slot, the first of whom takes the next one that becomes free.
        self._waiters: deque[asyncio.Future[None]] = deque()
        # The one that was used last is used next: its statements are prepared, and the others can be closed by the server.
        self._idle: list[DriverConnection] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        # Number of slots that are taken: connections that are held, opened or closed.
        self.in_use = 0

    async def acquire(self) -> DriverConnection:
        """Take a connection. Raise Unavailable if none becomes free in time."""
        if self.in_use < self._size:
            self.in_use += 1
        else:
            await self._wait_for_slot()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed:
                    return connection
            return await self._connect()
        except BaseException:
            self._release_slot()
            raise

    async def release(self, connection: DriverConnection) -> None:
        """Give a connection back. One that is not usable any more is closed, and counts until the server has ended it."""
        if connection.is_usable and not connection.is_closed and not self._is_closed:
            connection.note_release()
            self._idle.append(connection)
            self._release_slot()
            return
        closing = asyncio.ensure_future(connection.close())
        # the task ends, and the slot is free, even if the caller is cancelled
        self._closing.add(closing)
        closing.add_done_callback(self._closed)
        await asyncio.shield(closing)

    async def close(self) -> None:
        """Close all connections; those that are held, when they are given back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        self._closing.discard(closing)
        self._release_slot()

    async def _wait_for_slot(self) -> None:
        slot = asyncio.get_running_loop().create_future()
        self._waiters.append(slot)
        try:
            async with asyncio.timeout(self._timeout):
                await slot
        except BaseException as error:
            if slot in self._waiters:
                self._waiters.remove(slot)
            elif not slot.cancelled():
                # it became free at the moment of the timeout or cancellation
                self._release_slot()
            if isinstance(error, TimeoutError):
                raise Unavailable("Every connection to the database is in use. Try again in a moment.") from error
            raise

    def _release_slot(self) -> None:
        """Give a slot to the first who waits for one, or else free it."""
        while self._waiters:
            slot = self._waiters.popleft()
            if not slot.done():
                slot.set_result(None)
                return
        self.in_use -= 1
