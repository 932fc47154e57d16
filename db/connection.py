"""Connections: a snapshot that reads, a transaction that writes, each of one tenant.

Nothing below this module opens or ends a transaction, and a function's signature says whether it writes.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import CursorResult, Executable, Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from db.driver import SERVICE_ROLE, driver_address, translated_errors
from db.errors import Conflict, HeadwaterError, LimitExceeded, Unavailable
from db.sql import statement

INSUFFICIENT_PRIVILEGE = "42501"

# How many rows of a stream come at once.
_ROWS_AT_ONCE = 1_000

_ENTER = text("SELECT set_config('headwater.tenant_id', CAST(CAST(:tenant AS bigint) AS text), true), clock_timestamp() AS now")

_WRITE_AUDIT_AND_QUOTA = statement("write_audit_and_quota")

_REVISION = text("SELECT version_num FROM alembic_version")


# What the audit has of a write that is kept, else it has the code of why not; and of what was only read.
COMMITTED, READ = "COMMITTED", "READ"

_ADDED = {"PRODUCT": "products", "ENTITY": "entities", "LINK": "lineage links", "RELATIONSHIP": "relationships"}


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, and in which request: the log keeps both. The audit keeps by which credential, and what was asked for, too."""

    actor: str
    request_id: str | None = None
    operation: str = "write"
    credential: str = "none"
    # whether it acts in a tenant that is not its own
    operator: bool = False
    # where it may write; None: anywhere
    domains: frozenset[str] | None = None


@dataclass(slots=True)
class QueryStats:
    """What a connection was used for so far."""

    statements: int = 0
    rows: int = 0
    seconds: float = 0.0

    def add(self, other: "QueryStats") -> None:
        self.statements += other.statements
        self.rows += other.rows
        self.seconds += other.seconds


