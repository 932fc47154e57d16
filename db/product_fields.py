"""What a product may be made of. Every way in, GraphQL or file, is held to it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from db.errors import BadInput
from db.fields import NAME_LENGTH, line, refuse_unstorable, text_of

STATUSES = ("ACTIVE", "DEPRECATED", "INACTIVE")
DESCRIPTION_LENGTH = 10_000
TAGS = 50
SCHEMA_DEPTH = 64

# https://semver.org, its own expression
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)

_DEFAULTS: dict[str, Any] = {"description": None, "tags": [], "status": "ACTIVE", "version": "1.0.0"}


def whole(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A whole product: what is left out takes its default."""
    given = {field: value for field, value in fields.items() if value is not None or field not in _DEFAULTS}
    return patch({**_DEFAULTS, **given})


def patch(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Some fields of a product, each checked and in its one form."""
    return {field: _CHECKS[field](field, value) for field, value in fields.items()}


def _description(field: str, value: Any) -> str | None:
    return None if value is None else text_of(field, value, length=DESCRIPTION_LENGTH)


def _schema(field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f'{field} has to be a JSON object, such as {{"fields": [{{"name": "id", "type": "int"}}]}}.', field=field)
    if _depth(value) > SCHEMA_DEPTH:
        raise BadInput(f"{field} is nested more than {SCHEMA_DEPTH} levels deep.", field=field)
    try:
        encoded = orjson.dumps(value).decode()
    except (orjson.JSONEncodeError, TypeError) as error:
        raise BadInput(f"{field} cannot be kept as JSON: {error}.", field=field) from error
    if orjson.loads(encoded) != value:
        raise BadInput(f"{field} holds a number that JSON cannot carry.", field=field)
    refuse_unstorable(field, encoded.replace("\\\\", "").replace("\\u0000", "\0"))
    return value


def _depth(value: Any) -> int:
    """How deep a JSON value is nested, without nesting calls that deep."""
    depth, level = 0, [value]
    while level := [it for it in level if isinstance(it, dict | list)]:
        depth += 1
        level = [inner for it in level for inner in (it.values() if isinstance(it, dict) else it)]
    return depth


def _status(field: str, value: Any) -> str:
    if value not in STATUSES:
        raise BadInput(f"{field} is one of {', '.join(STATUSES)}; it cannot be cleared.", field=field)
    return str(value)


def _version(field: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > NAME_LENGTH or not _SEMANTIC_VERSION.fullmatch(value):
        raise BadInput(f"{field} has to be a semantic version such as 1.4.0 or 2.0.0-rc.1.", field=field)
    return value


def _tags(field: str, value: Any) -> list[str]:
    tags = list(dict.fromkeys(line(field, tag, length=100) for tag in value or ()))
    if len(tags) > TAGS:
        raise BadInput(f"{field} has {len(tags)} entries; at most {TAGS} are allowed.", field=field)
    return tags


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "name": line,
    "domain": line,
    "owner": line,
    "description": _description,
    "schema": _schema,
    "status": _status,
    "version": _version,
    "tags": _tags,
}
