"""What all mutations share: which fields were given, and how a repeated request is recognised."""

import hashlib
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
import strawberry

from db.errors import BadInput
from db.tenancy.idempotency import IdempotencyKey
from schema.language.node_ids import write_id
from schema.language.scopes import READ, field

KEY_LENGTH = 200

INPUT = strawberry.argument(description="What is to be done.")


def input_field(description: str, **options: Any) -> Any:
    """A field of an input type."""
    return strawberry.field(description=description, **options)


def optional_input_field(description: str) -> Any:
    """A field of an input type that may be left out."""
    return strawberry.field(description=description, default=strawberry.UNSET)


AT = "From when on it holds; left out or null: from now on. It may lie in the past, at most 5 seconds in the future."
KEY = "Your own name for this write. Sent again with the same content, it is answered as the first time and not done twice."


@strawberry.input(description="What is to end.")
class DeleteInput:
    uid: UUID = input_field("Its uid.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="What is to return to what it was last.")
class RestoreInput:
    uid: UUID = input_field("Its uid.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="What became of a deletion.")
class DeletePayload:
    uid: UUID = field(READ, "What was to end.")
    changed: bool = field(READ, "Whether this ended it; false: it had ended already.")
    deleted_id: strawberry.ID = field(
        READ, "What no longer names anything, for a cache to forget: the plain id, or where at was given, the id at that instant."
    )

    @classmethod
    def of(cls, type_name: str, ended: DeleteInput, *, changed: bool) -> "DeletePayload":
        """What became of a deletion, with the id that a payload of the same request would have had before it."""
        return cls(uid=ended.uid, changed=changed, deleted_id=write_id(type_name, ended.uid, provided_fields(ended).get("at")))


@strawberry.input(description="A type to take out of its registry.")
class RemoveTypeInput:
    code: str = input_field("Its code; of a relationship type its key, too, where only one has that.")


@strawberry.type(description="What became of a removal.")
class RemovePayload:
    code: str = field(READ, "The code that is free now.")


def provided_fields(value: Any) -> Any:
    """An input as plain values, without what was left out."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        parts = {it.name: provided_fields(getattr(value, it.name)) for it in fields(value)}
        return {name: part for name, part in parts.items() if part is not strawberry.UNSET}
    if isinstance(value, list):
        return [provided_fields(it) for it in value]
    return value


def idempotency_key_of(mutation: str, content: dict[str, Any]) -> IdempotencyKey | None:
    """The request by its idempotencyKey, if it bears one. What it asks for is the mutation and all else that was given."""
    key = content.pop("idempotency_key", None)
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH or "\0" in key:
        raise BadInput(f"An idempotencyKey has 1 to {KEY_LENGTH} characters, none of them NUL.", field="idempotencyKey")
    # an instant of null is one left out
    asked = {name: part for name, part in content.items() if name != "at" or part is not None}
    try:
        written = orjson.dumps([mutation, asked], option=orjson.OPT_SORT_KEYS, default=str)
    except orjson.JSONEncodeError as error:
        raise BadInput(f"The input cannot be kept as JSON: {error}.", field="input") from error
    return IdempotencyKey(key, UUID(bytes=hashlib.blake2b(written, digest_size=16).digest()))
