"""The two walls between tenants, each to be stood without: that a statement names the tenant, and row-level security."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event

import db
from db.database import Database
from tests.security.two_tenants import tables_with

# The predicate, as files and Core have the driver told.
_PREDICATE = re.compile(r"(?:\w+\.)?tenant_id = (CAST\(\$\d+ AS bigint\)|\$\d+::BIGINT)")
_PARAMETER_OF_TENANT = re.compile(r"tenant_id\s*(?:=|<>|IN|IS NOT DISTINCT FROM)[\s(]*(?:ANY|CAST)?[\s(]*\$\d", re.IGNORECASE)

# What differs from one run of a file to another: its parameters, and the parts that are put into it.
_FILLED_IN = re.compile(r"\{[\w /]+\}|:\w+")


@contextmanager
def without_predicates(database: Database) -> Iterator[dict[str, str]]:
    """Statements name no tenant any more, wherever one is looked for. Gives what became of each."""
    heard: dict[str, str] = {}

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if statement not in heard:
            # the parameter stays, for its number is taken
            heard[statement] = _PREDICATE.sub(r"\1 IS NOT NULL", statement)
            named = _PARAMETER_OF_TENANT.search(heard[statement])
            assert named is None, f"This names the tenant in words that are not known here: {statement}"
        return heard[statement], parameters

    event.listen(database.engine.sync_engine, "before_cursor_execute", hear, retval=True)
    try:
        yield heard
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", hear)


async def without_row_level_security(address: str) -> None:
    """Every table shows all of its rows to whoever may read it."""
    owner = await asyncpg.connect(address)
    try:
        for table in await tables_with(owner, "tenant_id"):
            await owner.execute(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')
    finally:
        await owner.close()


def files_not_run(statements: Iterable[str]) -> set[str]:
    """The files of statements that are in none of these."""
    folder = Path(db.__file__).parent
    every = {str(it.relative_to(folder)) for it in folder.glob("**/*.sql") if not it.is_relative_to(folder / "migrations")}
    return {it for it in every if not any(_holds(statement, it) for statement in statements)}


def _holds(statement: str, file: str) -> bool:
    place = 0
    for piece in _FILLED_IN.split(Path(db.__file__).with_name(file).read_text().strip()):
        if piece.strip():
            found = statement.find(piece, place)
            if found < 0:
                return False
            place = found + len(piece)
    return True
