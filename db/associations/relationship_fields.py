"""Validation of the state of a relationship, whether it comes from GraphQL or from a file."""

import re
from collections.abc import Mapping
from typing import Any

from db.fields import json_object

# Identifiers of records in other systems: an integer or a UUID in canonical form.
_IDENTIFIER = re.compile(r"0|-?[1-9][0-9]{0,37}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def validate_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole state of a relationship. A field that is missing or null takes its default."""
    return {"attributes": _attributes(fields.get("attributes"))}


def validate_patch(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Validate some fields of a relationship. A field that is null takes its default."""
    return validate_state(fields) if "attributes" in fields else {}


def _attributes(value: Any) -> dict[str, Any]:
    return {} if value is None else json_object("attributes", value, example='{"since": "2026-01-01"}')


def is_identifier(key: str) -> bool:
    """True if a key can identify a record in another system, so that a stub can be created for it."""
    return _IDENTIFIER.fullmatch(key) is not None
