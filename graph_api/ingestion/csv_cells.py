"""Values in the cells of a CSV row. Errors name the column."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from db.errors import BadInput
from db.instants import read_instant

# Message for a required cell without content.
EMPTY = "The cell is empty. Give a value."

# Lone surrogates stand for bytes that are not UTF-8.
_INVALID_CHARACTER = re.compile("[\0\udc80-\udcff]")
_FIRST_SURROGATE = 0xDC00


class InvalidCell(NamedTuple):
    """A cell that holds an invalid character: its position in the row, from 0, and the message."""

    position: int
    message: str


def first_invalid(cells: Sequence[str]) -> InvalidCell | None:
    """Return the first cell with a NUL or a byte that is not UTF-8."""
    for index, cell in enumerate(cells):
        if match := _INVALID_CHARACTER.search(cell):
            if match[0] == "\0":
                return InvalidCell(index, "The cell holds a NUL character, which cannot be stored.")
            byte = ord(match[0]) - _FIRST_SURROGATE
            return InvalidCell(index, f"The cell holds the byte 0x{byte:02X}, which is not UTF-8. Save the file in UTF-8.")
    return None


def require_content(column: str, cell: str) -> str:
    """Return a cell that must not be blank."""
    if not cell or cell.isspace():
        raise BadInput(EMPTY, field=column)
    return cell


def read_uuid(column: str, cell: str) -> UUID:
    try:
        return UUID(cell)
    except ValueError as error:
        raise BadInput(f"{cell!r} is not a UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101.", field=column) from error


def read_json(column: str, cell: str) -> Any:
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The cell is not JSON: {error.msg}, at character {error.pos + 1}.", field=column) from error


def read_optional_instant(column: str, cell: str) -> datetime | None:
    """Return None for an empty cell."""
    try:
        return read_instant(cell) if cell else None
    except BadInput as error:
        raise BadInput(error.message, field=column) from error
