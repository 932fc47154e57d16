"""Connections of one tenant: those that read or write in a transaction, and those that read with one statement outside of any.

A function's signature says whether it writes: it takes a ReadConnection or a WriteConnection.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from db.audit_entry import COMMITTED, WRITE_AUDIT_AND_QUOTA, audit_and_quota_parameters, audit_parameters
from db.author import Author
from db.computation import Computation, ComputationThread
from db.driver_connection import DriverConnection
from db.errors import Conflict, HeadwaterError, LimitExceeded, Unavailable
from db.rows import Row
from db.sql import Statement, text

T = TypeVar("T")

# A method of a driver that runs text with arguments.
Run = Callable[[str, Sequence[Any]], Awaitable[T]]

_READ_NOW = text("SELECT now() AS now")
# A savepoint in a savepoint may have the same name: the inner one is released first.
_SAVEPOINT, _RELEASE_SAVEPOINT = "SAVEPOINT block", "RELEASE SAVEPOINT block"
_ROLL_BACK_TO_SAVEPOINT = f"ROLLBACK TO SAVEPOINT block; {_RELEASE_SAVEPOINT}"


@dataclass(slots=True)
class QueryStats:
    """Number of statements, rows returned or changed, and seconds spent waiting for the database."""

    statements: int = 0
    rows: int = 0
    seconds: float = 0.0

    def add(self, other: "QueryStats") -> None:
        self.statements += other.statements
        self.rows += other.rows
        self.seconds += other.seconds


class CountedKind(Protocol):
    """Kind of which a tenant may have a limited number."""

    @property
    def name(self) -> str: ...

    @property
    def plural(self) -> str: ...


class Reader(Protocol):
    """The part of a driver connection by which a ReadConnection reads."""

    async def fetch(self, text: str, arguments: Sequence[Any] = ()) -> list[Row]: ...

    def stream(self, text: str, arguments: Sequence[Any]) -> AsyncIterator[Row]: ...


class Writer(Reader, Protocol):
    """The part of a driver connection by which a WriteConnection writes."""

    async def execute(self, text: str, arguments: Sequence[Any] = ()) -> int: ...


class OwnerConnection:
    """Connection of the schema owner, who sees every tenant, in a transaction."""

    def __init__(self, driver: DriverConnection) -> None:
        self._driver = driver

    async def fetch(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Run a statement and return all its rows."""
        return await self._driver.fetch(statement.text, statement.arguments(parameters or {}))

    async def fetch_one(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Run a statement and return its first row, or None if it has none."""
        return next(iter(await self.fetch(statement, parameters)), None)

    async def execute(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> int:
        """Run a statement and return the number of rows it changed."""
        return await self._driver.execute(statement.text, statement.arguments(parameters or {}))


class ReadConnection:
    """Reads one tenant."""

    def __init__(self, reader: Reader, tenant_id: int) -> None:
        self.tenant_id = tenant_id
        # PostgreSQL runs no further statement in a transaction in which one failed.
        self.failure: HeadwaterError | None = None
        self.stats = QueryStats()
        self._reader = reader
        # The instant of a read without `asOf`, by the clock of the database; it advances with writes. None: it was not read, and
        # the statements of this connection take None for the instant at which they begin.
        self.now_if_read: datetime | None = None
        # The fields of assets, and the columns of lineage links, that the reader needs. None: all of them.
        self.asset_fields: frozenset[str] | None = None
        self.link_columns: frozenset[str] | None = None
        # The most links that a count of neighbours needs; it reads one more. None: as many as there are.
        self.counted_links: int | None = None
        self._closed = False
        # Loaders of a request run concurrently, but a connection runs one statement at a time.
        self._lock = asyncio.Lock()
        self._running: asyncio.Task[Any] | None = None
        # links among the assets of walks that were read, for a bound of memory
        self.links_read = 0.0
        # those of a request end with it
        self._computations: tuple[Computation, ...] = ()

    @property
    def now(self) -> datetime:
        """The instant of a read without `asOf`."""
        assert self.now_if_read is not None, "This connection did not read now. Give its statements None as the instant."
        return self.now_if_read

    async def read_now(self) -> None:
        """Read the instant at which the transaction began.

        It is older than the snapshot, which the first statement took. So a write that was acknowledged before this transaction
        began is in the snapshot, at an instant before now. A write that began later can be in the snapshot, but not at now.
        Statements that read at `now()` read at the same instant.
        """
        (row,) = await self._measured(self._reader.fetch, _READ_NOW, None)
        self.now_if_read = row.now

    async def ensure_now(self) -> None:
        """Read the instant at which the transaction began, unless `now` is known already."""
        if self.now_if_read is None:
            (row,) = await self._execute(self._reader.fetch, _READ_NOW, None)
            self.advance_now(row.now)

    async def instant(self, as_of: datetime | None) -> datetime:
        """Return the requested instant, or else now."""
        if as_of is not None:
            return as_of
        await self.ensure_now()
        return self.now

    def advance_now(self, instant: datetime) -> None:
        """Make `now` an instant at least. Writes without an instant happen after the transaction began, so `now` need not be
        known."""
        self.now_if_read = instant if self.now_if_read is None else max(self.now_if_read, instant)

    async def fetch(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Run a statement and return all its rows. The parameters `:tenant` and `:counted_links` are set to those of
        this connection."""
        rows = await self._execute(self._reader.fetch, statement, parameters)
        self.stats.rows += len(rows)
        return rows

    async def fetch_one(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Run a statement and return its first row, or None if it has none."""
        rows = await self._execute(self._reader.fetch, statement, parameters)
        self.stats.rows += bool(rows)
        return rows[0] if rows else None

    async def stream(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[Row]:
        """Run a statement and yield its rows as they arrive. The connection is locked until the last row."""
        async with self._lock:
            async for row in self._reader.stream(statement.text, self._arguments(statement, parameters)):
                yield row

    async def compute(self, thread: ComputationThread, seconds: float, compute: Callable[[Computation], T]) -> T:
        """Run a function in a thread, within a time, and only as long as further statements are accepted."""
        if self._closed:
            raise Unavailable("The request has ended. Nothing further is computed.")
        computation = Computation(seconds)
        self._computations += (computation,)
        try:
            return await thread.run(self.tenant_id, computation, compute)
        finally:
            self._computations = tuple(it for it in self._computations if it is not computation)

    @property
    def is_running(self) -> bool:
        """True while a statement runs."""
        return self._running is not None

    async def idle(self) -> None:
        """Wait until the statements that were begun or queued before have ended."""
        async with self._lock:
            pass

    async def drain(self) -> None:
        """Refuse further statements, end computations, and wait until the running statement has ended."""
        self._cancel_computations()
        async with self._lock:
            self._closed = True

    def cancel(self) -> None:
        """Refuse further statements, end computations, and cancel the running statement in the server."""
        self._closed = True
        self._cancel_computations()
        # A task that is being cancelled already sends the cancellation to the server; a second one would interrupt that.
        if self._running is not None and not self._running.cancelling():
            self._running.cancel()

    def _cancel_computations(self) -> None:
        for computation in self._computations:
            computation.cancel()

    def _arguments(self, statement: Statement, parameters: Mapping[str, Any] | None) -> list[Any]:
        return statement.arguments({"tenant": self.tenant_id, "counted_links": self.counted_links, **(parameters or {})})

    async def _execute(self, run: Run[T], statement: Statement, parameters: Mapping[str, Any] | None) -> T:
        async with self._lock:
            if self.failure is not None:
                raise self.failure
            if self._closed:
                raise Unavailable("The request has ended. No further statement is run.")
            self._running = asyncio.current_task()
            try:
                return await self._measured(run, statement, parameters)
            except BaseException as error:
                self.failure = (
                    error if isinstance(error, HeadwaterError) else Unavailable("An earlier step of this request failed.")
                )
                raise
            finally:
                self._running = None

    async def _measured(self, run: Run[T], statement: Statement, parameters: Mapping[str, Any] | None) -> T:
        started = time.perf_counter()
        try:
            return await run(statement.text, self._arguments(statement, parameters))
        finally:
            self.stats.statements += 1
            self.stats.seconds += time.perf_counter() - started


class WriteConnection(ReadConnection):
    """Reads and writes one tenant on behalf of an author."""

    def __init__(self, driver: Writer, tenant_id: int, author: Author, *, audited: bool = False) -> None:
        super().__init__(driver, tenant_id)
        # The transaction needs an audit entry, which its first statement that appends changes can append.
        self._lacks_audit_entry = audited
        self._has_audit_entry = False
        self._driver = driver
        self.author = author
        # number of identities added, by kind
        self.added: Counter[CountedKind] = Counter()

    async def execute(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> int:
        """Run a statement and return the number of rows it changed."""
        changed = await self._execute(self._driver.execute, statement, parameters)
        self.stats.rows += changed
        return changed

    def audit_entry(self) -> dict[str, Any]:
        """Return the parameters of `tenancy/_audit.sql` for the next statement. Call `note_audit_entry` if it has accepted a
        change, for then it has appended the audit entry that the transaction needs, unless an earlier statement did."""
        return audit_parameters(self.author, COMMITTED if self._lacks_audit_entry else None)

    def note_audit_entry(self) -> None:
        """Note that a statement has appended the audit entry, if the transaction needs one."""
        self._has_audit_entry |= self._lacks_audit_entry
        self._lacks_audit_entry = False

    async def write_audit_and_quota(self, outcome: str) -> None:
        """Append the audit entry, if the transaction has none, and count the identities added. Raise LimitExceeded if the tenant
        has more than its quota allows. This is the last statement of a transaction."""
        # `+` drops kinds of which none were added in the end: another writer added the same identity first, and counted it.
        added = {kind.name: count for kind, count in (+self.added).items()}
        if self._has_audit_entry and not added:
            return
        # further statements may be refused already
        parameters = audit_and_quota_parameters(self.author, None if self._has_audit_entry else outcome, added)
        for exceeded in await self._measured(self._driver.fetch, WRITE_AUDIT_AND_QUOTA, parameters):
            plural = next(kind.plural for kind in self.added if kind.name == exceeded.kind)
            raise LimitExceeded(
                f"The quota of this tenant is {exceeded.allowed} {plural}; with this write it would have {exceeded.used}."
                " Deleted ones count until they are purged.",
                blind=f"This write exceeds the quota of {plural} of this tenant. Deleted ones count until they are purged.",
            )

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Roll back to the start of the block if it raises Conflict, which leaves the transaction usable."""
        added, audit_entry = self.added.copy(), (self._lacks_audit_entry, self._has_audit_entry)
        async with self._lock:
            await self._driver.execute(_SAVEPOINT)
        try:
            yield
        except Conflict:
            async with self._lock:
                await self._driver.execute(_ROLL_BACK_TO_SAVEPOINT)
            self.added = added
            self._lacks_audit_entry, self._has_audit_entry = audit_entry
            self.failure = None
            raise
        async with self._lock:
            await self._driver.execute(_RELEASE_SAVEPOINT)
