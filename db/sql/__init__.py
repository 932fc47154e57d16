"""Fixed statements, one a file, and what statements that are put together share."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from sqlalchemy import CollectionAggregate, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine


@cache
def load(name: str) -> str:
    """The text of a statement."""
    return files(__package__).joinpath(f"{name}.sql").read_text()


def any_of(values: Iterable[Any], kind: type[TypeEngine[Any]]) -> CollectionAggregate[Any]:
    """For `column == any_of(...)`: one parameter however many values, so that the statement is prepared once."""
    return any_(bindparam(None, list(dict.fromkeys(values)), type_=ARRAY(kind)))
