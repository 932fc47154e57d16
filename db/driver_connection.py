"""Connections of the driver: they run text with arguments, return rows with named columns, and raise domain errors."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from typing import Any

import asyncpg
import orjson

from db.driver import domain_error, is_unencodable, remove_values, translated_errors
from db.errors import HeadwaterError, ReadOnly
from db.rows import Row
from db.sql import MAX_SHAPES

# Rows that a stream fetches at a time.
_STREAM_BATCH_SIZE = 1_000

# Seconds that a connection has to end in an orderly way, which includes that the server confirms a cancellation.
_CLOSE_TIMEOUT = 2.0

# Seconds after which an idle connection is asked if it is still there before a write that could not be repeated.
_IDLE_AFTER = 1.0

# The binary form of jsonb is a version, which is 1, and the text.
_JSONB_VERSION = b"\x01"


class StatementHook:
    """Observer of all statements that connections run, those that begin and end a transaction included. Tests have such hooks."""

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        """Return the text that is run. It is sent as a script if the arguments are None, else as a prepared statement."""
        return text

    def failed(self, text: str, error: BaseException) -> None:
        """Observe the error of a statement."""


class DriverConnection:
    """A connection to the server that a pool keeps."""

    __slots__ = ("_connection", "_hooks", "_released_at", "is_usable", "tenant_id")

    def __init__(self, connection: "asyncpg.Connection[Row]", hooks: Sequence[StatementHook]) -> None:
        self._connection = connection
        self._hooks = hooks
        # The tenant of the session, outside of a transaction; None if it is not known for certain.
        self.tenant_id: int | None = None
        # False after an error that leaves the state of the connection unknown, such as a cancellation.
        self.is_usable = True
        self._released_at: float | None = None

    @property
    def was_pooled(self) -> bool:
        """True once it was given back. The server may have closed it since."""
        return self._released_at is not None

    @property
    def was_idle(self) -> bool:
        """True if it was given back so long ago that the server may well have closed it since."""
        return self._released_at is not None and time.monotonic() - self._released_at > _IDLE_AFTER

    def note_release(self) -> None:
        """Note that it was given back."""
        self._released_at = time.monotonic()

    @property
    def is_closed(self) -> bool:
        return self._connection.is_closed()

    async def fetch(self, text: str, arguments: Sequence[Any] = ()) -> list[Row]:
        """Run a statement, which is prepared once a connection, and return its rows."""
        try:
            if self._hooks:
                text = await self._observed(text, arguments)
            return await self._connection.fetch(text, *arguments)
        except BaseException as error:
            translated = self._translated(text, error)
            if translated is None:
                raise
            raise translated from error

    async def execute(self, text: str, arguments: Sequence[Any] = ()) -> int:
        """Run a statement and return the number of rows it changed. Without arguments, it is a script of one or more statements,
        in one round trip."""
        try:
            if self._hooks:
                text = await self._observed(text, arguments or None)
            status = await self._connection.execute(text, *arguments)
        except BaseException as error:
            translated = self._translated(text, error)
            if translated is None:
                raise
            raise translated from error
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def stream(self, text: str, arguments: Sequence[Any]) -> AsyncIterator[Row]:
        """Run a statement in a transaction and yield its rows as they arrive."""
        try:
            if self._hooks:
                text = await self._observed(text, arguments)
            async for row in self._connection.cursor(text, *arguments, prefetch=_STREAM_BATCH_SIZE):
                yield row
        except GeneratorExit:
            # the reader wants no more rows; the end of the transaction closes the cursor
            raise
        except BaseException as error:
            translated = self._translated(text, error)
            if translated is None:
                raise
            raise translated from error

    async def roll_back(self) -> None:
        """End the transaction, if one is open and the connection can still do so."""
        if self.is_usable and self._connection.is_in_transaction():
            await self.execute("ROLLBACK")

    async def close(self) -> None:
        """Close the connection. A statement that runs is cancelled in the server."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self._connection.terminate()

    async def _observed(self, text: str, arguments: Sequence[Any] | None) -> str:
        for hook in self._hooks:
            text = await hook.before(self._connection, text, arguments)
        return text

    def _translated(self, text: str, error: BaseException) -> HeadwaterError | None:
        """Note the consequences of an error for the connection. Return it as a domain error; None: it is unexpected."""
        for hook in self._hooks:
            hook.failed(text, error)
        # A refusal by the server, or of a value by the driver, leaves the connection as it was.
        refused = isinstance(error, asyncpg.PostgresError) or is_unencodable(error)
        lost = self._connection.is_closed()
        if not refused or lost or isinstance(error, asyncpg.PostgresConnectionError):
            self.is_usable = False
        translated = domain_error(error, connection_lost=lost) if isinstance(error, Exception) else None
        if isinstance(translated, ReadOnly):
            # an address with several hosts may lead to another server, which accepts writes
            self.is_usable = False
        remove_values(error)
        return translated


def _encode_jsonb(value: Any) -> bytes:
    return _JSONB_VERSION + orjson.dumps(value)


def _decode_jsonb(value: bytes) -> Any:
    return orjson.loads(value[1:])


async def connect(
    arguments: dict[str, Any], server_settings: dict[str, str], hooks: Sequence[StatementHook] = (), *, prepares: bool = True
) -> DriverConnection:
    """Connect. Values of jsonb are Python values in both directions. Unless `prepares` is false, statements stay prepared."""
    with translated_errors():
        connection = await asyncpg.connect(
            **arguments,
            server_settings=server_settings,
            record_class=Row,
            statement_cache_size=MAX_SHAPES if prepares else 0,
            # statements are kept until others take their place, whatever their age and length
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
        )
        try:
            # behind a pooler, the two steps of a statement that stays not prepared have to meet on one connection
            async with nullcontext() if prepares else connection.transaction():
                await connection.set_type_codec(
                    "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
                )
        except BaseException:
            connection.terminate()
            raise
    return DriverConnection(connection, hooks)
