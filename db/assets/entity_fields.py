"""What an entity may be made of. Every way in, GraphQL or file, is held to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.errors import BadInput, UnknownType
from db.fields import line
from db.registries.detail_format import format_error

DISPLAY_NAME_LENGTH = 500
KEY_LENGTH = 500
DETAILS = 200
# How many of the known codes a message names.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class TypeRegistry:
    """The registries as a write sees them: the types of entities, and the format of each type of detail."""

    entities: frozenset[str]
    formats: Mapping[str, str | None]

    def require_entity(self, code: str, *, field: str = "type") -> None:
        if code not in self.entities:
            raise UnknownType(f"There is no entity type {code!r}. {_known_codes(self.entities)}", field=field)

    def require_detail(self, code: str, *, field: str = "details") -> None:
        if code not in self.formats:
            raise UnknownType(f"There is no detail type {code!r}. {_known_codes(self.formats)}", field=field)


def validate_state(types: TypeRegistry, code: str, display_name: str, details: Mapping[str, str]) -> dict[str, Any]:
    """The whole state of an entity of a type."""
    types.require_entity(code)
    return {"display_name": _display_name(display_name), "details": _details(types, details)}


def validate_patch(types: TypeRegistry, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Some fields of an entity; a detail that is None is taken away."""
    checked: dict[str, Any] = {}
    if "display_name" in fields:
        checked["display_name"] = _display_name(fields["display_name"])
    if "details" in fields:
        details = fields["details"]
        given = _details(types, {code: value for code, value in details.items() if value is not None})
        for code in details.keys() - given.keys():
            types.require_detail(code, field="removeDetails")
        checked["details"] = {code: given.get(code) for code in details}
    return checked


def key(value: str) -> str:
    """The identifier of an entity in the system it comes from."""
    return line("key", value, length=KEY_LENGTH)


def _display_name(value: Any) -> str:
    return line("displayName", value, length=DISPLAY_NAME_LENGTH)


def _details(types: TypeRegistry, details: Mapping[str, str]) -> dict[str, str]:
    if len(details) > DETAILS:
        raise BadInput(f"details has {len(details)} entries; at most {DETAILS} are allowed.", field="details")
    for code, value in details.items():
        types.require_detail(code)
        fault = format_error(types.formats[code], value)
        if fault is not None:
            raise BadInput(f"The {code} {_excerpt(value)} {fault}", field="details")
    return dict(details)


def _excerpt(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "…")


def _known_codes(codes: "frozenset[str] | Mapping[str, Any]") -> str:
    if not codes:
        return "None is registered yet."
    more = f" and {len(codes) - _NAMED} more" if len(codes) > _NAMED else ""
    return f"There are {', '.join(sorted(codes)[:_NAMED])}{more}."
