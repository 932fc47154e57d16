"""Ids: each names a thing at an instant, in one canonical form that docs/time.md describes for other subgraphs."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.instants import write_instant
from schema.language.scalars import parse_instant
from schema.language.scopes import READ, field

_ID = re.compile(r"([A-Z][A-Za-z]*):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:@(.+))?", re.ASCII)

AsOf = Annotated[
    datetime | None,
    strawberry.argument(
        description="The instant to read at; what is below inherits it. Left out or null: the instant of what is above, or now."
    ),
]


@strawberry.interface(description="Anything that can be fetched again by its id.")
class Node:
    id: strawberry.ID = field(
        READ,
        "Names this at an instant: plain where it is read now; where it is read with asOf, it carries that instant, and"
        " leads back to that reading.",
    )


def write_id(type_name: str, uid: UUID, instant: datetime | None) -> strawberry.ID:
    """`Type:uid`, and `@instant` where the reading is pinned to one."""
    return strawberry.ID(f"{type_name}:{uid}" if instant is None else f"{type_name}:{uid}@{write_instant(instant)}")


def read_id(text: str, *, field: str = "id") -> tuple[str, UUID, datetime | None]:
    """Strictly what `write_id` wrote: any other spelling is refused, so that one thing has one id."""
    found = _ID.fullmatch(text)
    if found is None:
        raise BadInput(f"{text[:100]!r} is no id of this API. An id reads Type:uid or Type:uid@instant.", field=field)
    type_name, uid, written = found.groups()
    try:
        instant = None if written is None else parse_instant(written)
    except Exception as error:
        raise BadInput(f"{text[:100]!r} is no id of this API: what follows the @ is no instant.", field=field) from error
    if write_id(type_name, UUID(uid), instant) != text:
        raise BadInput(f"{text[:100]!r} is not the canonical form of an id: instants in it are UTC and end in Z.", field=field)
    return type_name, UUID(uid), instant


def read_uid(text: str, *, field: str = "uid") -> UUID:
    """A uid as a gateway sends it."""
    try:
        return UUID(text)
    except ValueError as error:
        raise BadInput(f"{text[:100]!r} is no UUID.", field=field) from error
