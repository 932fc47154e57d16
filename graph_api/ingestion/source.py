"""The rows of a load in batches, validated against the registries, in a thread that works ahead of the database."""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Protocol

from db.assets.entity_fields import validate_state
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.associations.reference import LinkEnds, RelationshipEnds
from db.bulk.ingest import BATCH, AssetState, BatchEntry, NamedDeletion, RegistryEntry, name_of
from db.errors import BadInput, Conflict, HeadwaterError
from db.registries.entity_type import EntityTypeRow
from db.registries.service_grants import ServiceGrants
from db.registries.type_registry import TypeRegistry
from db.temporal.kinds import ENTITY
from graph_api.ingestion.background import in_background
from graph_api.ingestion.deferred_rows import DeferredRows
from graph_api.ingestion.row import EntityState, ParsedStatement, Parser, Row, RowError, shorten

# A batch ends after this many bytes of the file, however few rows they hold.
BATCH_BYTES = 16 * 1024 * 1024

# A batch ends before a row that names what the batch has deleted so many times by this name. Each time takes further statements.
_DELETIONS_OF_A_NAME = 2

# After so many bad rows, the thread pauses for as long as they took. Good ones wait for the database, but bad ones would take
# half of the interpreter's time from the requests that the process serves beside.
_BAD_ROWS_PER_PAUSE = 100

# Phases of a load. What a row means by a name depends on other rows, so it is written after these: a deletion by the name or key
# of an asset after the assets with uids, an asset without uid after such deletions, an end by name or key after all assets, and
# the deletion of the only link between two assets after all links. A deletion that still finds nothing may repeat an earlier
# one.
FIRST = 0
DELETIONS_BY_NAME = 1
UNIDENTIFIED_ASSETS = 2
ENDS_BY_NAME = 3
ONLY_LINKS = 4
REPEATED_DELETIONS = 5


