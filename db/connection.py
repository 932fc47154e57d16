"""Connections of one tenant inside a transaction: one that reads, one that writes.

A function's signature says whether it writes: it takes a ReadConnection or a WriteConnection.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import CursorResult, Executable, Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.audit_entry import WRITE_AUDIT_AND_QUOTA, audit_parameters
from db.author import Author
from db.driver import translated_errors
from db.errors import Conflict, HeadwaterError, LimitExceeded, Unavailable
from db.query_stats import QueryStats

# Rows that a stream fetches at a time.
_STREAM_BATCH_SIZE = 1_000

_SET_TENANT = text(
    "SELECT set_config('headwater.tenant_id', CAST(CAST(:tenant AS bigint) AS text), true), clock_timestamp() AS now"
)


class CountedKind(Protocol):
    """Kind of which a tenant may have a limited number."""

    @property
    def name(self) -> str: ...

    @property
    def plural(self) -> str: ...


class ReadConnection:
    """Reads one tenant. `now` is the instant of a read without `asOf`, by the clock of the database."""

    def __init__(self, connection: AsyncConnection, tenant_id: int) -> None:
        self.tenant_id = tenant_id
        self.now: datetime
        # PostgreSQL runs no further statement in a transaction in which one failed.
        self.failure: HeadwaterError | None = None
        self.stats = QueryStats()
        self._connection = connection
        self._closed = False
        # Loaders of a request run concurrently, but a connection runs one statement at a time.
        self._lock = asyncio.Lock()
        self._running: asyncio.Task[Any] | None = None

    async def set_tenant(self) -> None:
        """Set the tenant of the transaction, and read the clock. This is the first statement of a transaction."""
        row = (await self._execute(_SET_TENANT, None)).one()
        self.now = row.now

    async def fetch(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run a statement and return all its rows. The parameter `:tenant` is set to the tenant of this connection."""
        rows = (await self._execute(statement, parameters)).all()
        self.stats.rows += len(rows)
        return rows

    async def fetch_one(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """Run a statement and return its first row, or None if it has none."""
        row = (await self._execute(statement, parameters)).first()
        self.stats.rows += row is not None
        return row

    async def stream(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[Row[Any]]:
        """Run a statement and yield its rows as they arrive. The connection is locked until the last row."""
        options = {"yield_per": _STREAM_BATCH_SIZE}
        async with self._lock:
            with translated_errors():
                with_tenant = {"tenant": self.tenant_id, **(parameters or {})}
                async with self._connection.stream(statement, with_tenant, execution_options=options) as rows:
                    async for row in rows:
                        yield row

    async def idle(self) -> None:
        """Wait until the statements that were begun or queued before have ended."""
        async with self._lock:
            pass

    async def drain(self) -> None:
        """Refuse further statements, and wait until the running one has ended."""
        async with self._lock:
            self._closed = True

    def cancel(self) -> None:
        """Refuse further statements, and cancel the running one in the server."""
        self._closed = True
        # A task that is being cancelled already sends the cancellation to the server; a second one would interrupt that.
        if self._running is not None and not self._running.cancelling():
            self._running.cancel()

    async def _execute(self, statement: Executable, parameters: Mapping[str, Any] | None) -> CursorResult[Any]:
        async with self._lock:
            if self.failure is not None:
                raise self.failure
            if self._closed:
                raise Unavailable("The request has ended. No further statement is run.")
            self._running = asyncio.current_task()
            try:
                return await self._run(statement, parameters)
            except BaseException as error:
                self.failure = (
                    error if isinstance(error, HeadwaterError) else Unavailable("An earlier step of this request failed.")
                )
                raise
            finally:
                self._running = None

    async def _run(self, statement: Executable, parameters: Mapping[str, Any] | None) -> CursorResult[Any]:
        started = time.perf_counter()
        try:
            with translated_errors():
                return await self._connection.execute(statement, {"tenant": self.tenant_id, **(parameters or {})})
        finally:
            self.stats.statements += 1
            self.stats.seconds += time.perf_counter() - started


class WriteConnection(ReadConnection):
    """Reads and writes one tenant on behalf of an author."""

    def __init__(self, connection: AsyncConnection, tenant_id: int, author: Author) -> None:
        super().__init__(connection, tenant_id)
        self.author = author
        # number of identities added, by kind
        self.added: Counter[CountedKind] = Counter()

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> int:
        """Run a statement and return the number of rows it changed."""
        changed = (await self._execute(statement, parameters)).rowcount
        self.stats.rows += changed
        return changed

    async def write_audit_and_quota(self, outcome: str) -> None:
        """Append the audit entry and count the identities added. Raise LimitExceeded if the tenant has more than its quota
        allows. This is the last statement of a transaction."""
        # `+` drops kinds of which none were added in the end: another writer added the same identity first, and counted it.
        added = {kind.name: count for kind, count in (+self.added).items()}
        exceeded = (await self._run(WRITE_AUDIT_AND_QUOTA, audit_parameters(self.author, outcome, added))).first()
        if exceeded is not None:
            plural = next(kind.plural for kind in self.added if kind.name == exceeded.kind)
            raise LimitExceeded(
                f"The quota of this tenant is {exceeded.allowed} {plural}; with this write it would have {exceeded.used}."
                " Deleted ones count until they are purged."
            )

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Roll back to the start of the block if it raises Conflict, which leaves the transaction usable."""
        added = self.added.copy()
        async with self._lock:
            savepoint = await self._connection.begin_nested()
        try:
            yield
        except Conflict:
            async with self._lock:
                await savepoint.rollback()
            self.added = added
            self.failure = None
            raise
        async with self._lock:
            await savepoint.commit()
