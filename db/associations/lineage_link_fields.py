"""Validation of the state of a lineage link, whether it comes from GraphQL or from a file."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from db.errors import BadInput
from db.fields import NAME_LENGTH, json_object, line, text_of

LINK_TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
TRANSFORMATION_LENGTH = 10_000


def validate_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole state of a link. A field that is missing or null takes its default."""
    return validate_patch({field: fields.get(field) for field in _VALIDATORS})


def validate_patch(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Validate some fields of a link. A field that is null takes its default."""
    return {field: _VALIDATORS[field](value) for field, value in fields.items()}


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
    if value is None:
        return "DIRECT"
    if value not in LINK_TYPES:
        raise BadInput(f"type must be one of {', '.join(LINK_TYPES)}.", field="type")
    return str(value)


def _transformation(value: Any) -> str | None:
    return None if value is None else text_of("transformation", value, length=TRANSFORMATION_LENGTH)


def _confidence(value: Any) -> float:
    return 1.0 if value is None else confidence_of("confidence", value)


def _metadata(value: Any) -> dict[str, Any]:
    return {} if value is None else json_object("metadata", value, example='{"job": "nightly"}')


_VALIDATORS: dict[str, Callable[[Any], Any]] = {
    "type": _type,
    "transformation": _transformation,
    "confidence": _confidence,
    "metadata": _metadata,
}
