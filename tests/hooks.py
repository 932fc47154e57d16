"""Hooks on the statements that the service runs, which tests attach for the duration of a block."""

import json
from collections.abc import Sequence
from typing import Any, Self

import asyncpg

from db.database import Database
from db.driver_connection import StatementHook
from db.rows import Row

# Statements that open or end transactions and their parts.
_SESSION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET CONSTRAINTS", "SELECT set_config")


class AttachedHook(StatementHook):
    """Statement hook that is attached within a block. The block fails if the hook saw no statement: it would have proven
    nothing."""

    def __init__(self, database: Database) -> None:
        self._hooks = database.hooks
        self.statements = 0

    def __enter__(self) -> Self:
        self._hooks.append(self)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self._hooks.remove(self)
        assert error_type is not None or self.statements, "the hook saw no statement"

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        self.statements += 1
        return text


class ErrorHook(StatementHook):
    """Statement hook that collects the SQLSTATEs of the statements that fail."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def failed(self, text: str, error: BaseException) -> None:
        self.states.append(getattr(error, "sqlstate", None) or "")


def belongs_to_session(text: str) -> bool:
    """True for a statement that opens or ends a transaction or a part of one. It has no plan."""
    return text.startswith(_SESSION)


async def explain_generic(connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> dict[str, Any]:
    """Explain a statement as it is planned for any arguments, and return the root of the plan."""
    await connection.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE explained AS {text}")
    values = f"({', '.join('NULL' for _ in arguments)})" if arguments else ""
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained{values}")
    await connection.execute("DEALLOCATE explained; RESET plan_cache_mode")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


async def explain(
    connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None, options: str = "FORMAT JSON"
) -> dict[str, Any]:
    """Explain a statement on its own connection, and return the root of the plan."""
    plan: dict[str, Any] = json.loads(await connection.fetchval(f"EXPLAIN ({options}) {text}", *(arguments or ())))[0]["Plan"]
    return plan
