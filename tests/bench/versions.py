"""The history that the measured data has had: everything so many versions, each some time after the one before."""

from datetime import UTC, datetime, timedelta

VERSIONS = 5

_FIRST = datetime(2025, 1, 1, tzinfo=UTC)
_APART = timedelta(days=30)


def since(version: int) -> datetime:
    """From when a version holds."""
    return _FIRST + version * _APART


# An instant amid the history: as many versions come after it as came before.
MIDDLE = since(VERSIONS // 2) + _APART / 2
