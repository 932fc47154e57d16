"""Validation of the state of a lineage link, whether it comes from GraphQL or from a file."""

import math
from collections.abc import Mapping
from typing import Any

from db.errors import BadInput
from db.fields import NAME_LENGTH, json_object, line, text_of

LINK_TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
TRANSFORMATION_LENGTH = 10_000


def validate_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole state of a link. A field that is missing or null takes its default."""
    type_, transformation, confidence = fields.get("type"), fields.get("transformation"), fields.get("confidence")
    metadata = fields.get("metadata")
    if transformation is not None:
        transformation = text_of("transformation", transformation, length=TRANSFORMATION_LENGTH)
    return {
        "type": "DIRECT" if type_ is None else _type(type_),
        "transformation": transformation,
        "confidence": 1.0 if confidence is None else confidence_of("confidence", confidence),
        "metadata": {} if metadata is None else json_object("metadata", metadata, example='{"job": "nightly"}'),
    }


def producer(value: str | None) -> str | None:
    """Validate the name of the producer that reports a link."""
    return None if value is None else line("producer", value, length=NAME_LENGTH)


def confidence_of(field: str, value: Any) -> float:
    """Validate a confidence, a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise BadInput(f"{field} must be a number from 0 to 1.", field=field)
    # turns -0.0 into 0.0, and an int into a float
    return float(value) + 0.0


def _type(value: Any) -> str:
    if value not in LINK_TYPES:
        raise BadInput(f"type must be one of {', '.join(LINK_TYPES)}.", field="type")
    return str(value)
