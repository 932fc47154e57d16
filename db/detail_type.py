"""The registry of detail types: what may be known of an entity, and in which format."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text

from db import fields
from db.connection import ReadConnection, WriteConnection
from db.detail_format import FORMATS
from db.errors import BadInput, Conflict, NotFound
from db.sql import load
from db.tables import detail_type as detail_types

_COUNT_USE = text(load("count_detail_type_use"))
_LOCK = text(load("lock_detail_type"))
_PUT = text(load("put_detail_type"))
_REMOVE = text(load("remove_detail_type"))


@dataclass(frozen=True, slots=True)
class DetailTypeRow:
    """A type of detail. Without a format its values are any text."""

    code: str
    label: str
    format: str | None


async def all_detail_types(connection: ReadConnection) -> list[DetailTypeRow]:
    """Every type, in order of the code."""
    mine = select(detail_types).where(detail_types.c.tenant_id == connection.tenant_id)
    return [_detail_type(row) for row in await connection.fetch(mine.order_by(detail_types.c.code))]


async def put(connection: WriteConnection, code: str, label: str, format_: str | None = None) -> DetailTypeRow:
    """Register a type, or replace the whole of what is registered of it. The format of a type in use stays what it is."""
    if format_ is not None and format_ not in FORMATS:
        raise BadInput(f"format is one of {', '.join(FORMATS)}. Left out, it is any text.", field="format")
    row = DetailTypeRow(fields.code("code", code), fields.line("label", label), format_)
    written = {"code": row.code, "label": row.label, "format": row.format}
    if not await connection.execute(_PUT, {**written, "reformat": False}):
        # A looser format is another one too: the values that stand were projected by the old one, and only those of numbers are
        # found by what they are worth.
        await _refuse_used(connection, code, "Its format cannot change any more", field="format")
        await connection.execute(_PUT, {**written, "reformat": True})
    return row


async def remove(connection: WriteConnection, code: str) -> None:
    """Take a type out of the registry that no entity has a detail of, or ever had."""
    await _refuse_used(connection, code, "The type cannot be removed", field="code")
    await connection.execute(_REMOVE, {"code": code})


async def _refuse_used(connection: WriteConnection, code: str, consequence: str, *, field: str) -> None:
    """See that nothing uses a type. Whoever is about to waits for the lock, and whoever just did is counted."""
    if await connection.fetch_one(_LOCK, {"code": code}) is None:
        raise NotFound(f"There is no detail type {code!r}.", field="code")
    use = await connection.fetch_one(_COUNT_USE, {"code": code})
    if use is not None and use.entities:
        have = "1 entity has" if use.entities == 1 else f"{use.entities} entities have"
        raise Conflict(f"{have} or had such a detail (ended ones count: their history needs it). {consequence}.", field=field)


def _detail_type(row: Any) -> DetailTypeRow:
    return DetailTypeRow(row.code, row.label, row.format)
