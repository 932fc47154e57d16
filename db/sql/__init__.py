"""Fixed statements, one a file, and what statements that are put together share."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from sqlalchemy import CollectionAggregate, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

_INCLUDED = re.compile(r"\{include (\w+)\}")


@cache
def load(name: str) -> str:
    """The text of a statement, with the parts that it shares with others."""
    written = files(__package__).joinpath(f"{name}.sql").read_text()
    return _INCLUDED.sub(lambda part: load(part[1]).rstrip(), written)


def any_of(values: Iterable[Any], kind: type[TypeEngine[Any]]) -> CollectionAggregate[Any]:
    """For `column == any_of(...)`: one parameter however many values, so that the statement is prepared once."""
    return any_(bindparam(None, list(dict.fromkeys(values)), type_=ARRAY(kind)))


def pattern_of(contained: str) -> str:
    """The pattern of whatever contains a text."""
    return "%" + contained.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
