"""Validation of the fields of a product, for every source of writes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from db.errors import BadInput
from db.fields import NAME_LENGTH, excerpt, json_object, line, text_of

STATUSES = ("ACTIVE", "DEPRECATED", "INACTIVE")
DESCRIPTION_LENGTH = 10_000
MAX_TAGS = 50
TAG_LENGTH = 100

# The regular expression that https://semver.org suggests.
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)

_DEFAULTS: dict[str, Any] = {"description": None, "tags": [], "status": "ACTIVE", "version": "1.0.0"}


def validate_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the whole state of a product. A field that has a default takes it if it is missing or None."""
    provided = {field: value for field, value in fields.items() if value is not None or field not in _DEFAULTS}
    return validate_patch({**_DEFAULTS, **provided})


def validate_patch(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Validate some fields of a product, and bring each to its canonical form."""
    return {field: _VALIDATORS[field](field, value) for field, value in fields.items()}


def _description(field: str, value: Any) -> str | None:
    return None if value is None else text_of(field, value, length=DESCRIPTION_LENGTH)


def _schema(field: str, value: Any) -> dict[str, Any]:
    return json_object(field, value, example='{"fields": [{"name": "id", "type": "int"}]}')


def _status(field: str, value: Any) -> str:
    if value not in STATUSES:
        raise BadInput(f"{field} is {excerpt(value)}. It must be one of {', '.join(STATUSES)}.", field=field)
    return str(value)


def _version(field: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > NAME_LENGTH or not _SEMANTIC_VERSION.fullmatch(value):
        raise BadInput(f"{field} must be a semantic version such as 1.4.0 or 2.0.0-rc.1.", field=field)
    return value


def _tags(field: str, value: Any) -> list[str]:
    tags = list(dict.fromkeys(line(field, tag, length=TAG_LENGTH) for tag in value or ()))
    if len(tags) > MAX_TAGS:
        raise BadInput(f"{field} has {len(tags)} entries; at most {MAX_TAGS} are allowed.", field=field)
    return tags


_VALIDATORS: dict[str, Callable[[str, Any], Any]] = {
    "name": line,
    "domain": line,
    "owner": line,
    "description": _description,
    "schema": _schema,
    "status": _status,
    "version": _version,
    "tags": _tags,
}
