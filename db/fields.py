"""Validation of text and JSON that fields of every kind share."""

import re
import unicodedata
from typing import Any

import orjson

from db.errors import BadInput

NAME_LENGTH = 200
JSON_DEPTH = 64

_EXCERPT_LENGTH = 100

# A fast path: most lines are ASCII without spaces at the ends.
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}", re.ASCII)


def line(field: str, value: Any, *, length: int = NAME_LENGTH) -> str:
    """Validate one line of text with at least one visible character."""
    text = text_of(field, value, length=length)
    if _PLAIN.fullmatch(text):
        return text
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise BadInput(f"{field} is empty. Give it at least one visible character.", field=field)
    if text != text.strip() or any(unicodedata.category(character) == "Cc" for character in text):
        raise BadInput(f"{field} has spaces at an end, or a control character such as a line break. Remove them.", field=field)
    return text


def text_of(field: str, value: Any, *, length: int) -> str:
    """Validate text of any form."""
    if not isinstance(value, str):
        raise BadInput(f"{field} must be a string, and cannot be null.", field=field)
    if len(value) > length:
        raise BadInput(f"{field} has {len(value)} characters. At most {length} are allowed.", field=field)
    refuse_unstorable(field, value)
    return value


def code(field: str, value: str) -> str:
    """Validate the code of a type, which needs no escaping in files, paths and queries."""
    if not _CODE.fullmatch(value):
        raise BadInput(
            f"{field} is not a code. A code begins with a letter, followed by up to 99 letters, digits, underscores, dots, colons"
            " and hyphens, all of them ASCII.",
            field=field,
        )
    return value


def refuse_unstorable(field: str, value: str) -> None:
    """Raise BadInput for NUL and unpaired surrogates, which PostgreSQL cannot store."""
    if value.isascii() and "\0" not in value:
        return
    if "\0" in value:
        raise BadInput(f"{field} holds a NUL character, which cannot be stored. Remove it.", field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{field} holds an unpaired surrogate, which is not a character. Remove it.", field=field) from error


def excerpt(value: Any) -> str:
    """Quote a value for an error message, its start if it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= _EXCERPT_LENGTH else value[: _EXCERPT_LENGTH - 3] + "…")
    text = repr(value)
    return text if len(text) <= _EXCERPT_LENGTH else text[: _EXCERPT_LENGTH - 3] + "…"


def storable(value: str | None) -> str | None:
    """Return a text to search for, or None if no stored text can equal it."""
    try:
        refuse_unstorable("name", value or "")
    except BadInput:
        return None
    return value


def json_object(field: str, value: Any, *, example: str) -> dict[str, Any]:
    """Validate a JSON object that can be stored without loss."""
    if not isinstance(value, dict):
        raise BadInput(f"{field} must be a JSON object, such as {example}.", field=field)
    if depth_of(value) > JSON_DEPTH:
        raise BadInput(f"{field} is nested more than {JSON_DEPTH} levels deep.", field=field)
    try:
        encoded = orjson.dumps(value).decode()
    except (orjson.JSONEncodeError, TypeError) as error:
        raise BadInput(f"{field} cannot be stored as JSON: {error}.", field=field) from error
    if orjson.loads(encoded) != value:
        raise BadInput(f"{field} holds a number that JSON cannot represent.", field=field)
    refuse_unstorable(field, encoded.replace("\\\\", "").replace("\\u0000", "\0"))
    return value


def depth_of(value: Any) -> int:
    """Measure how deep a JSON value is nested. Iterative, so that a deep value does not exhaust the stack."""
    depth, level = 0, [value]
    while level := [it for it in level if isinstance(it, dict | list)]:
        depth += 1
        level = [inner for it in level for inner in (it.values() if isinstance(it, dict) else it)]
    return depth
