"""Inputs: declarations of input fields, their values, and the inputs and payloads that several mutations share."""

import hashlib
from dataclasses import is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
import strawberry

from db.errors import BadInput
from db.tenancy.idempotency import IdempotencyKey
from schema.language.fields import field
from schema.language.node_ids import write_id
from schema.language.scopes import READ

KEY_LENGTH = 200

INPUT = strawberry.argument(description="Input of the mutation.")


def input_field(description: str, **options: Any) -> Any:
    """Declare a field of an input type."""
    return strawberry.field(description=description, **options)


def optional_input_field(description: str) -> Any:
    """Declare a field of an input type that may be omitted."""
    return strawberry.field(description=description, default=strawberry.UNSET)


AT = "Start of validity. Defaults to now. It may lie in the past, and at most 5 seconds in the future."
END = "End of validity. Defaults to now. At most 5 seconds in the future."
KEY = (
    "Name that the client chooses for this write. A repetition with the same content is not executed, and gets the answer of the"
    " first request."
)


@strawberry.type(description="Result of a deletion.")
class DeletePayload:
    uid: UUID = field(READ, "Uid of what was deleted.")
    changed: bool = field(READ, "True if this mutation deleted it; false if it was deleted before.")
    deleted_id: strawberry.ID = field(READ, "Id to remove from caches. It contains `at` if the input gave one.")

    @classmethod
    def of(cls, type_name: str, uid: UUID, at: datetime | None, *, changed: bool) -> "DeletePayload":
        """Build the payload of a deletion. The id is that of a payload of the same request before the deletion."""
        return cls(uid=uid, changed=changed, deleted_id=write_id(type_name, uid, at))


@strawberry.input(description="Names a type to remove from its registry.")
class RemoveTypeInput:
    code: str = input_field("Code of the type. A relationship type may be named by its key if no other type has the same key.")


@strawberry.type(description="Result of the removal of a type.")
class RemovePayload:
    code: str = field(READ, "Code of the removed type.")


def provided_fields(value: Any) -> Any:
    """Return an input as plain values, without the fields that were omitted."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {name: provided_fields(part) for name, part in vars(value).items() if part is not strawberry.UNSET}
    if isinstance(value, list):
        return [provided_fields(it) for it in value]
    return value


def idempotency_key_of(mutation: str, content: dict[str, Any]) -> IdempotencyKey | None:
    """Remove the idempotency key from the content of a mutation, and return it with a digest of the rest; None: it has none."""
    key = content.pop("idempotency_key", None)
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH or "\0" in key:
        raise BadInput(f"idempotencyKey has to have 1 to {KEY_LENGTH} characters, none of them NUL.", field="idempotencyKey")
    # `at: null` means the same as no `at`
    digested = {name: part for name, part in content.items() if name != "at" or part is not None}
    try:
        serialized = orjson.dumps([mutation, digested], option=orjson.OPT_SORT_KEYS, default=str)
    except orjson.JSONEncodeError as error:
        raise BadInput(f"input cannot be stored as JSON: {error}.", field="input") from error
    return IdempotencyKey(key, UUID(bytes=hashlib.blake2b(serialized, digest_size=16).digest()))
