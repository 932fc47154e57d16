"""Run each row once per sample as the service does, and record the statements and the response.

The recorder wraps asyncpg, below SQLAlchemy, so that it sees the statements that open and end a transaction in their order, and
statements that do not go through SQLAlchemy.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from sqlalchemy import event

from db.database import Database
from graph_api.auth.principals import OPEN_PRINCIPAL
from schema.execution.executor import Executor, Request
from schema.root import schema
from tests.bench.data import plain_address, settings_for
from tests.bench.replay import encode
from tests.bench.rows import Row

SentStatement = tuple[str, tuple[Any, ...] | None]


class NotRecordable(Exception):
    """The operation of a row failed, so there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The statements of one request with their parameters encoded as JSON, and the body of the response."""

    statements: list[tuple[str, list[Any] | None]]
    response: dict[str, Any]


@dataclass(slots=True)
class Recording:
    """Recorded statements and responses that the baseline server replays."""

    pool_size: int
    server_settings: dict[str, str]
    rows: dict[str, list[Sample]] = field(default_factory=dict)

    def json(self) -> bytes:
        return orjson.dumps(self)


async def record(address: str, rows: Iterable[Row], *, most_samples: int) -> Recording:
    """Record these rows. Those that write change the database."""
    settings = settings_for(address)
    database = Database(address, pool_size=1)
    sent: list[SentStatement] = []
    _record_statements(database, sent)
    executor = Executor(schema, database, settings.limits)
    clock = await asyncpg.connect(plain_address(address))
    try:
        # what a new connection asks about itself is not part of an operation
        await database.revision()
        recording = Recording(settings.pool_size, await _server_settings(database))
        for row in rows:
            recording.rows[row.name] = [
                await _sample(executor, row, number, sent, clock) for number in range(min(row.samples, most_samples))
            ]
        return recording
    finally:
        await clock.close()
        await database.close()


async def _sample(
    executor: Executor, row: Row, number: int, sent: list[SentStatement], clock: "asyncpg.Connection[asyncpg.Record]"
) -> Sample:
    sent.clear()
    since: datetime = await clock.fetchval("SELECT clock_timestamp()")
    request_id = str(uuid4())
    result = await executor.execute(Request(row.document, row.variables(number)), OPEN_PRINCIPAL, request_id)
    until: datetime = await clock.fetchval("SELECT clock_timestamp()")
    if result.errors:
        raise NotRecordable(f"{row.name}: {result.errors}")
    statements = [
        (sql, None if parameters is None else [encode(it, since, until) for it in parameters]) for sql, parameters in sent
    ]
    assert result.cost is not None, "the cost of an executed operation is known"
    extensions = {"requestId": request_id, "cost": asdict(result.cost)}
    return Sample(statements, {"data": result.data, "extensions": extensions})


async def _server_settings(database: Database) -> dict[str, str]:
    """Return the settings that the service sets when it connects, the role included. The baseline server sets the same."""
    async with database.engine.connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT name, setting FROM pg_settings WHERE source = 'client' AND name <> 'client_encoding'"
        )
        settings = {row.name: row.setting for row in rows}
        role = (await connection.exec_driver_sql("SELECT CAST(current_user AS text)")).scalar_one()
    return {**settings, "role": role, "application_name": "headwater-bench"}


class _Prepared:
    """A prepared statement that records when it is run."""

    def __init__(self, statement: Any, sql: str, sent: list[SentStatement]) -> None:
        self._statement = statement
        self._sql = sql
        self._sent = sent

    async def fetch(self, *args: Any, **options: Any) -> Any:
        self._sent.append((self._sql, args))
        return await self._statement.fetch(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name in ("get_attributes", "get_statusmsg", "get_name", "get_query", "get_parameters"):
            return getattr(self._statement, name)
        raise RuntimeError(f"{name} of a prepared statement is not recorded, so the baseline server could not replay it.")


def _record_statements(database: Database, sent: list[SentStatement]) -> None:
    class RecordingConnection(asyncpg.Connection):
        async def prepare(self, query: str, **options: Any) -> Any:
            return _Prepared(await super().prepare(query, **options), query, sent)

        async def execute(self, query: str, *args: Any, **options: Any) -> str:
            sent.append((query, args or None))
            return await super().execute(query, *args, **options)

        async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
            sent.append((query, args))
            return await super().fetch(query, *args, **options)

        async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
            sent.append((query, args))
            return await super().fetchrow(query, *args, **options)

        async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
            sent.append((query, args))
            return await super().fetchval(query, *args, **options)

        async def executemany(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("executemany is not recorded, so the baseline server could not replay it.")

    def connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters["connection_class"] = RecordingConnection

    event.listen(database.engine.sync_engine, "do_connect", connect)
