"""Loads: the rows of a parser, validated and written in one transaction a batch.

A row that fails because something is missing or in the way is deferred, and tried again after the rest of the file. So the order
of a file does not matter, and only what still fails at the end is an error.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TypeAlias

from db.author import Author
from db.bulk.ingest import ingest, register
from db.connection import WriteConnection
from db.database import Database
from db.errors import BadInput, HeadwaterError, Unavailable
from db.registries.registry import PutOutcome
from db.registries.service_grants import ServiceGrants
from db.registries.type_registry import read_type_registry, read_type_registry_locked
from db.retry import retry_on_conflict
from db.temporal.change_log import Outcome
from graph_api.ingestion.background import in_background
from graph_api.ingestion.deferred_rows import DeferredRows
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.row import Parser, Row, RowError
from graph_api.ingestion.source import REPEATED_DELETIONS, Batch, RowSource, Source
from graph_api.ingestion.summary import Summary

# Attempts of a batch that conflicts with other writers.
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class _Written:
    """Outcomes of the rows of a batch. If an error stops the load, the batch must be rolled back."""

    outcomes: list[Outcome | PutOutcome]
    deferred: list[Row]
    errors: list[RowError]
    stopped_by: RowError | None


_Write: TypeAlias = Callable[[Batch], Awaitable[_Written]]


class _RollBack(Exception):
    """Rolls back the transaction of a `with` statement, and is suppressed around it."""


async def _charge_nothing(_: int) -> None:
    """Let a load go on, whatever its number of rows."""


class Load:
    """The load of one file. Its summary counts what is kept, also when the load ends early.

    Calls `advanced` with the number of rows and of bytes that are done, `rejected` with the error of each rejected row, and
    `charge` with the number of rows before and after each batch: if it returns an error before one, that ends the load.
    Without `grants`, the sources of its entity types may name any service. The errors of a caller who may not read tell nothing
    that is stored.
    """

    def __init__(
        self,
        database: Database,
        tenant_id: int,
        author: Author,
        *,
        advanced: Callable[[int, int], None],
        rejected: Callable[[RowError], None],
        on_error: OnError = OnError.STOP,
        dry_run: bool = False,
        charge: Callable[[int], Awaitable[HeadwaterError | None]] = _charge_nothing,
        grants: ServiceGrants | None = None,
        may_read: bool = True,
    ) -> None:
        self.summary = Summary()
        # True if a bad row stopped the load, or is left at its end
        self.failed = False
        # number of the signal that ended the load
        self.interrupted: int | None = None
        self._database = database
        self._tenant_id = tenant_id
        self._author = author
        self._advanced = advanced
        self._rejected = rejected
        self._on_error = on_error
        self._dry_run = dry_run
        self._charge = charge
        self._grants = grants
        # the errors may tell what is stored
        self.may_read = may_read
        self._task: asyncio.Task[None] | None = None
        self._committing = False
        self._stopping = False

    async def run(self, file: BinaryIO, parse: Callable[[BinaryIO], Parser]) -> None:
        """Load the file. Raise BadInput if it is of another format, whatever `on_error` says."""
        self._task = asyncio.current_task()
        try:
            async with self._database.snapshot(self._tenant_id) as connection:
                types, started_at = await read_type_registry(connection), connection.now
            source = Source(await in_background(partial(parse, file)), types, started_at, self._grants, may_read=self.may_read)
            await (self._load_and_roll_back(source) if self._dry_run else self._load(source, partial(self._commit, source)))
        except asyncio.CancelledError:
            if self.interrupted is None:
                raise
        except OSError as error:
            raise BadInput(f"The file cannot be read any further: {error.strerror}.") from error
        except sqlite3.Error as error:
            raise Unavailable(f"Rows of the file cannot be kept in a temporary file: {error}.") from error

    def interrupt(self, number: int) -> None:
        """End the load because of a signal: at once, except that a commit is awaited, so that its outcome is known."""
        self.interrupted = number
        self.stop()
        if self._task is not None and not self._committing:
            self._task.cancel()

    def stop(self) -> None:
        """End the load after the current batch."""
        self._stopping = True

    async def _load_and_roll_back(self, source: Source) -> None:
        """Load in one transaction, so that each batch reads the earlier ones, and roll it back."""
        with suppress(_RollBack):
            async with self._database.transaction(self._tenant_id, self._author) as connection:
                await self._load(source, partial(self._write, connection, source))
                raise _RollBack

    async def _load(self, source: Source, write: _Write) -> None:
        """Load the file, then the deferred rows of each phase, and reject the rows that fail in the last one."""
        failing = await self._retry_until_stable(source, await self._pass(source, source.parser, write), write)
        for phase, rows in source.deferred.items():
            if (rows or phase == REPEATED_DELETIONS) and not self._stopping:
                source.phase = phase
                rows.extend(failing)
                failing = await self._retry_until_stable(source, rows, write)
        if self._stopping:
            return
        for row in failing:
            assert row.error is not None, "a row of a completed phase was tried"
            self._reject(row.error)
            self.failed = self._on_error is OnError.STOP

    async def _retry_until_stable(self, source: Source, rows: DeferredRows, write: _Write) -> DeferredRows:
        """Write the rows, and those that fail again, as long as fewer fail each time. Return the rows that still fail."""
        while rows and not self._stopping:
            failing = await self._pass(source, rows, write)
            if len(failing) == len(rows):
                return failing
            rows = failing
        return rows

    async def _pass(self, source: Source, rows: RowSource, write: _Write) -> DeferredRows:
        """Write the rows once, batch by batch. Return the rows that fail and may succeed later."""
        deferred = DeferredRows()
        async with aclosing(source.batches(rows)) as batches:
            async for batch in batches:
                if (refusal := await self._charge(self.summary.rows)) is not None:
                    raise refusal
                written = await write(batch)
                if written.stopped_by is not None:
                    self.failed = True
                    self._reject(written.stopped_by)
                    self.stop()
                    break
                for outcome in written.outcomes:
                    self.summary.count(outcome)
                for row in written.deferred:
                    deferred.add(row)
                for error in written.errors:
                    self._reject(error)
                self._advanced(self.summary.rows, source.bytes_done(self.summary.rows))
                await self._charge(self.summary.rows)
                if self._stopping:
                    break
        return deferred

    async def _commit(self, source: Source, batch: Batch) -> _Written:
        """Write a batch in its own transaction, again if it conflicts with other writers."""

        async def attempt() -> _Written:
            try:
                with suppress(_RollBack):
                    async with self._database.transaction(self._tenant_id, self._author) as connection:
                        written = await self._write(connection, source, batch)
                        if written.stopped_by is not None:
                            raise _RollBack
                        self._committing = True
                return written
            finally:
                self._committing = False

        # Batches last long, so the delay grows with the time that the attempt took.
        return await retry_on_conflict(attempt, attempts=ATTEMPTS, max_delay=lambda number, took: took)

    async def _write(self, connection: WriteConnection, source: Source, batch: Batch) -> _Written:
        registered = await register(connection, batch.registry_entries)
        types = await read_type_registry_locked(connection, batch.details)
        if types != batch.types:
            source.types = types
            batch = source.check(batch.read)
        outcomes: list[Outcome | PutOutcome] = []
        refused = list(batch.refused)
        for row, outcome in zip(batch.rows, [*registered, *await ingest(connection, batch.statements)], strict=True):
            if isinstance(outcome, HeadwaterError):
                refused.append(source.refuse(row, outcome))
            else:
                outcomes.append(outcome)
        refused.sort(key=lambda it: it.line)
        errors = [it for it in refused if isinstance(it, RowError)]
        stopped_by = errors[0] if errors and self._on_error is OnError.STOP else None
        return _Written(outcomes, [it for it in refused if isinstance(it, Row)], errors, stopped_by)

    def _reject(self, error: RowError) -> None:
        self.summary.rejected += 1
        self._rejected(error)
