"""The registry of detail types: what may be known of an entity, and in which format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from db import fields
from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, Conflict, HeadwaterError, NotFound
from db.registries.detail_format import FORMATS
from db.registries.entity_type import PutOutcome
from db.sql import statement
from db.tables import detail_type as detail_types

_COUNT_USE = statement("registries/count_detail_type_use")
_LOCK = statement("registries/lock_detail_type")
_PUT = statement("registries/put_detail_types")
_REMOVE = statement("registries/remove_detail_type")


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
    row = validate_state(code, label, format_)
    (put,) = await put_each(connection, [row])
    if isinstance(put, HeadwaterError):
        raise put
    return row


def validate_state(code: str, label: str, format_: str | None = None) -> DetailTypeRow:
    """A whole type: what is left out is not registered of it."""
    if format_ is not None and format_ not in FORMATS:
        raise BadInput(f"format is one of {', '.join(FORMATS)}. Left out, it is any text.", field="format")
    return DetailTypeRow(fields.code("code", code), fields.line("label", label), format_)


async def put_each(connection: WriteConnection, rows: Sequence[DetailTypeRow]) -> list[PutOutcome | HeadwaterError]:
    """Register types, each once, or replace the whole of what is registered of them. Each is accepted or refused by itself."""
    found: dict[str, PutOutcome | HeadwaterError] = {**await _put(connection, rows, reformat=False)}
    unused: list[DetailTypeRow] = []
    for row in rows:
        if row.code not in found:
            # A looser format is another one too: the values that stand were projected by the old one, and only those of numbers
            # are found by what they are worth.
            try:
                await _refuse_used(connection, row.code, "Its format cannot change any more", field="format")
            except HeadwaterError as error:
                found[row.code] = error
            else:
                unused.append(row)
    if unused:
        found |= await _put(connection, unused, reformat=True)
    return [found[row.code] for row in rows]


async def remove(connection: WriteConnection, code: str) -> None:
    """Take a type out of the registry that no entity has a detail of, or ever had."""
    await _refuse_used(connection, code, "The type cannot be removed", field="code")
    await connection.execute(_REMOVE, {"code": code})


async def _put(connection: WriteConnection, rows: Sequence[DetailTypeRow], *, reformat: bool) -> dict[str, PutOutcome]:
    given = {"codes": [it.code for it in rows], "labels": [it.label for it in rows], "formats": [it.format for it in rows]}
    return {it.code: PutOutcome(it.created, it.changed) for it in await connection.fetch(_PUT, {**given, "reformat": reformat})}


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