class ReadConnection:
    """Reads one tenant. `now` is the instant that a read without asOf is of, by the database's clock."""

    def __init__(self, connection: AsyncConnection, tenant_id: int) -> None:
        self.tenant_id = tenant_id
        self.now: datetime
        # PostgreSQL runs nothing more in a transaction in which a statement failed
        self.failure: HeadwaterError | None = None
        self.stats = QueryStats()
        self._connection = connection
        self._closed = False
        # Loaders of one request run at the same time; the wire carries one statement at a time.
        self._lock = asyncio.Lock()
        self._running: asyncio.Task[Any] | None = None

    async def fetch(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one statement and give all its rows. Its `:tenant` is this connection's."""
        rows = (await self._execute(statement, parameters)).all()
        self.stats.rows += len(rows)
        return rows

    async def fetch_one(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Row[Any] | None:
        row = (await self._execute(statement, parameters)).first()
        self.stats.rows += row is not None
        return row

    async def stream(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[Row[Any]]:
        """Run one statement and give its rows as they come, so that nobody has to hold them all. Nothing else runs meanwhile."""
        options = {"yield_per": _ROWS_AT_ONCE}
        async with self._lock:
            with translated_errors():
                named = {"tenant": self.tenant_id, **(parameters or {})}
                async with self._connection.stream(statement, named, execution_options=options) as rows:
                    async for row in rows:
                        yield row

    async def drain(self) -> None:
        """Wait for the statement that runs, if one does, and begin no other."""
        async with self._lock:
            self._closed = True

    def cancel(self) -> None:
        """Have the server end the statement that runs, if one does, and begin no other."""
        self._closed = True
        # whoever is being cancelled already is just telling the server so
        if self._running is not None and not self._running.cancelling():
            self._running.cancel()

    async def _enter(self) -> None:
        row = (await self._execute(_ENTER, None)).one()
        self.now = row.now

    async def _execute(self, statement: Executable, parameters: Mapping[str, Any] | None) -> CursorResult[Any]:
        async with self._lock:
            if self.failure is not None:
                raise self.failure
            if self._closed:
                raise Unavailable("This request is over.")
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
    """Reads and writes one tenant, on behalf of an author."""

    def __init__(self, connection: AsyncConnection, tenant_id: int, author: Author) -> None:
        super().__init__(connection, tenant_id)
        self.author = author
        # how many identities of each kind were given
        self.added: Counter[str] = Counter()

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> int:
        """Run one statement and give the number of rows it touched."""
        touched = (await self._execute(statement, parameters)).rowcount
        self.stats.rows += touched
        return touched

    async def write_audit_and_quota(self, outcome: str) -> None:
        """Tell the audit what came of it, and count what was added; more than the tenant may have is refused. Nothing comes
        after."""
        author = self.author
        # what another writer was first to add counts there
        added = +self.added
        entry = {
            "actor": author.actor,
            "credential": author.credential,
            "operator": author.operator,
            "operation": author.operation,
            "outcome": outcome,
            "request_id": author.request_id,
            "kinds": list(added),
            "added": list(added.values()),
        }
        exceeded = (await self._run(_WRITE_AUDIT_AND_QUOTA, entry)).first()
        if exceeded is not None:
            raise LimitExceeded(
                f"This tenant may have {exceeded.allowed} {_ADDED[exceeded.kind]}, and with this it would have {exceeded.stats}."
                " What was deleted counts until it is purged."
            )

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What meets a conflict in it is undone by itself, and the transaction goes on."""
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


C = TypeVar("C", bound=ReadConnection)


class Database:
    """The pool of one process, and the only place where transactions begin and end."""

    def __init__(
        self,
        address: str,
        *,
        pool_size: int = 10,
        spare: int = 0,
        statement_timeout: float = 30,
        lock_timeout: float = 10,
        pool_timeout: float = 10,
    ) -> None:
        self.engine: AsyncEngine = create_async_engine(
            driver_address(address),
            pool_size=pool_size,
            # for what takes no turn among operations, and has to get through while these hold the whole pool
            max_overflow=spare,
            pool_timeout=pool_timeout,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "server_settings": {
                    "application_name": "headwater",
                    "role": SERVICE_ROLE,
                    "timezone": "UTC",
                    "jit": "off",
                    "statement_timeout": str(round(statement_timeout * 1000)),
                    "lock_timeout": str(round(lock_timeout * 1000)),
                    "idle_in_transaction_session_timeout": str(round(statement_timeout * 1000)),
                    # a cancellation that comes before the server has begun is lost; then it sees by itself that nobody is there
                    "client_connection_check_interval": "1s",
                }
            },
        )

    @asynccontextmanager
    async def snapshot(self, tenant_id: int) -> AsyncIterator[ReadConnection]:
        """One instant of one tenant: every statement in it sees the same data, and none can write."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self._transaction(lambda connection: ReadConnection(connection, tenant_id), options) as reader:
            yield reader

    @asynccontextmanager
    async def transaction(self, tenant_id: int, author: Author, *, audited: bool = True) -> AsyncIterator[WriteConnection]:
        """One transaction of one tenant: committed when the block ends, rolled back whole when it raises. The audit is told of
        it, unless it is mere bookkeeping."""
        async with self._transaction(lambda connection: WriteConnection(connection, tenant_id, author), {}) as writer:
            yield writer
            if writer.failure is not None:
                # PostgreSQL would answer COMMIT with a rollback and no error
                raise writer.failure
            if audited:
                await writer.write_audit_and_quota(COMMITTED)

    async def record_audit(self, tenant_id: int, author: Author, outcome: str) -> None:
        """Tell the audit of what left no other trace."""
        async with self._transaction(lambda connection: WriteConnection(connection, tenant_id, author), {}) as writer:
            await writer.write_audit_and_quota(outcome)

    @asynccontextmanager
    async def _transaction(self, wrap: Callable[[AsyncConnection], C], options: dict[str, Any]) -> AsyncIterator[C]:
        with translated_errors():
            connection, wrapped = await self._begin(wrap, options)
            try:
                yield wrapped
                await connection.commit()
            finally:
                # closing rolls back what was not committed
                await connection.close()

    async def _begin(self, wrap: Callable[[AsyncConnection], C], options: dict[str, Any]) -> tuple[AsyncConnection, C]:
        """A connection inside a transaction. One that died in the pool is replaced: nothing was done on it yet."""
        while True:
            connection = await self.engine.connect()
            try:
                await connection.execution_options(**options)
                wrapped = wrap(connection)
                await wrapped._enter()
            except BaseException as error:
                stale = connection.invalidated
                await connection.close()
                if not (stale and isinstance(error, Unavailable)):
                    raise
            else:
                return connection, wrapped

    async def revision(self) -> str | None:
        """The schema the database is at, as the service sees it."""
        with translated_errors():
            async with self.engine.connect() as connection:
                revision: str | None = await connection.scalar(_REVISION)
                return revision

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def owner_transaction(address: str) -> AsyncIterator[AsyncConnection]:
    """One transaction as whoever owns the schema: that sees every tenant, and may do what the service may not."""
    engine = create_async_engine(driver_address(address), poolclass=NullPool)
    try:
        with translated_errors():
            async with engine.begin() as connection:
                yield connection
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == INSUFFICIENT_PRIVILEGE:
            raise Unavailable(f"This database user may not do that: {error.orig}. Use the one that owns the tables.") from error
        raise
    finally:
        await engine.dispose()
