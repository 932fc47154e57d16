"""What a product may be made of. Every way in, GraphQL or file, is held to it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from db.errors import BadInput
from db.fields import NAME_LENGTH, json_object, line, text_of

STATUSES = ("ACTIVE", "DEPRECATED", "INACTIVE")
DESCRIPTION_LENGTH = 10_000
TAGS = 50

# https://semver.org, its own expression
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)

_DEFAULTS: dict[str, Any] = {"description": None, "tags": [], "status": "ACTIVE", "version": "1.0.0"}


def validate_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A whole product: what is left out takes its default."""
    given = {field: value for field, value in fields.items() if value is not None or field not in _DEFAULTS}
    return validate_patch({**_DEFAULTS, **given})


def validate_patch(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Some fields of a product, each checked and in its one form."""
    return {field: _CHECKS[field](field, value) for field, value in fields.items()}


def _description(field: str, value: Any) -> str | None:
    return None if value is None else text_of(field, value, length=DESCRIPTION_LENGTH)


def _schema(field: str, value: Any) -> dict[str, Any]:
    return json_object(field, value, example='{"fields": [{"name": "id", "type": "int"}]}')


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
