"""Validation of search texts."""

from db.errors import BadInput

SEARCH_LENGTH = 200


def searchable(text: str | None, *, field: str = "search") -> str | None:
    """Return a search text, or raise if it is empty, too long or cannot be stored."""
    if text is None:
        return None
    if not text.strip() or len(text) > SEARCH_LENGTH or "\0" in text:
        raise BadInput(
            f"{field} must have 1 to {SEARCH_LENGTH} characters, at least one that is no space, and no NUL.", field=field
        )
    return text
