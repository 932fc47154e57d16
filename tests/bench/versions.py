"""The history of the measured data: every subject has the same number of versions, at equal distances."""

from datetime import UTC, datetime, timedelta

VERSIONS = 5

_FIRST = datetime(2025, 1, 1, tzinfo=UTC)
_DISTANCE = timedelta(days=30)


def since(version: int) -> datetime:
    """Return the start of validity of a version."""
    return _FIRST + version * _DISTANCE


# An instant with as many versions before it as after it.
MIDDLE = since(VERSIONS // 2) + _DISTANCE / 2
