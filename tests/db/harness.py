"""A harness for random examples: all run on one event loop and one connection, each in a transaction that is rolled back."""

import asyncio
from typing import Any

import uvloop

from db.database import Database


class Harness:
    """The event loop and the database of the examples of a module."""

    def __init__(self, address: str) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.database = self.run(self._open(address))

    async def _open(self, address: str) -> Database:
        return Database(address, pool_size=1)

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def close(self) -> None:
        self.run(self.database.close())
        self._runner.close()
