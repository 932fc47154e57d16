"""Waits until writers of the service queue for a lock, so that a test knows the order in which they write."""

import asyncio
from typing import Any

import asyncpg

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'headwater' AND wait_event_type = 'Lock'"
)


async def wait_until_queued(
    observer: "asyncpg.Connection[asyncpg.Record]", writers: int = 1, *, task: "asyncio.Task[Any] | None" = None
) -> None:
    """Wait until so many writers wait for a lock. Fail if the task is done instead."""
    async with asyncio.timeout(10):
        while await observer.fetchval(_WAITING) != writers:
            assert task is None or not task.done(), "the writer did not wait"
            await asyncio.sleep(0.002)
