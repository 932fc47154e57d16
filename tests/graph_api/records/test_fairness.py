"""Fairness of external records: the requests of a tenant delay only itself, and few of them fetch at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response

from graph_api.records.configuration import Service
from graph_api.records.fetching import RecordFetcher
from graph_api.records.grants import GrantedServices
from schema.execution.external_record import Caller, Lookup
from tests.graph_api.records.remote import TIMEOUT, Remote, record, remote
from tests.graph_api.records.test_grants import CREATE, ONE, serving
from tests.processes import wait_until

pytestmark = pytest.mark.api

BUSY, OTHER = "default", "beta"
GRANTS = {BUSY: ["/"], OTHER: ["/"]}


@pytest.fixture
async def released() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def crm(released: asyncio.Event) -> AsyncIterator[Remote]:
    """A service that answers requests for paths with `held` when they are released."""
    async with remote() as service:

        async def handler(request: Request) -> Response:
            if "held" in request.url.path:
                await released.wait()
            return await service.default_handler(request)

        service.handler = handler
        try:
            yield service
        finally:
            # else the service would not end after a test that failed
            released.set()


async def test_records_of_a_tenant_leave_requests_of_a_service_to_another(crm: Remote, released: asyncio.Event) -> None:
    async def fail() -> str:
        raise AssertionError("tenants are not looked up")

    services = {"crm": Service(address=crm.address, concurrency=3, timeout=10, tenants=GRANTS)}
    records = RecordFetcher(services, GrantedServices(services, fail))

    async def has_two_requests() -> bool:
        return len(crm.targets) == 2

    async with asyncio.timeout(TIMEOUT):
        held = {Lookup("crm", "/held", "id", key): 1 for key in "123456"}
        busy = [asyncio.create_task(records(held, Caller("r", BUSY, 1, f"key {number}"))) for number in range(2)]
        await wait_until(has_two_requests)
        lookup = Lookup("crm", "/free", "id", "7")
        assert await records({lookup: 1}, Caller("r", OTHER, 2, "key")) == {lookup: record("7")}
        assert len(crm.targets) == 3
        released.set()
        for task in busy:
            assert list((await task).values()) == [record(key) for key in "123456"]
    await records.close()


async def test_few_operations_of_a_tenant_fetch_and_wait(address: str, crm: Remote, released: asyncio.Event) -> None:
    settings = {"pool_size": 3, "max_waiting": 1}
    async with serving(address, crm, settings=settings, tenants=GRANTS, concurrency=10, timeout=10) as tenants:
        for name, endpoint in ((BUSY, "/held"), (OTHER, "/free")):
            assert (await tenants.put(name, endpoint=endpoint)).data
            assert (await tenants(name, CREATE)).data

        async def has_two_requests() -> bool:
            return len(crm.targets) == 2

        async with asyncio.timeout(TIMEOUT):
            fetching = [asyncio.create_task(tenants(BUSY, ONE)) for _ in range(2)]
            await wait_until(has_two_requests)
            # the third slot is kept for the other tenant, and one operation waits
            more = [asyncio.create_task(tenants(BUSY, ONE)) for _ in range(2)]
            (refused,), waiting = await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED)
            answer = await refused
            assert (answer.status, answer.body["data"]) == (200, {"entity": {"record": None}})
            assert answer.code_and_field == ("UNAVAILABLE", None)
            assert answer.error["message"].startswith("The service is busy, and no more requests can wait for it.")
            assert (await tenants(OTHER, ONE)).data == {"entity": {"record": record("42")}}
            assert len(crm.targets) == 3
            released.set()
            for task in (*fetching, *waiting):
                assert (await task).data == {"entity": {"record": record("42")}}
