"""Writers that remember what the service has acknowledged, so that a test can tell what it has lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import NAMESPACE_URL, uuid5

import httpx

from tests.builders import REGISTER, UPDATE, day, iso, product_fields
from tests.graph_api.commands.service_processes import ServiceClient
from tests.processes import PATIENCE

WRITERS = 4


class Writers:
    """Clients that write without pause, and remember what the service has acknowledged.

    The owners that they write begin with `prefix`. A writer ends when it is disconnected, unless it `reconnects`.
    """

    def __init__(self, client: ServiceClient, prefix: str = "", *, reconnects: bool = False) -> None:
        self._client = client
        self._prefix = prefix
        self._reconnects = reconnects
        self.acknowledged: dict[str, str] = {}
        self.error_codes: list[set[str]] = [set() for _ in range(WRITERS)]
        self.disconnected = 0
        self._done = False
        self._progress = asyncio.Condition()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator["Writers"]:
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(self._write(number))
            try:
                yield self
            finally:
                self._done = True

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._progress:
            await self._progress.wait_for(condition)

    async def wait_for_writes(self, count: int) -> None:
        """Wait until so many more writes are acknowledged."""
        enough = len(self.acknowledged) + count
        await self.wait_until(lambda: len(self.acknowledged) >= enough)

    async def _write(self, writer: int) -> None:
        """Write in turn to a product that all writers share, by its name, and to one that only this one writes, by its uid: that
        takes one statement, which commits by itself."""
        turn = 0
        while not self._done:
            turn += 1
            owner = f"{self._prefix}{writer}-{turn}"
            product = {"name": "orders"} if turn % 2 else {"uid": PRODUCTS[f"p{writer}"]}
            try:
                answer = await self._client(UPDATE, input={"product": product, "owner": owner})
            except httpx.TransportError:
                self.disconnected += 1
                if self._reconnects:
                    continue
                return
            # Without a database nobody can be authenticated, and nothing is executed.
            assert answer.status == (200 if "data" in answer.body else 503)
            async with self._progress:
                if answer.errors:
                    self.error_codes[writer].add(answer.code_and_field[0])
                else:
                    self.acknowledged[owner] = answer.data["updateProduct"]["product"]["validFrom"]
                self._progress.notify_all()


# the uids of the products by their names
PRODUCTS = {name: str(uuid5(NAMESPACE_URL, name)) for name in ("orders", *(f"p{writer}" for writer in range(WRITERS)))}


async def register_products(client: ServiceClient) -> None:
    for name, uid in PRODUCTS.items():
        assert (await client(REGISTER, input=product_fields(name, uid=uid, at=iso(day(0))))).data


async def all_owners(client: ServiceClient) -> dict[str, str]:
    """Return all owners that the products have had, with the instants from which they were."""
    owners: dict[str, str] = {}
    for name in PRODUCTS:
        owners |= await client.owners(name)
    return owners
