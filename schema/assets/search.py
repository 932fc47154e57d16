"""Search texts: the argument of lists, and the validation of texts."""

import unicodedata
from typing import Annotated

import strawberry

from db.errors import BadInput
from schema.language.cost import SCAN_WEIGHT

SEARCH_LENGTH = 200

Search = Annotated[
    str | None,
    strawberry.argument(
        description="Text that the name, a key, the description, a tag or a detail contains, ignoring case.",
        directives=[SCAN_WEIGHT],
    ),
]


def searchable(text: str | None, *, field: str = "search") -> str | None:
    """Return a search text, or raise if it is empty, too long or cannot be stored."""
    if text is None:
        return None
    if not text.strip() or len(text) > SEARCH_LENGTH or "\0" in text:
        raise BadInput(
            f"{field} must have 1 to {SEARCH_LENGTH} characters, at least one that is no space, and no NUL.", field=field
        )
    return text


def ranked_search(text: str) -> str:
    """Return the text of a search that ranks what it finds, without spaces around it. Raise an error if it is too short or too
    long, has neither a letter nor a digit, or has a control character, as those that separate values."""
    stripped = text.strip()
    is_printable = not any(unicodedata.category(it) in ("Cc", "Cs") for it in stripped)
    if not 2 <= len(stripped) <= SEARCH_LENGTH or not any(map(str.isalnum, stripped)) or not is_printable:
        raise BadInput(
            f"text must have 2 to {SEARCH_LENGTH} characters, spaces around it aside, at least one of them a letter or a digit,"
            " and none a control character.",
            field="text",
        )
    return stripped
