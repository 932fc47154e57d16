"""Statements as the driver runs them, and the SQL files that most of them come from, with the one renderer of their tokens.

A statement is a file in the folder `sql` of the package that runs it, and is named by both: `lineage/walk` is the file
`lineage/sql/walk.sql`. A file whose name begins with an underscore is a fragment: `{include _fold}` puts it into a statement
of its package, `{include consistency/_label}` into one of another.
`{token}` is replaced by the SQL text that the caller gives; `Kind.sql_params` lists the tokens of a versioned kind. Comment lines
are for readers: they are not sent, and what looks like a token or a parameter in them is none.

The planner never learns the tenant: `CAST(:tenant AS bigint)` becomes a sub-select, whose value it does not know, so that a plan
suits a tenant of average size. It would look a value up in the statistics of ANALYZE, where a tenant that has just arrived is
missing. It would expect one row of this tenant, and read all its rows by an index on the tenant for each row that it looks up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

# Number of composed shapes that a function keeps, and of prepared statements of a connection: more than the service has, so the
# bound is only met by unusual combinations of filters, which are composed again.
MAX_SHAPES = 512

_INCLUDE = re.compile(r"\{include ([\w/]+)\}")
_TOKEN = re.compile(r"\{(\w+)\}")
# A parameter, but no cast such as `x::text`.
_PARAMETER = re.compile(r"(?<!:):([A-Za-z_]\w*)")
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_TENANT = "CAST(:tenant AS bigint)"
_COMMENT_LINE = re.compile(r"^ *--.*\n", re.MULTILINE)


@cache
def load(path: str) -> str:
    """Read the file of this path (`lineage/walk`) with its fragments, without comment lines, tokens unfilled."""
    package, _, name = path.rpartition("/")

    def include(match: re.Match[str]) -> str:
        return load(match[1] if "/" in match[1] else f"{package}/{match[1]}").rstrip()

    return _INCLUDE.sub(include, _COMMENT_LINE.sub("", files("db").joinpath(package, "sql", f"{name}.sql").read_text()))


@cache
def tokens_of(path: str) -> frozenset[str]:
    """List the tokens of a file and its fragments."""
    return frozenset(_TOKEN.findall(load(path)))


def render(path: str, values: Mapping[str, str] | None = None) -> str:
    """Fill the tokens of the file of this path. Raise ValueError if a token has no value or a value has no token."""
    given, known = dict(values or {}), tokens_of(path)
    if given.keys() != known:
        missing, unused = sorted(known - given.keys()), sorted(given.keys() - known)
        raise ValueError(f"{path}.sql: tokens without a value {missing}, values without a token {unused}.")
    return _TOKEN.sub(lambda match: given[match[1]], load(path))


def hide_tenant(sql: str) -> str:
    """Put the tenant into sub-selects, which hide it from the planner."""
    return sql.replace(_TENANT, f"(SELECT {_TENANT})")


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """SQL text with numbered parameters, and their names in this order. It is written or composed once and run many times."""

    text: str
    parameters: tuple[str, ...] = ()
    # values of parameters that belong to the text rather than to a run
    constants: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """List the values of the parameters in their order. Raise KeyError if one has none."""
        if self.constants:
            values = {**self.constants, **values}
        return [values[name] for name in self.parameters]

    def __str__(self) -> str:
        return self.text


@lru_cache(MAX_SHAPES)
def text(sql: str) -> Statement:
    """Build a statement of SQL text in which `:name` is a parameter. A name that occurs twice is one parameter. The tenant is
    hidden from the planner."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    numbered = _PARAMETER.sub(number, hide_tenant(sql))
    return Statement(numbered, tuple(numbers))


def compose(expression: ClauseElement) -> Statement:
    """Compile an expression of SQLAlchemy Core. This takes a millisecond, so callers do it once for each shape of a statement,
    with a named parameter for everything that differs between two runs."""
    compiled = expression.compile(dialect=_DIALECT)
    names = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
    constants = {name: compiled.params[name] for name in names if not compiled.binds[name].required}  # type: ignore[attr-defined]
    return Statement(str(compiled), names, constants)


def statement(path: str, **values: str) -> Statement:
    """Build a statement of the file of this path whose tokens have these values."""
    return text(render(path, values))