class RowSource(Protocol):
    """Rows to load: a file, or the rows of it that were deferred."""

    @property
    def bytes_read(self) -> int: ...

    def __iter__(self) -> Iterator[Row | RowError]: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that were read together, and the statements of those that are valid for these types."""

    read: Sequence[Row | RowError]
    types: TypeRegistry
    # codes of the detail types that its entities have
    details: set[str]
    # rows of the registry entries, followed by those of the statements
    rows: Sequence[Row]
    registry_entries: Sequence[RegistryEntry]
    statements: Sequence[BatchEntry]
    # rows that are deferred, and errors
    refused: Sequence[Row | RowError]


class Source:
    """The file of a load, the types as last read, and the instant of rows that name none.

    Rows that name something by what other rows state are deferred to a later phase.
    """

    def __init__(
        self,
        parser: Parser,
        types: TypeRegistry,
        started_at: datetime,
        grants: ServiceGrants | None = None,
        *,
        may_read: bool = True,
    ) -> None:
        self.parser = parser
        self.types = types
        self.phase = FIRST
        self.deferred = {phase: DeferredRows() for phase in range(DELETIONS_BY_NAME, REPEATED_DELETIONS + 1)}
        self._rows_read = 0
        self._started_at = started_at
        self._grants = grants
        self._may_read = may_read
        self._registry_entries: dict[tuple[type, str], RegistryEntry] = {}

    async def batches(self, source: RowSource) -> AsyncGenerator[Batch]:
        """Yield the batches of the rows. While one is written, the next is prepared."""
        unread = iter(source)
        # the first row of the next batch
        held: list[Row] = []

        def prepare() -> Batch | None:
            first_byte, count = source.bytes_read, 0
            batch: list[Row | RowError] = []
            deletions: Counter[AssetRef] = Counter()
            bad_rows, since = 0, time.thread_time()
            for item in chain(held[:], unread):
                count += not held
                held.clear()
                if isinstance(item, RowError):
                    bad_rows += 1
                    if bad_rows % _BAD_ROWS_PER_PAUSE == 0:
                        time.sleep(time.thread_time() - since)
                        since = time.thread_time()
                if isinstance(item, Row) and (phase := _phase_of(item.statement)) > self.phase:
                    self.deferred[phase].add(item)
                elif isinstance(item, Row) and (name := _name_of(item.statement)) is not None:
                    if deletions[name] == _DELETIONS_OF_A_NAME:
                        held.append(item)
                        break
                    deletions[name] += isinstance(item.statement, NamedDeletion)
                    batch.append(item)
                else:
                    batch.append(item)
                if len(batch) == BATCH or (batch and source.bytes_read - first_byte > BATCH_BYTES):
                    break
            if source is self.parser:
                self._rows_read += count
            return self.check(batch) if batch else None

        upcoming = in_background(prepare)
        try:
            while batch := await upcoming:
                upcoming = in_background(prepare)
                yield batch
        finally:
            upcoming.cancel()

    def check(self, read: Sequence[Row | RowError]) -> Batch:
        """Validate rows against the types as last read."""
        entry_rows: list[Row] = []
        entries: list[RegistryEntry] = []
        statement_rows: list[Row] = []
        statements: list[BatchEntry] = []
        refused: list[Row | RowError] = []
        details: set[str] = set()
        types = self.types
        for item in read:
            if isinstance(item, RowError):
                refused.append(item)
            elif isinstance(statement := item.statement, RegistryEntry):
                if (denied := self._denied(statement)) is not None:
                    refused.append(self.refuse(item, denied))
                elif self._registry_entries.setdefault((type(statement), statement.code), statement) == statement:
                    entry_rows.append(item)
                    entries.append(statement)
                else:
                    conflict = Conflict(
                        f"The file holds another state of the type {statement.code}. Keep one of them.", field="code"
                    )
                    refused.append(self.refuse(item, conflict))
            elif isinstance(statement, EntityState):
                try:
                    payload = validate_state(
                        types, statement.ref.type or "", statement.display_name, statement.details, statement.keys
                    )
                except BadInput as error:
                    refused.append(self.refuse(item, error))
                else:
                    details.update(statement.details)
                    statement_rows.append(item)
                    statements.append(AssetState(ENTITY, statement.ref, payload, statement.at or self._started_at))
            else:
                if isinstance(statement, NamedDeletion) and self.phase == REPEATED_DELETIONS:
                    statement = statement._replace(or_deleted=True)
                statement_rows.append(item)
                statements.append(statement if statement.at is not None else statement._replace(at=self._started_at))
        return Batch(read, types, details, entry_rows + statement_rows, entries, statements, refused)

    def _denied(self, entry: RegistryEntry) -> BadInput | None:
        """Return the error of an entity type whose source names a service that the tenant may not use."""
        if self._grants is not None and isinstance(entry, EntityTypeRow):
            try:
                self._grants.check(entry.source)
            except BadInput as error:
                return error
        return None

    def bytes_done(self, rows: int) -> int:
        """Estimate how many bytes of the file so many rows take."""
        return self.parser.bytes_read * rows // max(self._rows_read, 1)

    def refuse(self, row: Row, error: HeadwaterError) -> Row | RowError:
        """Return the row to defer it, if later rows may resolve the error; otherwise return the error of the row."""
        row_error = self.parser.row_error(row.line, error)
        if not self._may_read and error.blind is not None:
            row_error = row_error._replace(message=shorten(error.blind))
        return row._replace(error=row_error) if isinstance(error, self.parser.resolvable) else row_error


def _phase_of(statement: ParsedStatement) -> int:
    """Return the first phase in which the statement may be written."""
    if isinstance(statement, AssetState | EntityState):
        return FIRST if _name_of(statement) is None else UNIDENTIFIED_ASSETS
    named = statement.ref if isinstance(statement, NamedDeletion) else statement
    ends: tuple[AssetRef, ...] = ()
    if isinstance(named, AssetRef):
        return DELETIONS_BY_NAME
    if isinstance(named, LinkEnds) and named.any_producer:
        return ONLY_LINKS
    if isinstance(named, LinkEnds | lineage_link.LinkState):
        ends = named.source, named.target
    elif isinstance(named, RelationshipEnds | relationship.RelationshipState):
        ends = named.origin, named.related
    return ENDS_BY_NAME if any(end.uid is None for end in ends) else FIRST


def _name_of(statement: ParsedStatement) -> AssetRef | None:
    """Return the name or key by which a statement means the asset that it states or deletes. None: it has a uid, or no name."""
    if isinstance(statement, EntityState):
        return name_of(AssetState(ENTITY, statement.ref, {}))
    return name_of(statement) if isinstance(statement, AssetState | NamedDeletion) else None
