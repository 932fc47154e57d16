"""Admission: concurrency, waiting and rejection, compared with a simple model, and with many clients at a real socket."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db.admission import ACTIVE_SECONDS, Admission, Slot
from db.errors import Unavailable
from db.tenant_ids import NO_TENANT_ID
from graph_api.records.configuration import Service as Remote
from tests.graph_api.http.test_disconnect import TIMEOUT, Service, locked
from tests.graph_api.records.remote import remote
from tests.processes import wait_until

LIST = "{ products { nodes { name } } }"

TENANTS = (NO_TENANT_ID, 1, 2, 3)


class Model:
    """Model of the rules: the requests, by number, that hold a slot, wait in order, or were rejected."""

    def __init__(self, slots: int, max_waiting: int) -> None:
        self.slots, self.max_waiting = slots, max_waiting
        self.kept = 0 if slots < 3 else 1 if slots < 6 else 2
        self.now = 0.0
        self.callers: dict[int, tuple[int, str]] = {}
        self.holding: list[int] = []
        self.waiting: list[int] = []
        self.rejected: list[int] = []
        # tenants that were assigned slots, in order
        self.assigned: list[int] = []
        # tenants that wanted slots, and when
        self.wanted: list[tuple[int, float]] = []

    def held(self, tenant: int) -> int:
        return sum(self.callers[it][0] == tenant for it in self.holding)

    def is_allowed(self, tenant: int) -> bool:
        free, held = self.slots - len(self.holding), self.held(tenant)
        if held == 0:
            return free > 0
        others_wanted = any(at > self.now - ACTIVE_SECONDS for it, at in self.wanted if it != tenant)
        is_alone = held == len(self.holding) and not others_wanted
        return free > self.kept and (is_alone or 2 * held < self.slots)

    def arrive(self, number: int, tenant: int, credential: str) -> None:
        self.callers[number] = (tenant, credential)
        self.wanted.append((tenant, self.now))
        self.assign_to_waiting()
        if self.is_allowed(tenant):
            self.hold(number)
            return
        if len(self.waiting) == self.max_waiting:
            replaced = self.replaced_by(tenant, credential)
            if replaced is None:
                self.rejected.append(number)
                return
            self.waiting.remove(replaced)
            self.rejected.append(replaced)
        self.waiting.append(number)

    def replaced_by(self, tenant: int, credential: str) -> int | None:
        """Return the waiting request that a new one replaces, or None."""
        if not self.waiting:
            return None
        by_tenant = Counter(self.callers[it][0] for it in self.waiting)

        def weight(tenant: int) -> tuple[bool, int]:
            return tenant == NO_TENANT_ID, by_tenant[tenant]

        most = max(weight(self.callers[it][0]) for it in self.waiting)
        if weight(tenant) > most:
            return None
        candidates = [it for it in self.waiting if weight(self.callers[it][0]) == most]
        if weight(tenant) == most:
            candidates = [it for it in candidates if self.callers[it][0] == tenant]
        by_caller = Counter(self.callers[it] for it in candidates)
        most_of_caller = max(by_caller.values())
        if weight(tenant) == most and by_caller[tenant, credential] == most_of_caller:
            return None
        return [it for it in candidates if by_caller[self.callers[it]] == most_of_caller][-1]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.assign_to_waiting()

    def leave(self, number: int) -> None:
        if number in self.waiting:
            self.waiting.remove(number)
            return
        self.holding.remove(number)
        self.assign_to_waiting()

    def assign_to_waiting(self) -> None:
        while allowed := [it for it in self.waiting if self.is_allowed(self.callers[it][0])]:
            callers = Counter(self.callers[it] for it in self.holding)

            def priority(number: int) -> tuple[bool, int, int, int, int]:
                tenant = self.callers[number][0]
                last = max((index for index, it in enumerate(self.assigned) if it == tenant), default=-1)
                order = self.waiting.index(number)
                return tenant == NO_TENANT_ID, self.held(tenant), last, callers[self.callers[number]], order  # noqa: B023

            next_ = min(allowed, key=priority)
            self.waiting.remove(next_)
            self.hold(next_)

    def hold(self, number: int) -> None:
        self.holding.append(number)
        self.assigned.append(self.callers[number][0])


class Requests:
    """Requests at the real admission, each in a task."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.done: dict[int, asyncio.Event] = {}
        self.slots: dict[int, Slot] = {}
        self.holding: set[int] = set()
        self.rejected: list[int] = []

    def arrive(self, number: int, tenant: int, credential: str) -> None:
        self.done[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self.hold(number, tenant, credential))

    async def hold(self, number: int, tenant: int, credential: str) -> None:
        try:
            async with self.admission.slot(tenant, credential) as self.slots[number]:
                self.holding.add(number)
                await self.done[number].wait()
        except Unavailable:
            self.rejected.append(number)
        finally:
            self.holding.discard(number)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Event loop whose time passes only when a test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now


