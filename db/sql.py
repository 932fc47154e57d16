"""SQL files, and the one renderer that fills their tokens.

A statement is a file beside the package that runs it, such as `lineage/walk.sql`. A file whose name begins with an underscore is
a fragment: `{include _fold}` puts it into a statement of its package, `{include consistency/_label}` into one of another.
`{token}` is replaced by the SQL text that the caller gives; `Kind.sql_params` lists the tokens of a versioned kind. Comment lines
are for readers: they are not sent, and what looks like a token or a parameter in them is none.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from sqlalchemy import TextClause, text

_INCLUDE = re.compile(r"\{include ([\w/]+)\}")
_TOKEN = re.compile(r"\{(\w+)\}")
_COMMENT_LINE = re.compile(r"^ *--.*\n", re.MULTILINE)


@cache
def load(path: str) -> str:
    """Read `db/<path>.sql` with its fragments, without comment lines, tokens unfilled."""
    folder = PurePosixPath(path).parent

    def include(match: re.Match[str]) -> str:
        return load(match[1] if "/" in match[1] else str(folder / match[1])).rstrip()

    return _INCLUDE.sub(include, _COMMENT_LINE.sub("", files("db").joinpath(f"{path}.sql").read_text()))


@cache
def tokens_of(path: str) -> frozenset[str]:
    """List the tokens of a file and its fragments."""
    return frozenset(_TOKEN.findall(load(path)))


def render(path: str, values: Mapping[str, str] | None = None) -> str:
    """Fill the tokens of `db/<path>.sql`. Raise ValueError if a token has no value or a value has no token."""
    given, known = dict(values or {}), tokens_of(path)
    if given.keys() != known:
        missing, unused = sorted(known - given.keys()), sorted(given.keys() - known)
        raise ValueError(f"{path}.sql: tokens without a value {missing}, values without a token {unused}.")
    return _TOKEN.sub(lambda match: given[match[1]], load(path))


def statement(path: str, **values: str) -> TextClause:
    """Build a statement of `db/<path>.sql` whose tokens have these values."""
    return text(render(path, values))
