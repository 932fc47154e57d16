"""What a join may be made of. Every way in, GraphQL or file, is held to it."""

import re
from collections.abc import Mapping
from typing import Any

from db.fields import json_object

# What other systems identify a record by: an integer, or a UUID, in the one form in which it is written there.
_IDENTIFIER = re.compile(r"0|-?[1-9][0-9]{0,37}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def validate_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The whole state of a join: what is left out, or null, takes its default."""
    attributes = fields.get("attributes")
    return {"attributes": {} if attributes is None else json_object("attributes", attributes, example='{"since": "2026-01-01"}')}


def is_identifier(key: str) -> bool:
    """Whether a key can be the identifier of a record that nothing else is known of."""
    return _IDENTIFIER.fullmatch(key) is not None