async def run_ready_tasks() -> None:
    """Let all tasks that can run do so."""
    for _ in range(6):
        await asyncio.sleep(0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "arrive", "arrive", "arrive", "release", "cancel", "release and cancel", "pass time"]),
        st.integers(0, 50),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(slots=st.integers(1, 10), max_waiting=st.integers(0, 8), steps=STEPS)
# a tenant waits for more than half until another is no longer active
@example(2, 8, [("arrive", 2), ("release", 0), ("arrive", 1), ("arrive", 1), ("pass time", 3)])
# a tenant waits beside strangers, who wait behind it however long they have waited
@example(2, 8, [("arrive", 1), ("arrive", 0), ("arrive", 1), ("arrive", 0), ("pass time", 3), ("release", 1)])
def test_slots_are_assigned_as_in_the_model(slots: int, max_waiting: int, steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        model = Model(slots, max_waiting)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        requests = Requests(Admission(slots, max_waiting, 10_000))
        for number, (step, drawn) in enumerate(steps):
            assigned, held = len(model.assigned), {tenant: model.held(tenant) for tenant in TENANTS}
            if step == "arrive":
                tenant, credential = TENANTS[drawn % 4], "ab"[drawn // 4 % 2]
                model.arrive(number, tenant, credential)
                requests.arrive(number, tenant, credential)
            elif step == "release" and model.holding:
                leaving = model.holding[drawn % len(model.holding)]
                model.leave(leaving)
                requests.done[leaving].set()
            elif step == "cancel" and model.holding + model.waiting:
                leaving = (model.holding + model.waiting)[drawn % len(model.holding + model.waiting)]
                model.leave(leaving)
                requests.tasks[leaving].cancel()
            elif step == "release and cancel" and model.holding and model.waiting:
                # cancel the request that is admitted, before its task runs
                leaving = model.holding[drawn % len(model.holding)]
                model.leave(leaving)
                requests.slots[leaving].release()
                requests.done[leaving].set()
                if len(model.assigned) > assigned:
                    admitted = model.holding[-1]
                    model.leave(admitted)
                    requests.tasks[admitted].cancel()
            elif step == "pass time":
                model.pass_time(drawn % 4 * 4.0)
                loop.now = model.now
            await run_ready_tasks()
            assert requests.holding == set(model.holding)
            assert sorted(requests.rejected) == sorted(model.rejected)
            check_promises(model, assigned, held)
        # nobody starves: whoever waits is admitted when those before have left
        while model.waiting:
            leaving = model.holding[0]
            model.leave(leaving)
            requests.done[leaving].set()
            await run_ready_tasks()
            assert requests.holding == set(model.holding)
        for task in requests.tasks.values():
            task.cancel()
        await asyncio.gather(*requests.tasks.values(), return_exceptions=True)
        async with asyncio.timeout(TIMEOUT), requests.admission.slot(9, "z"):
            assert requests.admission._held.total() == 1, "a slot was lost"

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(play())


def check_promises(model: Model, assigned: int, held: dict[int, int]) -> None:
    """Check what documentation promises, after a step before which `assigned` slots had been assigned, and tenants held some."""
    assert len(model.holding) <= model.slots
    free = model.slots - len(model.holding)
    for tenant in TENANTS:
        waits = any(model.callers[it][0] == tenant for it in model.waiting)
        others_wait = any(model.callers[it][0] not in (tenant, NO_TENANT_ID) for it in model.waiting)
        # a tenant that holds none gets a free slot at once
        assert not (waits and free and not model.held(tenant))
        # a tenant that holds some leaves those that are kept
        if tenant in model.assigned[assigned:] and model.held(tenant) > held[tenant] > 0:
            assert free >= model.kept or len(model.assigned) > assigned + 1
            # one that holds half gets no more while another waits; strangers wait behind it
            assert 2 * model.held(tenant) <= model.slots + 1 or not others_wait


@pytest.mark.parametrize(("slots", "expected"), [(1, 1), (2, 2), (3, 2), (6, 4), (10, 8)])
async def test_a_tenant_alone_holds_all_slots_but_those_that_are_kept(slots: int, expected: int) -> None:
    requests = Requests(Admission(slots, 40, TIMEOUT))
    for number in range(20):
        requests.arrive(number, 1, "a")
    await run_ready_tasks()
    assert len(requests.holding) == expected
    # newcomers get a slot at once, while those of the tenant are held for long
    for number in range(20, 24):
        requests.arrive(number, number, "a")
    await run_ready_tasks()
    assert sorted(requests.holding)[expected:] == list(range(20, 20 + slots - expected))
    for task in requests.tasks.values():
        task.cancel()
    await asyncio.gather(*requests.tasks.values(), return_exceptions=True)


@pytest.mark.parametrize(("slots", "expected"), [(1, 1), (2, 1), (3, 2), (10, 5)])
def test_a_tenant_holds_half_of_the_slots_as_long_as_another_is_active(slots: int, expected: int) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        requests = Requests(Admission(slots, 40, TIMEOUT))
        async with requests.admission.slot(2, "b"):
            pass
        loop.now += ACTIVE_SECONDS - 1
        for number in range(20):
            requests.arrive(number, 1, "a")
        await run_ready_tasks()
        assert len(requests.holding) == expected
        # the slots go to those that wait longest, and none has to arrive or to end for it
        loop.now += 1
        await run_ready_tasks()
        kept = 0 if slots < 3 else 1 if slots < 6 else 2
        assert requests.holding == set(range(slots - kept))
        for task in requests.tasks.values():
            task.cancel()
        await asyncio.gather(*requests.tasks.values(), return_exceptions=True)

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(play())


async def test_a_request_that_waits_too_long_is_rejected_and_removed() -> None:
    admission = Admission(1, 5, 0.02)
    async with admission.slot(1, "a"):
        with pytest.raises(Unavailable, match=r"0\.02 s"):
            async with admission.slot(1, "b"):
                raise AssertionError("there was no slot")
    async with admission.slot(1, "b"):
        assert (admission._held.total(), admission._waiters) == (1, [])


async def test_a_slot_is_released_once() -> None:
    admission = Admission(2, 0, 1)
    async with admission.slot(1, "a") as slot:
        slot.release()
        slot.release()
        async with admission.slot(1, "b"), admission.slot(1, "c"):
            with pytest.raises(Unavailable):
                async with admission.slot(1, "d"):
                    raise AssertionError("there was no slot")


async def send(port: int, query: str) -> tuple[int, dict[str, str], Any]:
    """Send an operation over a new connection. Return status, headers and content."""
    body = json.dumps({"query": query}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        response_head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        status, *lines = response_head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(status.split()[1]), headers, json.loads(content)
    finally:
        writer.close()


@pytest.mark.api
async def test_five_hundred_concurrent_requests_are_all_answered_and_rejections_are_immediate(address: str) -> None:
    async with Service(address, pool_size=10, max_waiting=40) as service:
        # none of them waits for the document to be read
        assert "errors" not in await service.execute(LIST)
        # rejected requests do not wait for the database
        with structlog.testing.capture_logs() as logs:
            async with asyncio.timeout(30), locked(address, "product_version") as wait_for_active:
                sent = [asyncio.create_task(send(service.port, LIST)) for _ in range(500)]
                # two slots are kept for other tenants
                await wait_for_active(8)

                async def are_rejected() -> bool:
                    return sum(it.done() for it in sent) == 452

                await wait_until(are_rejected)
                # a request of another tenant gets one of them
                assert await asyncio.create_task(hold(service, 2))
            answers = await asyncio.gather(*sent)
        assert Counter(status for status, _, _ in answers) == {200: 48, 503: 452}
        for status, headers, body in answers:
            if status == 503:
                assert (headers["retry-after"], body["errors"][0]["extensions"]["code"]) == ("1", "UNAVAILABLE")
            else:
                assert body["data"] == {"products": {"nodes": []}}
        waits = [it["milliseconds"] for it in logs if it.get("status") == 503]
        assert sorted(waits)[len(waits) // 2] < 100
        assert service.app.state.database.connections_in_use == 0


async def hold(service: Service, tenant_id: int) -> bool:
    async with service.app.state.admission.slot(tenant_id, "other"):
        return True


@pytest.mark.api
async def test_many_requests_of_one_tenant_do_not_exclude_another(address: str) -> None:
    async with Service(address, pool_size=2, max_waiting=3) as service:
        requests = Requests(service.app.state.admission)
        for number in range(5):
            requests.arrive(number, 2, "busy")
        await run_ready_tasks()
        response = asyncio.create_task(service.send(LIST))
        async with asyncio.timeout(TIMEOUT):
            while not requests.rejected:  # noqa: ASYNC110
                await asyncio.sleep(0)
        requests.done[0].set()
        assert (await response).status_code == 200
        assert requests.rejected == [4]
        for event in requests.done.values():
            event.set()
        await asyncio.gather(*requests.tasks.values())


@pytest.mark.api
async def test_a_client_that_disconnects_while_waiting_leaves_the_queue(address: str) -> None:
    async with Service(address) as service:
        admission: Admission = service.app.state.admission

        async def is_waiting() -> bool:
            return bool(admission._waiters)

        async with admission.slot(2, "other"):
            async with service.abandoned_request(LIST):
                await wait_until(is_waiting)
            async with asyncio.timeout(TIMEOUT):
                while admission._waiters:  # noqa: ASYNC110
                    await asyncio.sleep(0)
        assert (await service.send(LIST)).status_code == 200


@pytest.mark.api
async def test_an_operation_that_waits_for_external_records_holds_no_slot(address: str) -> None:
    async with (
        remote() as crm,
        Service(address, max_waiting=0, services={"crm": Remote(address=crm.address, private=True)}) as service,
    ):
        source = 'source: { service: "crm", endpoint: "/customers", lookupField: "id" }'
        put = f'putEntityType(input: {{ code: "CUSTOMER", label: "Customer", {source} }}) {{ entityType {{ code }} }}'
        create = 'createEntity(input: { type: "CUSTOMER", displayName: "Ann", key: "1" }) { changed }'
        assert "errors" not in await service.execute(f"mutation {{ {put} }}")
        assert "errors" not in await service.execute(f"mutation {{ {create} }}")
        requested, released = asyncio.Event(), asyncio.Event()
        default_handler = crm.handler

        async def slow(request: Any) -> Any:
            requested.set()
            await released.wait()
            return await default_handler(request)

        crm.handler = slow
        with_record = asyncio.create_task(service.execute("{ entities { nodes { record } } }"))
        async with asyncio.timeout(TIMEOUT):
            await requested.wait()
        concurrent = await service.send(LIST)
        released.set()
        assert concurrent.status_code == 200
        assert (await with_record)["data"]["entities"]["nodes"][0]["record"]["name"] == "Customer 1"


async def test_only_an_unknown_document_waits_for_a_parse_slot(address: str) -> None:
    async with Service(address, max_waiting=0) as service:
        assert "errors" not in await service.execute(LIST)
        async with service.app.state.parse_admission.slot(1, "another"):
            assert "errors" not in await service.execute(LIST)
            rejected = await service.send("{ __typename }")
        assert (rejected.status_code, rejected.headers["Retry-After"]) == (503, "1")
        assert (await service.send("{ __typename }")).status_code == 200


async def test_parsing_is_followed_by_a_pause_of_the_same_length(address: str) -> None:
    bodies = [json.dumps({"query": f"{{ {name * 3_000} }}"}).encode() for name in ("a ", "b ")]
    head = "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    async with asyncio.timeout(TIMEOUT), Service(address, max_waiting=0) as service:
        clients = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
        for (_, writer), body in zip(clients, bodies, strict=True):
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answers = sorted([(await reader.readline()).split()[1] for reader, _ in clients])
        for _, writer in clients:
            writer.close()
    assert answers == [b"200", b"503"]
