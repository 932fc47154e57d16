"""Periods of time, each from an instant on and before another one, in lists that are in order and do not overlap."""

from collections.abc import Iterable, Sequence
from datetime import datetime

Period = tuple[datetime, datetime]


def merge(periods: Iterable[Period]) -> list[Period]:
    """Join the periods of a list that touch."""
    merged: list[Period] = []
    for since, until in periods:
        if merged and merged[-1][1] == since:
            merged[-1] = (merged[-1][0], until)
        else:
            merged.append((since, until))
    return merged


def intersect(periods: Sequence[Period], others: Sequence[Period]) -> list[Period]:
    """Return the periods that are in both lists."""
    common: list[Period] = []
    index = other = 0
    while index < len(periods) and other < len(others):
        since, until = max(periods[index][0], others[other][0]), min(periods[index][1], others[other][1])
        if since < until:
            common.append((since, until))
        if periods[index][1] < others[other][1]:
            index += 1
        else:
            other += 1
    return common
