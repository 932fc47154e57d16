"""One transaction an operation: opened when first needed, a snapshot for queries, all or nothing for mutations."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

from db.author import Author
from db.connection import ReadConnection, WriteConnection
from db.database import Database
from db.errors import HeadwaterError, Unavailable
from db.query_stats import QueryStats


class _Rollback(Exception):
    """Leaves a transaction without keeping anything of it."""


class Transaction:
    """Lazily opens the connection of one operation. Introspection never needs one."""

    def __init__(self, database: Database, tenant_id: int, author: Author, used: QueryStats, *, writes: bool) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._author = author
        self._used = used
        self._writes = writes
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._connection: ReadConnection | None = None
        self._over = False
        self._given_up = False

    async def reader(self) -> ReadConnection:
        """The connection, to read what the operation sees: in a mutation, its own writes too."""
        async with self._opening:
            if self._over:
                raise Unavailable("This request is over.")
            if self._connection is None:
                opened = (
                    self._database.transaction(self._tenant_id, self._author)
                    if self._writes
                    else self._database.snapshot(self._tenant_id)
                )
                self._connection = await self._stack.enter_async_context(opened)
                # across attempts, one account
                self._used.add(self._connection.stats)
                self._connection.stats = self._used
            return self._connection

    @property
    def opened(self) -> bool:
        """Whether it ever had a connection."""
        return self._connection is not None

    async def writer(self) -> WriteConnection:
        """The connection, to write."""
        connection = await self.reader()
        assert isinstance(connection, WriteConnection), "only mutations write"
        return connection

    async def keep(self) -> None:
        """Keep what was written. Returns when the database has said so."""
        await self._whole(self._keep())

    async def leave(self) -> None:
        """Leave no trace of what was written. A connection that is gone leaves none either."""
        await self._whole(self._leave())

    async def abort(self) -> None:
        """Leave at once: nobody waits for what runs."""
        self._stop()
        await self.leave()

    async def _whole(self, ending: Coroutine[Any, Any, None]) -> None:
        """End, wholly: where nobody waits for it any more, the connection is given back all the same."""
        task = asyncio.ensure_future(ending)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop()
            # what became of it, nobody asks any more
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise

    def _stop(self) -> None:
        self._over = self._given_up = True
        if self._connection is not None:
            self._connection.cancel()

    async def _keep(self) -> None:
        await self._end()
        if self._given_up:
            await self._leave()
            return
        if self._connection is not None and self._connection.failure is not None:
            await self._leave()
            raise Unavailable("A step of this request failed in the database, so nothing of it was kept.")
        try:
            await self._stack.aclose()
        except Unavailable as error:
            raise Unavailable(
                f"{error.message} Whether anything was kept is not known; with an idempotencyKey it is safe to send it again."
            ) from error

    async def _leave(self) -> None:
        await self._end()
        abandoned = _Rollback()
        with suppress(_Rollback, HeadwaterError):
            await self._stack.__aexit__(_Rollback, abandoned, None)

    async def _end(self) -> None:
        """Let what opens or runs come to its end, and nothing more begin: where a non-null field fails, graphql-core answers
        while loaders beside it are still at work."""
        async with self._opening:
            self._over = True
        if self._connection is not None:
            await self._connection.drain()
