"""The connection pool, and the only module that begins and ends transactions."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from db.audit_entry import COMMITTED
from db.author import Author
from db.connection import ReadConnection, WriteConnection
from db.driver import SERVICE_ROLE, driver_address, translated_errors
from db.errors import Unavailable

_INSUFFICIENT_PRIVILEGE = "42501"

_REVISION = text("SELECT version_num FROM alembic_version")

C = TypeVar("C", bound=ReadConnection)


class Database:
    """Connection pool of one process. Every transaction belongs to one tenant."""

    def __init__(
        self,
        address: str,
        *,
        pool_size: int = 10,
        reserve: int = 0,
        statement_timeout: float = 30,
        lock_timeout: float = 10,
        pool_timeout: float = 10,
    ) -> None:
        self.engine: AsyncEngine = create_async_engine(
            driver_address(address),
            pool_size=pool_size,
            # Connections for work that admission does not limit, such as authentication: it has to proceed while operations
            # hold the whole pool.
            max_overflow=reserve,
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
                    # A cancel request that arrives before the statement has begun is lost. The server then notices itself that
                    # the client has disconnected.
                    "client_connection_check_interval": "1s",
                }
            },
        )

    @asynccontextmanager
    async def snapshot(self, tenant_id: int) -> AsyncIterator[ReadConnection]:
        """Open a read-only transaction in which every statement sees the same data."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self._transaction(lambda connection: ReadConnection(connection, tenant_id), options) as reader:
            yield reader

    @asynccontextmanager
    async def transaction(self, tenant_id: int, author: Author, *, audited: bool = True) -> AsyncIterator[WriteConnection]:
        """Open a transaction that commits when the block ends and rolls back when it raises. Unless `audited` is false, it
        appends an audit entry before the commit."""
        async with self._transaction(lambda connection: WriteConnection(connection, tenant_id, author), {}) as writer:
            yield writer
            if writer.failure is not None:
                # PostgreSQL would answer COMMIT with a rollback and no error.
                raise writer.failure
            if audited:
                await writer.write_audit_and_quota(COMMITTED)

    async def record_audit(self, tenant_id: int, author: Author, outcome: str) -> None:
        """Append an audit entry for an operation that committed no write: one that failed, or a read."""
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
                # Closing rolls back a transaction that was not committed.
                await connection.close()

    async def _begin(self, wrap: Callable[[AsyncConnection], C], options: dict[str, Any]) -> tuple[AsyncConnection, C]:
        """Take a connection and begin a transaction on it. Replace a pooled connection that the server has closed since: it has
        done nothing yet, so this is safe."""
        while True:
            connection = await self.engine.connect()
            try:
                await connection.execution_options(**options)
                wrapped = wrap(connection)
                await wrapped.set_tenant()
            except BaseException as error:
                stale = connection.invalidated
                await connection.close()
                if not (stale and isinstance(error, Unavailable)):
                    raise
            else:
                return connection, wrapped

    async def revision(self) -> str | None:
        """Return the schema revision that the database is at."""
        with translated_errors():
            async with self.engine.connect() as connection:
                revision: str | None = await connection.scalar(_REVISION)
                return revision

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def owner_transaction(address: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction as the schema owner, who sees every tenant and has privileges that the service lacks."""
    engine = create_async_engine(driver_address(address), poolclass=NullPool)
    try:
        with translated_errors():
            async with engine.begin() as connection:
                yield connection
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
            raise Unavailable(
                f"This database user lacks a privilege: {error.orig}. Use the user that owns the tables."
            ) from error
        raise
    finally:
        await engine.dispose()
