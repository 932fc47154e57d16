"""Registry of detail types: the details that entities may have, and the format of their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, select

from db import fields
from db.connection import ReadConnection, WriteConnection
from db.entry_list import EntryList
from db.errors import BadInput, Conflict, HeadwaterError
from db.filters import TENANT, any_of
from db.registries.detail_format import FORMATS
from db.registries.registry import PutOutcome, RegistryRecord, entities_have, lock_type, put_one, record_of
from db.sql import compose, statement
from db.tables import detail_type as detail_types

# The part that the details of a type play for their entity.
ROLES = ("DESCRIPTION", "URL", "OWNER", "TAG")

_BY_CODE = compose(select(detail_types).where(detail_types.c.tenant_id == TENANT, detail_types.c.code == any_of("codes", Text)))
_COUNT_USE = statement("registries/count_detail_type_use")
_LOCK = statement("registries/lock_detail_type")
_PUT = statement("registries/put_detail_types")
_REMOVE = statement("registries/remove_detail_type")


@dataclass(frozen=True, slots=True)
class DetailTypeRow(RegistryRecord):
    """A detail type. Without a format its values are any text."""

    code: str
    label: str
    format: str | None
    role: str | None = None


def _detail_type(row: Any) -> DetailTypeRow:
    return DetailTypeRow(row.code, row.label, row.format, row.role, **record_of(row))


# All detail types, in order of the code.
DETAIL_TYPES = EntryList(detail_types, _detail_type, detail_types.c.code)


async def detail_types_by_code(connection: ReadConnection, codes: Sequence[str]) -> list[DetailTypeRow | None]:
    """Find detail types by code."""
    rows = await connection.fetch(_BY_CODE, {"codes": list(codes)})
    types = {row.code: _detail_type(row) for row in rows}
    return [types.get(code) for code in codes]


async def put(
    connection: WriteConnection, code: str, label: str, format_: str | None = None, role: str | None = None
) -> DetailTypeRow:
    """Register a detail type, or replace the one with this code. The format of a type in use cannot change."""
    return await put_one(connection, validate_state(code, label, format_, role), put_each)


def validate_state(code: str, label: str, format_: str | None = None, role: str | None = None) -> DetailTypeRow:
    """Validate a whole detail type."""
    if format_ is not None and format_ not in FORMATS:
        raise BadInput(
            f"format is {fields.excerpt(format_)}. It must be one of {', '.join(FORMATS)}, or left out for any text.",
            field="format",
        )
    if role is not None and role not in ROLES:
        raise BadInput(
            f"role is {fields.excerpt(role)}. It must be one of {', '.join(ROLES)}, or left out for none.", field="role"
        )
    return DetailTypeRow(fields.code("code", code), fields.line("label", label), format_, role)


async def put_each(connection: WriteConnection, rows: Sequence[DetailTypeRow]) -> list[PutOutcome | HeadwaterError]:
    """Register detail types with different codes, or replace those with their codes. Return the outcome or the error of each."""
    outcomes: dict[str, PutOutcome | HeadwaterError] = {**await _put(connection, rows, replace_format=False)}
    with_new_format: list[DetailTypeRow] = []
    for row in rows:
        if row.code not in outcomes:
            # A looser format is a change as well: projected values have the form of the old format, and only those of numbers
            # are indexed as numbers.
            error = await _lock_and_check_unused(connection, row.code, "Its format cannot change.", field="format")
            if error is not None:
                outcomes[row.code] = error
            else:
                with_new_format.append(row)
    if with_new_format:
        outcomes |= await _put(connection, with_new_format, replace_format=True)
    return [outcomes[row.code] for row in rows]


async def remove(connection: WriteConnection, code: str) -> None:
    """Remove a detail type. Raise Conflict if an entity has or had a detail of it."""
    error = await _lock_and_check_unused(connection, code, "It cannot be removed.", field="code")
    if error is not None:
        raise error
    await connection.execute(_REMOVE, {"code": code})


async def _put(connection: WriteConnection, rows: Sequence[DetailTypeRow], *, replace_format: bool) -> dict[str, PutOutcome]:
    """Run `put_detail_types.sql`. Return the outcomes by code; a type whose format would change has none."""
    written = await connection.fetch(
        _PUT,
        {
            "codes": [row.code for row in rows],
            "labels": [row.label for row in rows],
            "formats": [row.format for row in rows],
            "roles": [row.role for row in rows],
            "replace_format": replace_format,
            "actor": connection.author.actor,
        },
    )
    return {row.code: PutOutcome(row.created, row.changed, RegistryRecord(**record_of(row))) for row in written}


async def _lock_and_check_unused(
    connection: WriteConnection, code: str, consequence: str, *, field: str
) -> HeadwaterError | None:
    """Lock a detail type, and return an error if an entity has or had a detail of it."""
    missing = await lock_type(connection, _LOCK, code, label="detail type")
    if missing is not None:
        return missing
    use = await connection.fetch_one(_COUNT_USE, {"code": code})
    if use is None or not use.entities:
        return None
    return Conflict(
        f"{entities_have(use.entities)} or had a detail of the type {code!r}, deleted entities included. {consequence}",
        field=field,
        blind=f"Entities have or had a detail of the type {code!r}, deleted entities included. {consequence}",
    )
