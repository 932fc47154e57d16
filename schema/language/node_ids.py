"""Ids: each names an object at an instant. docs/time.md describes the canonical form for other subgraphs."""

import re
from datetime import datetime
from typing import Annotated, NamedTuple
from urllib.parse import quote, unquote
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.fields import refuse_unstorable
from db.instants import write_instant
from db.uids import parse_uid
from schema.language.fields import field
from schema.language.scalars import UUID_EXAMPLE, parse_instant
from schema.language.scopes import READ

_ID = re.compile(r"([A-Z][A-Za-z]*):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:@(.+))?", re.ASCII)
# A domain has no uid. Its id contains its name, as a path in an address would.
_DOMAIN_ID = re.compile(r"(Domain):((?:[\w.~-]|%[0-9A-F]{2})+)(?:@(.+))?", re.ASCII)
# Characters of an invalid value that a message repeats.
_QUOTED_LENGTH = 100

AsOf = Annotated[
    datetime | None,
    strawberry.argument(
        description="Instant to read at, also for all fields below. Defaults to the instant of the parent, or now."
    ),
]


ID = (
    "Names this object. If it was read with asOf, the id contains that instant and leads to the same state; otherwise it"
    " leads to the current state."
)


@strawberry.interface(description="An object that can be read again by its id.")
class Node:
    id: strawberry.ID = field(READ, ID)


class ObjectId(NamedTuple):
    """The parts of an id. The key is a uid, or the name of a domain."""

    type_name: str
    key: UUID | str
    instant: datetime | None


def write_id(type_name: str, key: UUID | str, instant: datetime | None) -> strawberry.ID:
    """Return `Type:uid`, followed by `@instant` if the object was read at a requested instant."""
    return strawberry.ID(f"{type_name}:{key}" if instant is None else f"{type_name}:{key}@{write_instant(instant)}")


def write_domain_id(name: str, instant: datetime | None) -> strawberry.ID:
    """Return the id of a domain, in which all characters of its name that are not plain are encoded."""
    return write_id("Domain", quote(name, safe=""), instant)


def read_id(text: str) -> ObjectId:
    """Return the parts of an id. Only the spelling of `write_id` is accepted, so that an object has one id."""
    quoted = repr(text[:_QUOTED_LENGTH])
    of_domain = _DOMAIN_ID.fullmatch(text)
    matched = of_domain or _ID.fullmatch(text)
    if matched is None:
        raise BadInput(f"id is {quoted}. An id has the form Type:uid or Type:uid@instant.", field="id")
    type_name, written_key, written = matched.groups()
    try:
        instant = None if written is None else parse_instant(written)
    except Exception as error:
        raise BadInput(
            f"id is {quoted}. An instant is required after the @, such as 2024-05-01T00:00:00Z.", field="id"
        ) from error
    key = UUID(written_key) if of_domain is None else _read_name(written_key, quoted)
    canonical = write_id(type_name, key, instant) if isinstance(key, UUID) else write_domain_id(key, instant)
    if canonical != text:
        raise BadInput(f"id is {quoted}. Its canonical form is {str(canonical)!r}.", field="id")
    return ObjectId(type_name, key, instant)


def _read_name(encoded: str, quoted: str) -> str:
    """Return the name in the id of a domain."""
    try:
        name = unquote(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise BadInput(f"id is {quoted}. The name in it is not UTF-8.", field="id") from error
    refuse_unstorable("id", name)
    return name


def read_uid(text: str) -> UUID:
    """Return the uid that a gateway sent as text."""
    try:
        return parse_uid(text)
    except ValueError as error:
        raise BadInput(f"uid is {text[:_QUOTED_LENGTH]!r}. A UUID is required, such as {UUID_EXAMPLE}.", field="uid") from error
