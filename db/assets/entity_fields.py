"""Validation of the fields of an entity, for every source of writes."""

from collections.abc import Mapping, Sequence
from typing import Any

from db.errors import BadInput
from db.fields import excerpt, line
from db.registries.detail_format import format_error
from db.registries.type_registry import TypeRegistry

DISPLAY_NAME_LENGTH = 500
KEY_LENGTH = 500
MAX_DETAILS = 200


def validate_state(
    registry: TypeRegistry, type_: str, display_name: str, details: Mapping[str, str], keys: Sequence[str] | None = None
) -> dict[str, Any]:
    """Validate the whole state of an entity of a type. Without `keys` it leaves those of the entity as they are."""
    registry.require_entity(type_)
    state = {"display_name": _display_name(display_name), "details": _details(registry, details)}
    return state if keys is None else {**state, "keys": list(keys)}


def validate_patch(registry: TypeRegistry, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Validate some fields of an entity. A detail whose value is None is to be removed."""
    patch: dict[str, Any] = {}
    if "display_name" in fields:
        patch["display_name"] = _display_name(fields["display_name"])
    if "details" in fields:
        details = fields["details"]
        values = _details(registry, {code: value for code, value in details.items() if value is not None})
        for code in details.keys() - values.keys():
            registry.require_detail(code, field="removeDetails")
        patch["details"] = {code: values.get(code) for code in details}
    return patch


def key(value: str) -> str:
    """Validate the key of an entity, its identifier in the system it comes from."""
    return line("key", value, length=KEY_LENGTH)


def _display_name(value: Any) -> str:
    return line("displayName", value, length=DISPLAY_NAME_LENGTH)


def _details(registry: TypeRegistry, details: Mapping[str, str]) -> dict[str, str]:
    if len(details) > MAX_DETAILS:
        raise BadInput(f"details has {len(details)} entries; at most {MAX_DETAILS} are allowed.", field="details")
    for code, value in details.items():
        registry.require_detail(code)
        error = format_error(registry.formats[code], value)
        if error is not None:
            of_type = f"The detail {code} {excerpt(value)}"
            blind = f"{of_type} does not have the format of its type."
            raise BadInput(f"{of_type} {error}", field="details", blind=blind)
    return dict(details)
