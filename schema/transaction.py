"""One transaction an operation: opened when first needed, a snapshot for queries, all or nothing for mutations."""

import asyncio
from contextlib import AsyncExitStack

from db.connection import Author, Database, ReadConnection, WriteConnection


class Abandoned(Exception):
    """Leaves a transaction without keeping anything of it."""


class Transaction:
    """Lazily opens the connection of one operation. Introspection never needs one."""

    def __init__(self, database: Database, tenant_id: int, author: Author, *, writes: bool) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._author = author
        self._writes = writes
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._connection: ReadConnection | None = None

    async def reader(self) -> ReadConnection:
        """The connection, to read what the operation sees: in a mutation, its own writes too."""
        async with self._opening:
            if self._connection is None:
                opened = (
                    self._database.transaction(self._tenant_id, self._author)
                    if self._writes
                    else self._database.snapshot(self._tenant_id)
                )
                self._connection = await self._stack.enter_async_context(opened)
            return self._connection

    async def writer(self) -> WriteConnection:
        """The connection, to write."""
        connection = await self.reader()
        assert isinstance(connection, WriteConnection), "only mutations write"
        return connection

    async def end(self, *, keep: bool) -> None:
        """Keep what was written, or leave no trace of it. Returns when the database has said so."""
        if keep:
            await self._stack.aclose()
            return
        abandoned = Abandoned()
        try:
            await self._stack.__aexit__(Abandoned, abandoned, None)
        except Abandoned:
            return
