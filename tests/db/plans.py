"""Plans of statements, and transactions that leave nothing behind."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import event

from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError


class explained_plans:  # noqa: N801
    """Context manager that explains every statement that runs within it."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine.sync_engine
        self.plans: list[dict[str, Any]] = []

    def __enter__(self) -> "explained_plans":
        event.listen(self._engine, "before_cursor_execute", self._explain)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._explain)

    def _explain(self, connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not any(skipped in statement for skipped in ("set_config", "SAVEPOINT", "SET CONSTRAINTS")):
            explaining = connection.connection.cursor()
            explaining.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            ((explained,),) = explaining.fetchall()
            self.plans.append((json.loads(explained) if isinstance(explained, str) else explained)[0]["Plan"])

    @property
    def indexes(self) -> set[str]:
        """The indexes that any of the plans uses."""
        return {node["Index Name"] for node in self._nodes() if "Index Name" in node}

    @property
    def scanned_tables(self) -> set[str]:
        """The tables that any of the plans reads whole."""
        return {node["Relation Name"] for node in self._nodes() if node["Node Type"] == "Seq Scan"}

    def _nodes(self) -> Iterator[dict[str, Any]]:
        pending = list(self.plans)
        while pending:
            node = pending.pop()
            yield node
            pending += node.get("Plans", [])


@asynccontextmanager
async def rolled_back(database: Database) -> AsyncIterator[WriteConnection]:
    """Open a transaction whose writes are rolled back."""
    with suppress(HeadwaterError):
        async with database.transaction(1, Author("writer", "request")) as connection:
            yield connection
            raise HeadwaterError("rolled back")
