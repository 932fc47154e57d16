"""Reads of one statement: without a transaction, which costs one round trip, or in one of their own."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from db.driver_connection import DriverConnection
from db.errors import Unavailable
from db.pool import Pool
from db.rows import Row
from db.sql import text

_SET_TENANT = text("SELECT set_config('headwater.tenant_id', CAST(CAST(:tenant AS bigint) AS text), false)")


class SingleRead(ABC):
    """Runs one statement of a tenant. It holds a connection only while the statement runs."""

    def __init__(self) -> None:
        self._has_run = False

    def fetch(self, text: str, arguments: Sequence[Any] = ()) -> Coroutine[Any, Any, list[Row]]:
        """Run the statement and return its rows."""
        assert not self._has_run, "A single read runs one statement. Open a snapshot for several."
        self._has_run = True
        return self._fetch(text, arguments)

    def stream(self, text: str, arguments: Sequence[Any]) -> AsyncIterator[Row]:
        raise AssertionError("A single read does not stream. Open a snapshot.")

    @abstractmethod
    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        """Run the statement on a connection, and give that back."""


class SessionRead(SingleRead):
    """Single read without a transaction, on a read-only connection whose session has a tenant.

    The tenant is set once a session, and again only if it changes. A session never has a tenant other than the one that is
    noted: it is noted only after it was set, forgotten before it is set anew, and the connection is closed after any error,
    timeout or cancellation.
    """

    def __init__(self, pool: Pool, tenant_id: int) -> None:
        super().__init__()
        self._pool = pool
        self._tenant_id = tenant_id

    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        while True:
            driver = await self._pool.acquire()
            try:
                if driver.tenant_id != self._tenant_id:
                    driver.tenant_id = None
                    await driver.fetch(_SET_TENANT.text, [self._tenant_id])
                    driver.tenant_id = self._tenant_id
                return await driver.fetch(text, arguments)
            except BaseException as error:
                driver.is_usable = False
                # the server closed the connection while nobody used it; a read can be repeated on another one
                is_stale = driver.was_pooled and driver.is_closed and isinstance(error, Unavailable)
                if not is_stale:
                    raise
            finally:
                await self._pool.release(driver)


class BlockRead(SingleRead):
    """Single read in a transaction of its own: behind a pooler, two statements of a session can run on two connections."""

    def __init__(self, begin: Callable[[], AbstractAsyncContextManager[DriverConnection]]) -> None:
        super().__init__()
        self._begin = begin

    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        async with self._begin() as driver:
            return await driver.fetch(text, arguments)
