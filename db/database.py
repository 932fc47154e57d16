"""The connections of a process: the only module that begins and ends transactions, and reads without one."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import asyncpg

from db.audit_entry import COMMITTED
from db.author import Author
from db.connection import OwnerConnection, ReadConnection, WriteConnection
from db.driver import SERVICE_ROLE, connect_arguments, missing_privilege
from db.driver_connection import DriverConnection, StatementHook, connect
from db.errors import OUTCOME_UNKNOWN, Unavailable
from db.pool import Pool
from db.rows import Row
from db.sql import text

_APPLICATION = "headwater"

_READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_GENERIC_PLANS = "; SET LOCAL plan_cache_mode = force_generic_plan"
_STATUS = text(
    "SELECT version_num, pg_is_in_recovery() OR CAST(current_setting('default_transaction_read_only') AS boolean) AS is_read_only"
    " FROM alembic_version"
)

_SET_TENANT = text("SELECT set_config('headwater.tenant_id', CAST(CAST(:tenant AS bigint) AS text), false)")


class DatabaseStatus(NamedTuple):
    """The schema revision that a database is at, None if it has none, and True if it accepts reads only."""

    revision: str | None
    is_read_only: bool


class Database:
    """Connection pools of one process. Every transaction belongs to one tenant."""

    def __init__(
        self,
        address: str,
        *,
        pool_size: int = 10,
        reserve: int = 0,
        statement_timeout: float = 30,
        lock_timeout: float = 10,
        pool_timeout: float = 10,
        behind_pooler: bool = False,
    ) -> None:
        self.hooks: list[StatementHook] = []
        settings = {
            "role": SERVICE_ROLE,
            "timezone": "UTC",
            "jit": "off",
            "statement_timeout": str(round(statement_timeout * 1000)),
            "lock_timeout": str(round(lock_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(round(statement_timeout * 1000)),
            # A cancel request that arrives before the statement has begun is lost. The server then notices itself that the client
            # has disconnected.
            "client_connection_check_interval": "1s",
        }
        self._behind_pooler = behind_pooler
        # A pooler passes a session on to others after each transaction, so each transaction has to make the settings.
        self._local_settings = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in settings.items() if behind_pooler)
        session_settings = {"application_name": _APPLICATION, **({} if behind_pooler else settings)}

        def pool(size: int, **more_settings: str) -> Pool:
            arguments = connect_arguments(address), {**session_settings, **more_settings}, self.hooks
            return Pool(partial(connect, *arguments, prepares=not behind_pooler), size=size, timeout=pool_timeout)

        # The reserve is for work that admission does not limit, such as authentication: it has to proceed while operations hold
        # all other connections.
        self.pool = pool(pool_size + reserve)
        # Connections for single reads, whose sessions have a tenant. They plan each statement once: PostgreSQL would plan
        # look-ups for each run, for it expects more keys than most have, and that takes longer than the run.
        self.read_pool = pool(pool_size, default_transaction_read_only="on", plan_cache_mode="force_generic_plan")

    def single_read(self, tenant_id: int) -> ReadConnection:
        """Return a connection for one statement, which sees what was committed before. It has no `now`: its statement takes None
        as the instant."""
        if self._behind_pooler:
            return ReadConnection(_BlockRead(lambda: self._block(_READ_ONLY, tenant_id)), tenant_id)
        return ReadConnection(_SessionRead(self.read_pool, tenant_id), tenant_id)

    def single_write(self, tenant_id: int, author: Author) -> WriteConnection | None:
        """Return a connection for one statement that commits by itself and appends its audit entry. Behind a pooler there is
        none."""
        return (
            None if self._behind_pooler else WriteConnection(_SessionWrite(self.pool, tenant_id), tenant_id, author, audited=True)
        )

    @asynccontextmanager
    async def snapshot(
        self, tenant_id: int, *, read_now: bool = True, generic_plans: bool = False, statement_timeout: float | None = None
    ) -> AsyncIterator[ReadConnection]:
        """Open a read-only transaction in which every statement sees the same data. Without `read_now` it costs one round trip
        less, and its statements take None as an instant. With `generic_plans`, a connection plans each statement once. With a
        `statement_timeout` in seconds, that of the connection does not apply."""
        settings = _GENERIC_PLANS if generic_plans else ""
        if statement_timeout is not None:
            settings += f"; SET LOCAL statement_timeout = {round(statement_timeout * 1000)}"
        async with self._block(_READ_ONLY, tenant_id, settings) as driver:
            reader = ReadConnection(driver, tenant_id)
            if read_now:
                await reader.read_now()
            yield reader

    @asynccontextmanager
    async def transaction(
        self, tenant_id: int, author: Author, *, audited: bool = True, read_now: bool = True, generic_plans: bool = False
    ) -> AsyncIterator[WriteConnection]:
        """Open a transaction that commits when the block ends and rolls back when it raises. Unless `audited` is false, it
        appends an audit entry before the commit. Without `read_now`, who needs `now` calls `ensure_now`.

        With `generic_plans`, a connection plans each statement once. PostgreSQL would plan those that write for each run, for it
        expects more rows than a single write has; that takes longer than the run.
        """
        async with self._block("BEGIN", tenant_id, _GENERIC_PLANS if generic_plans else "") as driver:
            writer = WriteConnection(driver, tenant_id, author, audited=audited)
            if read_now:
                await writer.read_now()
            yield writer
            if writer.failure is not None:
                # PostgreSQL would answer COMMIT with a rollback and no error.
                raise writer.failure
            if audited:
                await writer.write_audit_and_quota(COMMITTED)

    async def record_audit(self, tenant_id: int, author: Author, outcome: str) -> None:
        """Append an audit entry for an operation that committed no write: one that failed, or a read."""
        async with self._block("BEGIN", tenant_id) as driver:
            await WriteConnection(driver, tenant_id, author).write_audit_and_quota(outcome)

    @asynccontextmanager
    async def _block(self, begin: str, tenant_id: int | None, settings: str = "") -> AsyncIterator[DriverConnection]:
        """Begin a transaction and set its tenant, with further settings, in one round trip. Commit it at the end, or roll it
        back after an error."""
        # A script has no parameters. SET is not planned, as a call of set_config is. Without a tenant, that of the session is
        # hidden.
        tenant = "" if tenant_id is None else int(tenant_id)
        set_tenant = f"; SET LOCAL headwater.tenant_id = '{tenant}'{settings}"
        driver = await self._begin(f"{begin}{self._local_settings}{set_tenant}")
        try:
            yield driver
            await driver.execute("COMMIT")
        finally:
            try:
                await driver.roll_back()
            finally:
                await self.pool.release(driver)

    async def _begin(self, opening: str) -> DriverConnection:
        """Take a connection and begin a transaction on it. Replace a pooled connection that the server has closed since: it has
        done nothing yet, so this is safe."""
        while True:
            driver = await self.pool.acquire()
            try:
                await driver.execute(opening)
            except BaseException as error:
                driver.is_usable = False
                await self.pool.release(driver)
                if not _was_stale(driver, error):
                    raise
            else:
                return driver

    async def status(self) -> DatabaseStatus:
        """Return the status of the database."""
        async with self._block(_READ_ONLY, None) as driver:
            rows = await driver.fetch(_STATUS.text)
            return DatabaseStatus(str(rows[0].version_num), rows[0].is_read_only) if rows else DatabaseStatus(None, False)

    @property
    def connections_in_use(self) -> int:
        """Number of connections that somebody holds."""
        return self.pool.in_use + self.read_pool.in_use

    async def close(self) -> None:
        await self.pool.close()
        await self.read_pool.close()


class _SingleStatement(ABC):
    """Runs one statement of a tenant. It holds a connection only while the statement runs."""

    def __init__(self) -> None:
        self._has_run = False

    def fetch(self, text: str, arguments: Sequence[Any] = ()) -> Coroutine[Any, Any, list[Row]]:
        """Run the statement and return its rows."""
        assert not self._has_run, "Only one statement runs without a transaction. Open one, or a snapshot, for several."
        self._has_run = True
        return self._fetch(text, arguments)

    def stream(self, text: str, arguments: Sequence[Any]) -> AsyncIterator[Row]:
        raise AssertionError("A statement without a transaction does not stream. Open a snapshot.")

    async def execute(self, text: str, arguments: Sequence[Any] = ()) -> int:
        raise AssertionError("A statement without a transaction returns rows. Open a transaction for others.")

    @abstractmethod
    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        """Run the statement on a connection, and give that back."""


class _SessionStatement(_SingleStatement):
    """Statement without a transaction, on a connection whose session has a tenant.

    The tenant is set once a session, and again only if it changes. A session never has a tenant other than the one that is
    noted: it is noted only after it was set, and forgotten before it is set anew.
    """

    def __init__(self, pool: Pool, tenant_id: int) -> None:
        super().__init__()
        self._pool = pool
        self._tenant_id = tenant_id

    async def _set_tenant(self, driver: DriverConnection) -> None:
        driver.tenant_id = None
        try:
            await driver.fetch(_SET_TENANT.text, [self._tenant_id])
        except BaseException:
            driver.is_usable = False
            raise
        driver.tenant_id = self._tenant_id


class _SessionRead(_SessionStatement):
    """Read on a read-only connection, which is closed after any error, timeout or cancellation."""

    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        while True:
            driver = await self._pool.acquire()
            try:
                if driver.tenant_id != self._tenant_id:
                    await self._set_tenant(driver)
                return await driver.fetch(text, arguments)
            except BaseException as error:
                driver.is_usable = False
                if not _was_stale(driver, error):
                    raise
            finally:
                await self._pool.release(driver)


class _SessionWrite(_SessionStatement):
    """Write that commits by itself, without the round trips that begin and end a transaction.

    It is not repeated if the connection is lost while it runs, for it may have been committed. So a connection that was idle
    shows first that the server still serves it. A refusal leaves the connection as it was: the statement sets nothing.
    """

    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        driver = await self._ready_connection()
        try:
            return await driver.fetch(text, arguments)
        except Unavailable as error:
            if driver.is_closed:
                raise Unavailable(f"{error.message} {OUTCOME_UNKNOWN}") from error
            raise
        finally:
            await self._pool.release(driver)

    async def _ready_connection(self) -> DriverConnection:
        """Take a connection whose session has the tenant."""
        while True:
            driver = await self._pool.acquire()
            if driver.tenant_id == self._tenant_id and not driver.was_idle:
                return driver
            try:
                await self._set_tenant(driver)
            except BaseException as error:
                await self._pool.release(driver)
                if not _was_stale(driver, error):
                    raise
            else:
                return driver


def _was_stale(driver: DriverConnection, error: BaseException) -> bool:
    """True if the server closed a connection while nobody used it."""
    return driver.was_pooled and driver.is_closed and isinstance(error, Unavailable)


class _BlockRead(_SingleStatement):
    """Single read in a transaction of its own: behind a pooler, two statements of a session can run on two connections."""

    def __init__(self, begin: Callable[[], AbstractAsyncContextManager[DriverConnection]]) -> None:
        super().__init__()
        self._begin = begin

    async def _fetch(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        async with self._begin() as driver:
            return await driver.fetch(text, arguments)


@asynccontextmanager
async def owner_transaction(address: str, hooks: Sequence[StatementHook] = ()) -> AsyncIterator[OwnerConnection]:
    """Open a transaction as the schema owner, who sees every tenant and has privileges that the service lacks."""
    driver = await connect(connect_arguments(address), {}, hooks)
    try:
        await driver.execute("BEGIN")
        yield OwnerConnection(driver)
        await driver.execute("COMMIT")
    except asyncpg.InsufficientPrivilegeError as error:
        raise missing_privilege(error) from error
    finally:
        # the server rolls back what was not committed
        await driver.close()
