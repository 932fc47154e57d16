"""Plans of statements, and transactions that leave nothing behind."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import asyncpg

from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError
from db.rows import Row
from tests.hooks import AttachedHook, belongs_to_session, explain, explain_generic


class explained_plans(AttachedHook):  # noqa: N801
    """Context manager that explains every statement that runs within it."""

    options = "FORMAT JSON"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.plans: list[dict[str, Any]] = []

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if not belongs_to_session(text):
            self.plans.append(await explain(connection, text, arguments, self.options))
        return await super().before(connection, text, arguments)

    @property
    def indexes(self) -> set[str]:
        """The indexes that any of the plans uses."""
        return indexes_of(self.plans)

    @property
    def scanned_tables(self) -> set[str]:
        """The tables that any of the plans reads whole."""
        return scanned_tables_of(self.plans)

    def _nodes(self) -> Iterator[dict[str, Any]]:
        return _nodes_of(self.plans)


def indexes_of(plans: Sequence[dict[str, Any]]) -> set[str]:
    """Return the indexes that any of the plans uses."""
    return {node["Index Name"] for node in _nodes_of(plans) if "Index Name" in node}


def scanned_tables_of(plans: Sequence[dict[str, Any]]) -> set[str]:
    """Return the tables that any of the plans reads whole."""
    return {node["Relation Name"] for node in _nodes_of(plans) if node["Node Type"] == "Seq Scan"}


def _nodes_of(plans: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    pending = list(plans)
    while pending:
        node = pending.pop()
        yield node
        pending += node.get("Plans", [])


async def plans_in_functions(address: str, tenant_id: int, query: str) -> list[dict[str, Any]]:
    """Run a query as the role of the service in a tenant, and return the plans that ran, those in functions included."""
    logged: list[str] = []
    connection = await asyncpg.connect(address)
    try:
        connection.add_log_listener(lambda _, message: logged.append(str(message.message)))
        await connection.execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
            f" SET auto_explain.log_format = json; SELECT set_config('headwater.tenant_id', '{tenant_id}', false);"
            " SET client_min_messages = log; SET ROLE headwater_service"
        )
        await connection.execute(query)
        # the listener is called by the loop
        await connection.fetchval("SELECT 1")
    finally:
        await connection.close()
    return [json.loads(it[it.index("{") :])["Plan"] for it in logged]


class generic_plans(explained_plans):  # noqa: N801
    """Context manager that explains every statement as it is planned for any arguments."""

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if not belongs_to_session(text):
            self.plans.append(await explain_generic(connection, text, arguments))
        return await AttachedHook.before(self, connection, text, arguments)


class row_counts(explained_plans):  # noqa: N801
    """Runs every statement of the block once more, and records how many rows each step of its plan returned."""

    options = "ANALYZE, FORMAT JSON"

    def most_read(self, *indexes: str) -> float:
        """Return the most rows that a step read from one of these indexes, including those that it filtered out."""
        steps = [node for node in self._nodes() if node.get("Index Name") in indexes]
        return float(max(map(_rows_read, steps)))

    def rows_of(self, table: str) -> float:
        """Return the number of rows that all steps together read of a table, including those that they filtered out."""
        return float(sum(_rows_read(node) for node in self._nodes() if node.get("Relation Name") == table))


# The blocks that the open transaction has fetched of each table and index, and the rows or entries that it has read there.
_COUNTERS = """
  SELECT relname, coalesce(pg_stat_get_xact_blocks_fetched(oid), 0) AS blocks,
    coalesce(pg_stat_get_xact_tuples_returned(oid), 0) AS entries
  FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
"""


class Work(NamedTuple):
    """Work of the statements of a block: blocks fetched, and rows and entries of indexes read, each by table or index."""

    text: str
    blocks: Counter[str]
    entries: Counter[str]

    @property
    def total(self) -> int:
        return max(self.blocks.total(), self.entries.total())

    def __str__(self) -> str:
        return f"{self.blocks.total()} blocks, {self.entries.total()} entries, {self.blocks.most_common(2)}: {self.text[:80]!r}"


class counted_work(AttachedHook):  # noqa: N801
    """Context manager that counts the blocks and rows that each statement reads, those of triggers and functions included.

    A statement runs as it does in the service, with the plan that its session keeps. One without a transaction runs once more,
    in a transaction that is rolled back.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.work: list[Work] = []
        # what a connection runs in a transaction, with the counters at the beginning
        self._running: dict[int, Work] = {}

    @property
    def total(self) -> int:
        """The work of all statements."""
        return sum(it.total for it in self.work)

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if connection.is_in_transaction():
            await self._note(connection)
            if not belongs_to_session(text):
                self._running[id(connection)] = await self._counters(connection, text)
        elif not belongs_to_session(text):
            transaction = connection.transaction()
            await transaction.start()
            self._running[id(connection)] = await self._counters(connection, text)
            await connection.fetch(text, *(arguments or ()))
            await self._note(connection)
            await transaction.rollback()
        return await super().before(connection, text, arguments)

    async def _note(self, connection: "asyncpg.Connection[Row]") -> None:
        if (begun := self._running.pop(id(connection), None)) is not None:
            ended = await self._counters(connection, begun.text)
            self.work.append(Work(begun.text, ended.blocks - begun.blocks, ended.entries - begun.entries))

    async def _counters(self, connection: "asyncpg.Connection[Row]", text: str) -> Work:
        rows = await connection.fetch(_COUNTERS)
        return Work(
            " ".join(text.split()),
            Counter({row.relname: row.blocks for row in rows}),
            Counter({row.relname: row.entries for row in rows}),
        )


def _rows_read(step: dict[str, Any]) -> float:
    return float((step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"])


@asynccontextmanager
async def rolled_back(database: Database) -> AsyncIterator[WriteConnection]:
    """Open a transaction whose writes are rolled back."""
    with suppress(HeadwaterError):
        async with database.transaction(1, Author("writer", "request")) as connection:
            yield connection
            raise HeadwaterError("rolled back")
