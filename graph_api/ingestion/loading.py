"""Loads: what a parser reads is checked, and written in one transaction a batch.

While the database works on one batch, a thread reads and checks the next.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice
from threading import Thread
from typing import BinaryIO, TypeVar

from db.asset import Ref
from db.connection import Author, Database, WriteConnection
from db.entity import ENTITY, types_held, types_known
from db.entity_fields import Types, whole
from db.errors import BadInput, HeadwaterError, Interrupted
from db.ingest import BATCH, Stated, ingest
from db.temporal import Outcome
from graph_api.ingestion.csv import EntityFile, Fault, Row, fault_of
from graph_api.ingestion.progress import Progress, Rejects

# How often a batch that lost against another writer is tried in all.
ATTEMPTS = 5

# What the columns of a file are called elsewhere.
_COLUMNS = {
    "uid": "entity_uid",
    "type": "entity_type",
    "displayName": "display_name",
    "details": "details",
    "at": "change_ts",
}

T = TypeVar("T")


class OnError(StrEnum):
    """What a bad row does: end the load, or stay behind."""

    STOP = "stop"
    SKIP = "skip"


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

    def count(self, outcome: Outcome) -> None:
        if outcome.replayed or not outcome.changed:
            self.unchanged += 1
        elif outcome.created:
            self.created += 1
        else:
            self.updated += 1


@dataclass(frozen=True, slots=True)
class _Batch:
    """What was read in one go, and what of it can be written as far as these types are known."""

    read: Sequence[Row | Fault]
    # how much of the file had been read by then
    position: int
    types: Types
    rows: Sequence[Row]
    stated: Sequence[Stated]
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of a batch, once its transaction is committed."""

    outcomes: Sequence[Outcome]
    faults: Sequence[Fault]


