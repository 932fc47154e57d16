"""The one retry loop: runs a transaction again after it lost against another writer."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from db.errors import HeadwaterError, TransactionConflict

T = TypeVar("T")


async def retry_on_conflict(
    run: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    max_delay: Callable[[int, float], float],
    errors: type[HeadwaterError] | tuple[type[HeadwaterError], ...] = TransactionConflict,
    is_conflict: Callable[[T], bool] = lambda outcome: False,
) -> T:
    """Run until there is no conflict, `attempts` times at most. A conflict is one of `errors`, or an outcome for which
    `is_conflict` is true. The last attempt's error is raised, and its outcome is returned, as it is.

    Between two attempts it sleeps for a random time up to `max_delay(number of the attempt, seconds it took)`, so that two
    writers that met once do not meet again.
    """
    for attempt in range(1, attempts + 1):
        started = time.monotonic()
        try:
            outcome = await run()
        except errors:
            if attempt == attempts:
                raise
        else:
            if attempt == attempts or not is_conflict(outcome):
                return outcome
        await asyncio.sleep(random.uniform(0, max_delay(attempt, time.monotonic() - started)))
    raise ValueError("attempts must be at least 1.")
