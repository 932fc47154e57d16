"""The file of a load, batch by batch: checked by what the registries hold, in a thread that works ahead of the database."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Thread
from typing import Protocol, TypeVar

from db.assets.entity_fields import validate_state
from db.associations import lineage_link, relationship
from db.associations.association import AssetRef
from db.bulk.ingest import BATCH, AssetState, RegistryEntry, Statement
from db.errors import BadInput, Conflict, HeadwaterError
from db.registries.type_registry import TypeRegistry
from db.temporal.kinds import ENTITY, PRODUCT
from graph_api.ingestion.row import EntityState, ParsedStatement, Parser, Row, RowError
from graph_api.ingestion.waiting import DeferredRows

# No more than this is taken into a batch, in bytes, however few rows they are.
BATCH_BYTES = 16 * 1024 * 1024

T = TypeVar("T")


class RowSource(Protocol):
    """What rows are read from: a file, or those of it that had to wait."""

    @property
    def position(self) -> int: ...

    def __iter__(self) -> Iterator[Row | RowError]: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read in one go, and what can be written of it as far as these types are known; entries of registries first."""

    read: Sequence[Row | RowError]
    types: TypeRegistry
    # the types of details that it names
    details: set[str]
    rows: Sequence[Row]
    registered: Sequence[RegistryEntry]
    stated: Sequence[Statement]
    refused: Sequence[Row | RowError]


class Source:
    """A file, the types as they were known last, and the instant from which a row holds unless it names one.

    What is meant by the name of a product waits until all else that is known of products is written: only then a name means one
    thing. Products without a uid have the first turn after that, links and joins to names the second.
    """

    def __init__(self, parser: Parser, types: TypeRegistry, began: datetime) -> None:
        self.parser = parser
        self.types = types
        self.turn = 0
        self.later = {turn: DeferredRows() for turn in (1, 2)}
        # how many rows of the file have been read
        self._taken = 0
        self._began = began
        self._registered: dict[tuple[type, str], RegistryEntry] = {}

    async def batches(self, reading: RowSource) -> AsyncGenerator[Batch]:
        """One batch after the other; while one is written, the next is made."""
        unread = iter(reading)

        def make() -> Batch | None:
            begun, taken = reading.position, 0
            batch: list[Row | RowError] = []
            for it in unread:
                taken += 1
                turn = _turn(it.said) if isinstance(it, Row) else 0
                if turn > self.turn:
                    assert isinstance(it, Row), "a fault waits for nothing"
                    self.later[turn].add(it)
                else:
                    batch.append(it)
                if len(batch) == BATCH or (batch and reading.position - begun > BATCH_BYTES):
                    break
            if reading is self.parser:
                self._taken += taken
            return self.check(batch) if batch else None

        ahead = in_background(make)
        try:
            while batch := await ahead:
                ahead = in_background(make)
                yield batch
        finally:
            ahead.cancel()

    def check(self, read: Sequence[Row | RowError]) -> Batch:
        rows: list[Row] = []
        registered: list[RegistryEntry] = []
        stated: list[Statement] = []
        refused: list[Row | RowError] = []
        details: set[str] = set()
        types = self.types
        for it in read:
            if isinstance(it, Row) and isinstance(it.said, RegistryEntry):
                if self._registered.setdefault((type(it.said), it.said.code), it.said) == it.said:
                    rows.append(it)
                    registered.append(it.said)
                else:
                    contested = Conflict(f"Another state of the type {it.said.code} was given before.", field="code")
                    refused.append(self.refusal(it, contested))
        for it in read:
            if isinstance(it, RowError):
                refused.append(it)
            elif isinstance(said := it.said, EntityState):
                try:
                    payload = validate_state(types, said.ref.type or "", said.display_name, said.details)
                except BadInput as error:
                    refused.append(self.refusal(it, error))
                else:
                    details.update(said.details)
                    rows.append(it)
                    stated.append(AssetState(ENTITY, said.ref, payload, said.at or self._began))
            elif not isinstance(said, RegistryEntry):
                rows.append(it)
                stated.append(said if said.at is not None else said._replace(at=self._began))
        return Batch(read, types, details, rows, registered, stated, refused)

    def position(self, settled: int) -> int:
        """How many bytes of the file so many settled rows are about, where others of it wait."""
        return self.parser.position * settled // max(self._taken, 1)

    def refusal(self, row: Row, error: HeadwaterError) -> Row | RowError:
        """What becomes of a row that is refused: it waits for what may follow, or it is a fault."""
        fault = self.parser.row_error(row.line, error)
        return row._replace(refused=fault) if isinstance(error, self.parser.resolvable) else fault


def _turn(said: ParsedStatement) -> int:
    """When a row is heard: what is meant by the name of a product has to wait."""
    if isinstance(said, AssetState):
        return 1 if said.kind is PRODUCT and said.ref.uid is None else 0
    ends: tuple[AssetRef, ...] = ()
    if isinstance(said, lineage_link.LinkState):
        ends = said.source, said.target
    elif isinstance(said, relationship.RelationshipState):
        ends = said.origin, said.related
    # a key without a type may be the name of a product
    return 2 if any(it.product is not None or (it.key is not None and it.type is None) for it in ends) else 0


def in_background(work: Callable[[], T]) -> asyncio.Future[T]:
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
