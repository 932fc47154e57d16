"""The choice of what a bad row does to a load."""

from enum import StrEnum


class OnError(StrEnum):
    """Effect of a bad row: it stops the load, or is skipped."""

    STOP = "stop"
    SKIP = "skip"
