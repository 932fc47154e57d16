"""Checks of text that fields of every kind share."""

import re
import unicodedata
from typing import Any

import orjson

from db.errors import BadInput

NAME_LENGTH = 200
JSON_DEPTH = 64

_EXCERPT_LENGTH = 100

# What most lines are: seen at a glance to be fine.
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}", re.ASCII)


def line(field: str, value: Any, *, length: int = NAME_LENGTH) -> str:
    """Text that people read in a list: one line, in which something can be seen."""
    text = text_of(field, value, length=length)
    if _PLAIN.fullmatch(text):
        return text
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise BadInput(f"{field} is empty. Give it at least one character that can be seen.", field=field)
    if text != text.strip() or any(unicodedata.category(character) == "Cc" for character in text):
        raise BadInput(f"{field} is one line, without spaces around it and without control characters.", field=field)
    return text


def text_of(field: str, value: Any, *, length: int) -> str:
    """Any text that can be kept."""
    if not isinstance(value, str):
        raise BadInput(f"{field} cannot be cleared or left without text.", field=field)
    if len(value) > length:
        raise BadInput(f"{field} has {len(value)} characters; at most {length} are allowed.", field=field)
    refuse_unstorable(field, value)
    return value


def code(field: str, value: str) -> str:
    """What programs call a type: plain enough to stand in a file, a path or a query as it is."""
    if not _CODE.fullmatch(value):
        raise BadInput(
            f"{field} begins with a letter, followed by up to 99 letters, digits, underscores, dots, colons and hyphens,"
            " all of them ASCII.",
            field=field,
        )
    return value


def refuse_unstorable(field: str, value: str) -> None:
    """PostgreSQL keeps neither a NUL nor half of a surrogate pair."""
    if value.isascii() and "\0" not in value:
        return
    if "\0" in value:
        raise BadInput(f"{field} holds a NUL character, which cannot be stored.", field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{field} holds half of a surrogate pair, which is no character.", field=field) from error


def excerpt(value: Any) -> str:
    """Quote a value for an error message, its start if it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= _EXCERPT_LENGTH else value[: _EXCERPT_LENGTH - 3] + "…")
    text = repr(value)
    return text if len(text) <= _EXCERPT_LENGTH else text[: _EXCERPT_LENGTH - 3] + "…"


def storable(value: str | None) -> str | None:
    """A text to look for, unless nothing can be called so."""
    try:
        refuse_unstorable("name", value or "")
    except BadInput:
        return None
    return value


def json_object(field: str, value: Any, *, example: str) -> dict[str, Any]:
    """A JSON object that can be kept as it is."""
    if not isinstance(value, dict):
        raise BadInput(f"{field} has to be a JSON object, such as {example}.", field=field)
    if depth_of(value) > JSON_DEPTH:
        raise BadInput(f"{field} is nested more than {JSON_DEPTH} levels deep.", field=field)
    try:
        encoded = orjson.dumps(value).decode()
    except (orjson.JSONEncodeError, TypeError) as error:
        raise BadInput(f"{field} cannot be kept as JSON: {error}.", field=field) from error
    if orjson.loads(encoded) != value:
        raise BadInput(f"{field} holds a number that JSON cannot carry.", field=field)
    refuse_unstorable(field, encoded.replace("\\\\", "").replace("\\u0000", "\0"))
    return value


def depth_of(value: Any) -> int:
    """How deep a JSON value is nested, without nesting calls that deep."""
    depth, level = 0, [value]
    while level := [it for it in level if isinstance(it, dict | list)]:
        depth += 1
        level = [inner for it in level for inner in (it.values() if isinstance(it, dict) else it)]
    return depth
