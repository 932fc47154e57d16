"""The two isolation layers between tenants, each of which can be disabled: tenant predicates, and row-level security."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

import db
from db.database import Database
from db.rows import Row
from db.sql import hide_tenant, load
from tests.hooks import AttachedHook
from tests.security.two_tenants import tables_with

# The tenant predicate, as SQL files and SQLAlchemy Core send it to the driver.
_PREDICATE = re.compile(r"(?:\w+\.)?tenant_id = (\(SELECT (?:CAST\(\$\d+ AS bigint\)|\$\d+::BIGINT AS \w+)\))")
_PARAMETER_OF_TENANT = re.compile(r"tenant_id\s*(?:=|<>|IN|IS NOT DISTINCT FROM)(?:[\s(]|ANY|CAST|SELECT)*\$\d", re.IGNORECASE)

# Parts of an SQL file that differ from run to run: parameters and tokens.
_VARIABLE_PART = re.compile(r"\{[\w /]+\}|:\w+")


@contextmanager
def without_predicates(database: Database) -> Iterator[dict[str, str]]:
    """Remove the tenant predicates of all statements. Yield the changed statements by the original ones."""
    with _PredicateRemoval(database) as removal:
        yield removal.changed


class _PredicateRemoval(AttachedHook):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.changed: dict[str, str] = {}

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        await super().before(connection, text, arguments)
        if text not in self.changed:
            # keep the parameter, so that the numbers of the others stay valid
            self.changed[text] = _PREDICATE.sub(r"\1 IS NOT NULL", text)
            left = _PARAMETER_OF_TENANT.search(self.changed[text])
            assert left is None, f"A tenant predicate in a form that is not recognized: {text}"
        return self.changed[text]


async def without_row_level_security(address: str) -> None:
    """Disable row-level security of every table."""
    owner = await asyncpg.connect(address)
    try:
        for table in await tables_with(owner, "tenant_id"):
            await owner.execute(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')
    finally:
        await owner.close()


def files_not_run(statements: Iterable[str]) -> set[str]:
    """Return the SQL files that none of the statements contains."""
    files = {f"{it.parents[1].name}/{it.stem}" for it in Path(db.__file__).parent.glob("*/sql/*.sql")}
    return {it for it in files if not any(_contains(statement, it) for statement in statements)}


def _contains(statement: str, file: str) -> bool:
    """True if the statement contains the constant parts of the file, in their order."""
    position = 0
    for part in _VARIABLE_PART.split(hide_tenant(load(file)).strip()):
        if part.strip():
            start = statement.find(part, position)
            if start < 0:
                return False
            position = start + len(part)
    return True
