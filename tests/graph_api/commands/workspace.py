"""A database with entity types, a directory for files, and the commands that tests run on both."""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from graph_api.ingestion.entity_csv import COLUMNS
from tests.commands import CommandResult, Commands
from tests.processes import CommandProcess

PROGRESS = re.compile(r"[\d ]+ rows, [\d ]+ rows/s")
COUNTS = re.compile(r"created (\d+), updated (\d+), unchanged (\d+), rejected (\d+)")

TYPES = """
  INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'PERSON', 'Person'), (1, 'ORDER', 'Order');
  INSERT INTO detail_type (tenant_id, code, label, format) VALUES (1, 'email', 'Email', 'email'), (1, 'phone', 'Phone', 'phone');
"""


class Workspace(Commands):
    """Commands on a database, with a connection of the owner to look into it."""

    def __init__(self, address: str, directory: Path, connection: asyncpg.Connection) -> None:
        super().__init__(address, directory)
        self.connection = connection

    def file(self, content: str | bytes) -> Path:
        """Write a new file."""
        path = self.directory / uuid4().hex
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def csv(self, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Write a new CSV file of entities."""
        return self.file(to_csv(rows))

    async def ingest(self, *arguments: Any) -> CommandResult:
        return await self.run("ingest", "csv", *arguments)

    async def count(self, table: str) -> int:
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def verify(self) -> None:
        """Assert that all versions are the fold of the change log."""
        await self("verify")


KEYLESS_COLUMNS = [it for it in COLUMNS if it not in {"key", "alternate_keys"}]


@asynccontextmanager
async def workspace_on(address: str, directory: Path, types: str | None = None) -> AsyncIterator[Workspace]:
    """Yield the workspace of a database, after the statements that fill its registries."""
    connection = await asyncpg.connect(address)
    try:
        if types is not None:
            await connection.execute(types)
        yield Workspace(address, directory, connection)
    finally:
        await connection.close()


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Write a file of entities, with columns for their keys if a row has any."""
    text, rows = io.StringIO(), list(rows)
    writer = csv.DictWriter(text, COLUMNS if any("key" in row for row in rows) else KEYLESS_COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def counts_in(result: CommandResult | CommandProcess) -> tuple[int, ...]:
    """Return how many rows were created, updated, unchanged and rejected, as the first line of a load says."""
    lines = result.out if isinstance(result, CommandResult) else result.out.lines
    match = COUNTS.fullmatch(lines[0])
    assert match, lines
    return tuple(map(int, match.groups()))


def messages_in(result: CommandResult | CommandProcess) -> list[str]:
    """Return the lines on standard error but for the progress, which a load prints only if the machine is slow."""
    lines = result.err if isinstance(result, CommandResult) else result.err.lines
    return [line for line in lines if not PROGRESS.match(line)]


async def waits_for_lock(address: str) -> bool:
    """Return True if a session waits for a lock."""
    observer = await asyncpg.connect(address)
    try:
        waiting = await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(waiting)
    finally:
        await observer.close()
