"""Validation of the fields of an entity, for every source of writes."""

from collections.abc import Mapping, Sequence
from typing import Any

from db.assets.entity_key import compared_key
from db.driver import MAX_KEYS
from db.errors import BadInput, NotFound
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
    if "keys" in fields:
        patch["keys"] = _key_patch(fields["keys"])
    return patch


def key(value: str, *, field: str = "key") -> str:
    """Validate the key of an entity, its identifier in the system it comes from. An error names `field`."""
    return line(field, value, length=KEY_LENGTH)


def keys(primary: str | None, alternates: Sequence[str] | None, *, field: str = "alternateKeys") -> list[str] | None:
    """Validate all keys of an entity, the primary one first. None: neither is given. Errors of the others name `field`."""
    if primary is None and alternates:
        raise BadInput(f"{field} needs a key, which is the primary one.", field=field)
    if primary is None:
        return None if alternates is None else []
    given = [key(primary), *(key(it, field=field) for it in alternates or ())]
    if len(given) > MAX_KEYS:
        raise BadInput(f"There are {len(given)} keys; at most {MAX_KEYS} are allowed.", field=field)
    if len({compared_key(it) for it in given}) < len(given):
        raise BadInput("A key is given twice. All spellings of a UUID are the same key.", field=field)
    return given


def ambiguous_key() -> NotFound:
    """Build the error of a write by a key that no entity has, while the entity with the uid derived from the key has others."""
    return NotFound(
        "No entity has this key at that instant, and the one that had it first has another. Give its uid.", field="key"
    )


def _key_patch(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Validate a patch of keys: `primary`, a new primary key or None to remove it; the keys to `add` and to `remove`."""
    added = [key(it, field="addKeys") for it in patch.get("add", ())]
    removed = [key(it, field="removeKeys") for it in patch.get("remove", ())]
    for field, given in (("addKeys", added), ("removeKeys", removed)):
        if len(given) > MAX_KEYS:
            raise BadInput(f"{field} has {len(given)} keys; at most {MAX_KEYS} are allowed.", field=field)
    primary = {"primary": None if patch["primary"] is None else key(patch["primary"])} if "primary" in patch else {}
    kept = added + [it for it in primary.values() if it is not None]
    if {compared_key(it) for it in kept} & {compared_key(it) for it in removed}:
        raise BadInput("removeKeys has a key that is also given or added. Name each key once.", field="removeKeys")
    return {**primary, **({"add": added} if added else {}), **({"remove": removed} if removed else {})}


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
