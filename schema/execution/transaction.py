"""The transaction of an operation: a snapshot for a query, one atomic transaction for a mutation."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any, TypeVar

from db.author import Author
from db.connection import QueryStats, ReadConnection, WriteConnection
from db.database import Database
from db.errors import OUTCOME_UNKNOWN, HeadwaterError, Unavailable
from schema.planning.plan import Plan

T = TypeVar("T")


class _Rollback(Exception):
    """Raised in a transaction to roll it back."""


class Transaction:
    """Transaction of one attempt at an operation, begun by the first resolver that needs a connection."""

    def __init__(
        self,
        database: Database,
        tenant_id: int,
        author: Author | None,
        stats: QueryStats,
        *,
        writes: bool,
        plan: Plan | None = None,
        counted_links: int | None = None,
        is_prefetched: bool = False,
    ) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._author = author
        self._stats = stats
        self._writes = writes
        self._plan = plan
        self._counted_links = counted_links
        # it runs one statement, which holds a connection only while it runs
        self.is_single_read = is_prefetched or (plan is not None and plan.is_single_read)
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._connection: ReadConnection | None = None
        self._closed = False
        self._cancelled = False
        self._is_sealed = False
        # the only write has committed by itself
        self.is_committed = False
        # a connection was needed after all data should have been fetched
        self.was_reopened = False

    async def reader(self) -> ReadConnection:
        """Return the connection for reading. In a mutation it sees the mutation's writes."""
        connection = await self._connect()
        if self._writes:
            await connection.ensure_now()
        return connection

    async def _connect(self) -> ReadConnection:
        """Return the connection. That of a mutation may not know `now` yet."""
        if self.is_single_read:
            # to open it takes no time, so there is nothing to lock
            self._refuse_after_end()
            return self._connection or self._use(self._database.single_read(self._tenant_id))
        async with self._opening:
            self._refuse_after_end()
            return self._connection or self._use(await self._stack.enter_async_context(self._begin()))

    def _begin(self) -> AbstractAsyncContextManager[ReadConnection]:
        """Return the block of the transaction."""
        if not self._writes:
            return self._database.snapshot(self._tenant_id, read_now=False, generic_plans=True)
        assert self._author is not None, "a write has an author"
        return self._database.transaction(self._tenant_id, self._author, read_now=False, generic_plans=True)

    def _refuse_after_end(self) -> None:
        if self._closed:
            raise Unavailable("The request has ended.")
        if self._is_sealed:
            self.was_reopened = True
            raise Unavailable("The prefetch of the operation was incomplete.")

    def _use(self, connection: ReadConnection) -> ReadConnection:
        """Note the connection, and what it shares with the operation."""
        self._connection = connection
        connection.counted_links = self._counted_links
        if self._plan is not None and not self._writes:
            connection.link_columns = self._plan.link_columns
            connection.asset_fields = self._plan.asset_fields
        # all attempts at an operation share their statistics
        self._stats.add(connection.stats)
        connection.stats = self._stats
        if self._cancelled:
            # the operation was cancelled while the transaction began
            connection.cancel()
        return connection

    def read_once(self) -> bool:
        """Read the next statement without a transaction, and no further one, if only one field of the plan reads and nothing was
        read yet. Return True if so."""
        if (
            not self._writes
            and self._plan is not None
            and self._plan.has_sole_user
            and not self.opened
            and not self._opening.locked()
        ):
            self.is_single_read = True
        return self.is_single_read

    def seal(self) -> None:
        """Refuse further statements: all data was fetched, and others would see another state of the database."""
        self._is_sealed = True

    @property
    def opened(self) -> bool:
        """True if the transaction was begun."""
        return self._connection is not None

    async def writer(self, *, read_now: bool = True) -> WriteConnection:
        """Return the connection for writing. Without `read_now`, who needs `now` calls `ensure_now`."""
        connection = await (self.reader() if read_now else self._connect())
        assert isinstance(connection, WriteConnection), "only mutations write"
        return connection

    async def write_at_once(self, write: Callable[[WriteConnection], Awaitable[T | None]]) -> T | None:
        """Run a write that takes one statement, which commits by itself, if only one field of the plan uses the database.

        Return None if that is not possible, or if the write returned None, for which it has written nothing.
        """
        assert self._author is not None, "an operation that writes has an author"
        if self._plan is None or not self._plan.has_sole_user or self.opened or self._opening.locked():
            return None
        self._refuse_after_end()
        connection = self._database.single_write(self._tenant_id, self._author)
        if connection is None:
            return None
        self._use(connection)
        written = await write(connection)
        if written is None:
            self._connection = None
        else:
            self.is_committed = True
        return written

    async def commit(self) -> None:
        """Commit. Return when the database has confirmed it."""
        if self.is_committed:
            self._closed = True
            return
        await self._shielded(self._commit())

    async def rollback(self) -> None:
        """Roll back. An error of the connection is ignored: a lost connection rolls back as well."""
        if not self._opening.locked() and (self._connection is None or (self.is_single_read and not self._connection.is_running)):
            # there is nothing to wait for, and no connection to give back
            self._closed = True
            return
        await self._shielded(self._roll_back())

    async def abort(self) -> None:
        """Cancel the statement that runs, and roll back."""
        self._cancel()
        await self.rollback()

    async def _shielded(self, ending: Coroutine[Any, Any, None]) -> None:
        """End the transaction. If the caller is cancelled, the connection still returns to the pool."""
        task = asyncio.ensure_future(ending)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cancel()
            # mark an exception as retrieved: asyncio logs one that nobody awaits
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise

    def _cancel(self) -> None:
        self._closed = self._cancelled = True
        if self._connection is not None:
            self._connection.cancel()

    async def _commit(self) -> None:
        await self._close()
        if self._cancelled:
            await self._roll_back()
            return
        if self._connection is not None and self._connection.failure is not None:
            await self._roll_back()
            raise Unavailable("A statement of this request failed in the database. Nothing was committed.")
        try:
            await self._stack.aclose()
        except Unavailable as error:
            raise Unavailable(f"{error.message} {OUTCOME_UNKNOWN}") from error

    async def _roll_back(self) -> None:
        await self._close()
        rollback = _Rollback()
        with suppress(_Rollback, HeadwaterError):
            await self._stack.__aexit__(_Rollback, rollback, None)

    async def _close(self) -> None:
        """Accept no more statements, and wait for those that run: when a non-null field fails, graphql-core answers while loaders
        of other fields still work."""
        async with self._opening:
            self._closed = True
        if self._connection is not None:
            await self._connection.drain()