class _Stopped(Exception):
    """A bad row ends the load, and takes its batch with it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _NothingKept(Exception):
    """Rolls back a transaction that has served its purpose."""


class Load:
    """One load of one file. Its summary counts what has been kept, also when it ends before its time."""

    def __init__(
        self,
        database: Database,
        tenant_id: int,
        author: Author,
        *,
        progress: Progress,
        rejects: Rejects,
        on_error: OnError = OnError.STOP,
        dry_run: bool = False,
    ) -> None:
        self.summary = Summary()
        self.stopped = False
        self.interrupted: int | None = None
        self._database = database
        self._tenant_id = tenant_id
        self._author = author
        self._progress = progress
        self._rejects = rejects
        self._on_error = on_error
        self._dry_run = dry_run
        self._task: asyncio.Task[None] | None = None
        self._committing = False

    async def run(self, file: BinaryIO) -> None:
        """Load the file. One that is no CSV of entities is refused whole, whatever is to become of bad rows."""
        self._task = asyncio.current_task()
        try:
            async with self._database.snapshot(self._tenant_id) as connection:
                types, began = await types_known(connection), connection.now
            source = _Source(file, await _in_background(partial(EntityFile, file)), types, began)
            async with aclosing(source.batches()) as batches:
                await (self._try_out(source, batches) if self._dry_run else self._keep(source, batches))
        except _Stopped as stop:
            self.stopped = True
            self._reject(stop.fault)
        except asyncio.CancelledError:
            if self.interrupted is None:
                raise
        except OSError as error:
            raise BadInput(f"The file cannot be read any further: {error.strerror}.") from error
        finally:
            self._rejects.conclude()

    def interrupt(self, number: int) -> None:
        """End because of a signal. Only a commit is waited for, so that it is known what was kept."""
        self.interrupted = number
        if self._task is not None and not self._committing:
            self._task.cancel()

    async def _keep(self, source: "_Source", batches: AsyncGenerator[_Batch]) -> None:
        async for batch in batches:
            self._count(batch, await self._commit(source, batch))
            if self.interrupted is not None:
                return

    async def _try_out(self, source: "_Source", batches: AsyncGenerator[_Batch]) -> None:
        """All in one transaction, so that each batch meets those before it; and then nothing of it."""
        with suppress(_NothingKept):
            async with self._database.transaction(self._tenant_id, self._author) as connection:
                async for batch in batches:
                    self._count(batch, await self._write(connection, source, batch))
                raise _NothingKept

    async def _commit(self, source: "_Source", batch: _Batch) -> _Written:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._database.transaction(self._tenant_id, self._author) as connection:
                    written = await self._write(connection, source, batch)
                    self._committing = True
            except Interrupted:
                if attempt == ATTEMPTS:
                    raise
            else:
                return written
            finally:
                self._committing = False
            # writers that met once should not meet again
            await asyncio.sleep(random.uniform(0, 0.02 * attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _write(self, connection: WriteConnection, source: "_Source", batch: _Batch) -> _Written:
        types = await types_held(connection, {code for it in batch.stated for code in it.payload["details"]})
        if types != batch.types:
            source.types = types
            batch = source.check(batch.read, batch.position)
        outcomes: list[Outcome] = []
        faults = list(batch.faults)
        for row, outcome in zip(batch.rows, await ingest(connection, ENTITY, batch.stated), strict=True):
            if isinstance(outcome, HeadwaterError):
                faults.append(source.fault(row, outcome))
            else:
                outcomes.append(outcome)
        faults.sort(key=lambda fault: fault.line)
        if faults and self._on_error is OnError.STOP:
            raise _Stopped(faults[0])
        return _Written(outcomes, faults)

    def _count(self, batch: _Batch, written: _Written) -> None:
        for outcome in written.outcomes:
            self.summary.count(outcome)
        for fault in written.faults:
            self._reject(fault)
        self._progress.advance(len(batch.read), batch.position)

    def _reject(self, fault: Fault) -> None:
        self.summary.rejected += 1
        self._rejects.add(fault)


class _Source:
    """The file of a load, the types as they were known last, and the instant from which a row holds unless it names one."""

    def __init__(self, file: BinaryIO, entities: EntityFile, types: Types, began: datetime) -> None:
        self.types = types
        self._file = file
        self._entities = entities
        self._began = began

    async def batches(self) -> AsyncGenerator[_Batch]:
        """One batch after the other; while one is written, the next is made."""
        read = iter(self._entities)

        def make() -> _Batch | None:
            batch = list(islice(read, BATCH))
            return self.check(batch, self._file.tell() if self._file.seekable() else 0) if batch else None

        ahead = _in_background(make)
        try:
            while batch := await ahead:
                ahead = _in_background(make)
                yield batch
        finally:
            ahead.cancel()

    def check(self, read: Sequence[Row | Fault], position: int) -> _Batch:
        types = self.types
        rows: list[Row] = []
        stated: list[Stated] = []
        faults: list[Fault] = []
        for it in read:
            if isinstance(it, Fault):
                faults.append(it)
                continue
            try:
                payload = whole(types, it.entity_type, it.display_name, it.details)
            except BadInput as error:
                faults.append(self.fault(it, error))
            else:
                rows.append(it)
                stated.append(Stated(Ref(it.uid, it.entity_type), payload, it.at or self._began))
        return _Batch(read, position, types, rows, stated, faults)

    def fault(self, row: Row, error: HeadwaterError) -> Fault:
        """Why a row was refused, in the words of the file."""
        if error.field not in _COLUMNS:
            return fault_of(row.line, None, error.message)
        column = _COLUMNS[error.field]
        reason = re.sub(rf"^{error.field}\b", column, error.message)
        return fault_of(row.line, column if column in self._entities.columns else None, reason)


def _in_background(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do work in a thread that nobody waits for at the end of the process, which a pipe that stays silent would keep up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(settling: Callable[[], None]) -> None:
        if not future.done():
            settling()

    def run() -> None:
        try:
            settling = partial(future.set_result, work())
        except Exception as error:
            settling = partial(future.set_exception, error)
        # nobody may be there any more to hear of it
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, settling)

    Thread(target=run, daemon=True).start()
    return future
