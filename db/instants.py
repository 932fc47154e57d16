"""Instants: the one format in which they are read and written."""

import re
from datetime import UTC, datetime, timedelta

from db.errors import BadInput

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)
# The driver writes the first and the last day of Python's calendar as infinity.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
# There is no instant between two that are so far apart.
MICROSECOND = timedelta(microseconds=1)
_EXAMPLES = "Write it like 2025-03-01T12:00:00Z, 2025-03-01T12:00:00.123456+01:00 or 2025-03-01."


def just_before(instant: datetime | None) -> datetime | None:
    """Return the last instant before an instant; None, which is now, stays as it is.

    What a deletion names is what existed until its instant: so a repetition does not name what took its place.
    """
    return None if instant is None else instant - MICROSECOND


def read_instant(written: object) -> datetime:
    """Parse an instant in RFC 3339 with an offset, at most to the microsecond. A date is its midnight in UTC."""
    match = _INSTANT.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        raise BadInput(f"{written!r} is not an instant. {_EXAMPLES}")
    clock, fraction, offset = match.groups()
    if clock is not None and offset is None:
        raise BadInput(f"{written!r} has no UTC offset. {_EXAMPLES}")
    if fraction is not None and len(fraction) > 6:
        raise BadInput(f"{written!r} is finer than a microsecond. Instants are stored to the microsecond. {_EXAMPLES}")
    try:
        # fromisoformat requires capital letters, and accepts more formats than have passed the pattern.
        instant = datetime.fromisoformat(match[0].upper())
        instant = instant.replace(tzinfo=UTC) if clock is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{written!r} is not an instant: {error}. {_EXAMPLES}") from error
    if not EARLIEST <= instant <= LATEST:
        raise BadInput(f"{written!r} is out of range. Give an instant from 0001-01-02 to 9999-12-30.")
    return instant


def stored_instant(value: str | datetime | None) -> datetime | None:
    """Return an instant that was read from a column, or in JSON."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def write_instant(value: datetime) -> str:
    """Format an instant: UTC, with six decimals or none."""
    if value.tzinfo is UTC:
        # the offset +00:00 is at the end
        return f"{value.isoformat()[:-6]}Z"
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
