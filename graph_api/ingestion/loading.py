"""Loads: what a parser reads is checked, and written in one transaction a batch.

What is refused because of what is not there yet waits, and is tried again behind the rest of the file. So the order of a file
does not matter, and only what is left at last is a fault.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TypeAlias

from db.author import Author
from db.bulk.ingest import ingest, register
from db.connection import WriteConnection
from db.database import Database
from db.errors import BadInput, HeadwaterError
from db.registries.registry import PutOutcome
from db.registries.type_registry import read_type_registry, read_type_registry_locked
from db.retry import retry_on_conflict
from db.temporal.change_log import Outcome
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.row import Parser, Row, RowError
from graph_api.ingestion.source import Batch, RowSource, Source, in_background
from graph_api.ingestion.waiting import DeferredRows

# How often a batch that lost against another writer is tried in all.
ATTEMPTS = 8


@dataclass(slots=True)
class Summary:
    """What became of the rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    def __str__(self) -> str:
        return f"created {self.created}, updated {self.updated}, unchanged {self.unchanged}, rejected {self.rejected}"

    @property
    def rows(self) -> int:
        return self.created + self.updated + self.unchanged + self.rejected

    def count(self, outcome: Outcome | PutOutcome) -> None:
        if not outcome.changed or (isinstance(outcome, Outcome) and outcome.replayed):
            self.unchanged += 1
        elif outcome.created:
            self.created += 1
        else:
            self.updated += 1


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of a batch, once its transaction is committed."""

    outcomes: list[Outcome | PutOutcome]
    refused: list[Row | RowError]


_Write: TypeAlias = Callable[[Batch], Awaitable[_Written]]


class _Stopped(Exception):
    """A bad row ends the load, and takes its batch with it."""

    def __init__(self, fault: RowError) -> None:
        super().__init__(fault)
        self.fault = fault


class _Left(Exception):
    """Nobody wants the rest of the load any more."""


class _NothingKept(Exception):
    """Rolls back a transaction that has served its purpose."""


class Load:
    """One load of one file. Its summary counts what has been kept, also when it ends before its time.

    It tells how far it has come, in rows and in bytes of the file, and which rows it refused.
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
    ) -> None:
        self.summary = Summary()
        self.stopped = False
        self.interrupted: int | None = None
        self._database = database
        self._tenant_id = tenant_id
        self._author = author
        self._advanced = advanced
        self._rejected = rejected
        self._on_error = on_error
        self._dry_run = dry_run
        self._task: asyncio.Task[None] | None = None
        self._committing = False
        self._ending = False

    async def run(self, file: BinaryIO, parse: Callable[[BinaryIO], Parser]) -> None:
        """Load the file. One that is not of its format at all is refused whole, whatever is to become of bad rows."""
        self._task = asyncio.current_task()
        try:
            async with self._database.snapshot(self._tenant_id) as connection:
                types, began = await read_type_registry(connection), connection.now
            source = Source(await in_background(partial(parse, file)), types, began)
            await (self._try_out(source) if self._dry_run else self._take_in(source, partial(self._commit, source)))
        except _Stopped as stop:
            self.stopped = True
            self._reject(stop.fault)
        except _Left:
            pass
        except asyncio.CancelledError:
            if self.interrupted is None:
                raise
        except OSError as error:
            raise BadInput(f"The file cannot be read any further: {error.strerror}.") from error

    def interrupt(self, number: int) -> None:
        """End because of a signal. Only a commit is waited for, so that it is known what was kept."""
        self.interrupted = number
        self.leave()
        if self._task is not None and not self._committing:
            self._task.cancel()

    def leave(self) -> None:
        """End when the batch at hand is kept."""
        self._ending = True

    async def _try_out(self, source: Source) -> None:
        """All in one transaction, so that each batch meets those before it; and then nothing of it."""
        with suppress(_NothingKept):
            async with self._database.transaction(self._tenant_id, self._author) as connection:
                await self._take_in(source, partial(self._write, connection, source))
                raise _NothingKept

    async def _take_in(self, source: Source, write: _Write) -> None:
        """The file, and then what had to wait: first by the fault of others, then until its turn."""
        waiting = await self._rounds(source, await self._pass(source, source.parser, write), write)
        for turn, later in source.later.items():
            if later:
                source.turn = turn
                later.extend(waiting)
                waiting = await self._rounds(source, later, write)
        for row in waiting:
            assert row.refused is not None, "a row whose turn has come was tried"
            self._reject(row.refused)
            self.stopped = self._on_error is OnError.STOP

    async def _rounds(self, source: Source, waiting: DeferredRows, write: _Write) -> DeferredRows:
        """Try again what waits, for as long as a round gets something through. What is left?"""
        while waiting:
            left = await self._pass(source, waiting, write)
            if len(left) == len(waiting):
                return left
            waiting = left
        return waiting

    async def _pass(self, source: Source, reading: RowSource, write: _Write) -> DeferredRows:
        """Write what is read, batch by batch. What has to wait?"""
        waiting = DeferredRows()
        async with aclosing(source.batches(reading)) as batches:
            async for batch in batches:
                written = await write(batch)
                for outcome in written.outcomes:
                    self.summary.count(outcome)
                for it in written.refused:
                    if isinstance(it, Row):
                        waiting.add(it)
                    else:
                        self._reject(it)
                self._advanced(self.summary.rows, source.position(self.summary.rows))
                if self._ending:
                    raise _Left
        return waiting

    async def _commit(self, source: Source, batch: Batch) -> _Written:
        async def attempt() -> _Written:
            try:
                async with self._database.transaction(self._tenant_id, self._author) as connection:
                    written = await self._write(connection, source, batch)
                    self._committing = True
                return written
            finally:
                self._committing = False

        # Batches last long, so the delay grows with the time that the attempt took.
        return await retry_on_conflict(attempt, attempts=ATTEMPTS, max_delay=lambda number, took: took)

    async def _write(self, connection: WriteConnection, source: Source, batch: Batch) -> _Written:
        registered = await register(connection, batch.registered)
        types = await read_type_registry_locked(connection, batch.details)
        if types != batch.types:
            source.types = types
            batch = source.check(batch.read)
        outcomes: list[Outcome | PutOutcome] = []
        refused = list(batch.refused)
        for row, outcome in zip(batch.rows, [*registered, *await ingest(connection, batch.stated)], strict=True):
            if isinstance(outcome, HeadwaterError):
                refused.append(source.refusal(row, outcome))
            else:
                outcomes.append(outcome)
        refused.sort(key=lambda it: it.line)
        faults = (it for it in refused if isinstance(it, RowError))
        if self._on_error is OnError.STOP and (fault := next(faults, None)) is not None:
            raise _Stopped(fault)
        return _Written(outcomes, refused)

    def _reject(self, fault: RowError) -> None:
        self.summary.rejected += 1
        self._rejected(fault)
