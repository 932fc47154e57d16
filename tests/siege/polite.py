"""Clients of other tenants that ask little: so many small queries a second, whatever the service does."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import orjson

from tests.bench.client import HttpConnection, post
from tests.siege.crowd import CLOSED, HUNG, outcome_of

# Clients, each of which asks once a second: so many queries a second in all.
CLIENTS = 20
# Of these, so many send a text that the service does not know, each time.
NEW_TEXTS = 2
# Of these, so many open a connection for each query.
RECONNECTING = 5

# Addresses of clients: the service trusts 127.0.0.1 as a proxy and limits it less. Only Linux has others of this machine.
POLITE_ADDRESS, HOSTILE_ADDRESS = ("127.0.0.3", "127.0.0.2") if sys.platform == "linux" else ("127.0.0.1", "127.0.0.1")

QUERY, NEW_TEXT = "query", "new text"
# Longer than any request may take.
_PATIENCE = 45.0
_DOCUMENT = "query Small($name: String!) { product(name: $name) { uid name owner status version domain { name } } }"


@dataclass(frozen=True, slots=True)
class Event:
    """A query: its kind, the instant at which it was due, the seconds from then to its answer, and its outcome."""

    kind: str
    due: float
    seconds: float
    outcome: str


@dataclass(slots=True)
class Polite:
    """The clients, and what became of their queries.

    A query that is due while its client still waits for the one before counts from the instant at which it was due.
    """

    port: int
    keys: list[str]
    product: str
    events: list[Event] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def at_work(self, interval: float = 1.0) -> AsyncIterator["Polite"]:
        """Let each client ask once in an interval until the end of the block."""
        start = time.time()
        clients = [asyncio.create_task(self._run(number, start, interval)) for number in range(CLIENTS)]
        try:
            yield self
        finally:
            for client in clients:
                client.cancel()
            for outcome in await asyncio.gather(*clients, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    def between(self, start: float, end: float, kind: str) -> list[Event]:
        """Return the queries of a kind that were due between two instants."""
        return [it for it in self.events if it.kind == kind and start <= it.due < end]

    async def wait_for(self, count: int) -> None:
        """Wait until so many more queries have an outcome."""
        enough = len(self.events) + count
        while len(self.events) < enough:
            self._answered.clear()
            await self._answered.wait()

    async def _run(self, number: int, start: float, interval: float) -> None:
        kind = NEW_TEXT if number < NEW_TEXTS else QUERY
        reconnects = number % (CLIENTS // RECONNECTING) == 0
        due = start + number * interval / CLIENTS
        connection: HttpConnection | None = None
        try:
            for turn in count():
                await asyncio.sleep(max(0, due - time.time()))
                document = _DOCUMENT.replace("Small", f"Small{number}_{turn}_{start:.0f}") if kind == NEW_TEXT else _DOCUMENT
                body = orjson.dumps({"query": document, "variables": {"name": self.product}})
                request = post(self.port, body, self.keys[number % len(self.keys)])
                outcome = CLOSED
                with suppress(OSError):
                    if connection is None or connection.closed:
                        connection = await self._connect()
                    outcome = await self._ask(connection, request)
                self.events.append(Event(kind, due, time.time() - due, outcome))
                self._answered.set()
                if reconnects and connection is not None:
                    await connection.leave()
                due += interval
        finally:
            if connection is not None:
                await connection.leave()

    async def _connect(self) -> HttpConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            HttpConnection, "127.0.0.1", self.port, local_addr=(POLITE_ADDRESS, 0)
        )
        return connection

    async def _ask(self, connection: HttpConnection, request: bytes) -> str:
        try:
            async with asyncio.timeout(_PATIENCE):
                return outcome_of(connection, await connection.send(request))
        except TimeoutError:
            connection.abort()
            return HUNG


def refused(events: Iterable[Event]) -> list[Event]:
    """Return the queries that were not answered."""
    return [it for it in events if it.outcome != "200"]
