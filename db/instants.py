"""Instants: the one way in which they are written and read, wherever they come from."""

import re
from datetime import UTC, datetime

from db.errors import BadInput

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)
# The driver writes the outermost instants of Python as infinities.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
_EXAMPLES = "Write it like 2025-03-01T12:00:00Z, 2025-03-01T12:00:00.123456+01:00 or 2025-03-01."


def read_instant(written: object) -> datetime:
    """Read an instant: RFC 3339 with an offset, to the microsecond; a bare date is its midnight UTC."""
    found = _INSTANT.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise BadInput(f"{written!r} is no instant. {_EXAMPLES}")
    clock, fraction, offset = found.groups()
    if clock is not None and offset is None:
        raise BadInput(f"{written!r} has no offset, so it could be any of 24 instants. {_EXAMPLES}")
    if fraction is not None and len(fraction) > 6:
        raise BadInput(f"{written!r} is finer than a microsecond, which is as fine as time is kept. {_EXAMPLES}")
    try:
        # which takes capital letters only, and reads far more than what has come so far
        instant = datetime.fromisoformat(found[0].upper())
        instant = instant.replace(tzinfo=UTC) if clock is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{written!r} is no instant: {error}. {_EXAMPLES}") from error
    if not EARLIEST <= instant <= LATEST:
        raise BadInput(f"{written!r} lies beyond the time that is kept: the years 1 to 9999, but for their outermost days.")
    return instant


def write_instant(value: datetime) -> str:
    """The one form in which an instant leaves: UTC, with six decimals or none."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
