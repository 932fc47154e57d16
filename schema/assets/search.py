"""What may be searched for."""

from db.errors import BadInput

SEARCH_LENGTH = 200


def searchable(text: str | None, *, field: str = "search") -> str | None:
    """The text to look for, if there is one; it has to be one that can be found."""
    if text is None:
        return None
    if not text.strip() or len(text) > SEARCH_LENGTH or "\0" in text:
        raise BadInput(f"{field} takes 1 to {SEARCH_LENGTH} characters, not all of them spaces, none of them NUL.", field=field)
    return text
