"""Admission: what runs at once, who waits, who is refused; beside a plain model of it, and with a crowd at a real socket."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import Unavailable
from graph_api.http.admission import Admission, Slot
from graph_api.records.configuration import Service as Remote
from tests.graph_api.http.test_disconnect import PATIENCE, Service, locked
from tests.graph_api.records.remote import remote
from tests.processes import wait_until

LIST = "{ products { nodes { name } } }"


class Model:
    """Who holds a place, who waits in which order, and who was refused: by number, in the words of the rules."""

    def __init__(self, places: int, room: int) -> None:
        self.places, self.room = places, room
        self.callers: dict[int, tuple[int, str]] = {}
        self.holding: list[int] = []
        self.waiting: list[int] = []
        self.refused: list[int] = []
        # who got a place, in order
        self.got: list[int] = []

    def come(self, number: int, tenant: int, who: str) -> None:
        self.callers[number] = (tenant, who)
        if len(self.holding) < self.places:
            self.holding.append(number)
            self.got.append(tenant)
            return
        if len(self.waiting) == self.room:
            pushed = self.pushed_out_by(tenant, who)
            if pushed is None:
                self.refused.append(number)
                return
            self.waiting.remove(pushed)
            self.refused.append(pushed)
        self.waiting.append(number)

    def pushed_out_by(self, tenant: int, who: str) -> int | None:
        if not self.waiting:
            return None
        of_tenant = Counter(self.callers[it][0] for it in self.waiting)
        most = max(of_tenant.values())
        crowd = [it for it in self.waiting if of_tenant[self.callers[it][0]] == most]
        if of_tenant[tenant] == most:
            crowd = [it for it in crowd if self.callers[it][0] == tenant]
        of_caller = Counter(self.callers[it] for it in crowd)
        most_of_one = max(of_caller.values())
        if of_tenant[tenant] == most and of_caller[tenant, who] == most_of_one:
            return None
        return [it for it in crowd if of_caller[self.callers[it]] == most_of_one][-1]

    def leave(self, number: int) -> None:
        if number in self.waiting:
            self.waiting.remove(number)
            return
        self.holding.remove(number)
        if self.waiting:
            tenants = Counter(self.callers[it][0] for it in self.holding)
            callers = Counter(self.callers[it] for it in self.holding)

            def turn(number: int) -> tuple[int, int, int, int]:
                tenant = self.callers[number][0]
                last = max((place for place, it in enumerate(self.got) if it == tenant), default=-1)
                return tenants[tenant], last, callers[self.callers[number]], number

            next_ = min(self.waiting, key=turn)
            self.waiting.remove(next_)
            self.holding.append(next_)
            self.got.append(self.callers[next_][0])


class Crowd:
    """Callers of the real one, each a task."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.done: dict[int, asyncio.Event] = {}
        self.places: dict[int, Slot] = {}
        self.holding: set[int] = set()
        self.refused: list[int] = []

    def come(self, number: int, tenant: int, who: str) -> None:
        self.done[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self.hold(number, tenant, who))

    async def hold(self, number: int, tenant: int, who: str) -> None:
        try:
            async with self.admission.slot(tenant, who) as self.places[number]:
                self.holding.add(number)
                await self.done[number].wait()
        except Unavailable:
            self.refused.append(number)
        finally:
            self.holding.discard(number)


async def settled() -> None:
    """What is ready to run has run."""
    for _ in range(6):
        await asyncio.sleep(0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "come", "come", "leave", "cancel", "leave and cancel"]), st.integers(0, 50)), max_size=60
)


@settings(max_examples=150, deadline=None)
@given(places=st.integers(1, 3), room=st.integers(0, 5), steps=STEPS)
def test_places_go_to_whom_the_rules_give_them(places: int, room: int, steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        model, crowd = Model(places, room), Crowd(Admission(places, room, 60))
        for number, (step, drawn) in enumerate(steps):
            if step == "come":
                tenant, who = 1 + drawn % 3, "ab"[drawn // 3 % 2]
                model.come(number, tenant, who)
                crowd.come(number, tenant, who)
            elif step == "leave" and model.holding:
                leaving = model.holding[drawn % len(model.holding)]
                model.leave(leaving)
                crowd.done[leaving].set()
            elif step == "cancel" and model.holding + model.waiting:
                leaving = (model.holding + model.waiting)[drawn % len(model.holding + model.waiting)]
                model.leave(leaving)
                crowd.tasks[leaving].cancel()
            elif step == "leave and cancel" and model.holding and model.waiting:
                # whose turn comes goes away before it knows
                leaving = model.holding[drawn % len(model.holding)]
                model.leave(leaving)
                crowd.places[leaving].release()
                crowd.done[leaving].set()
                gone = model.holding[-1]
                model.leave(gone)
                crowd.tasks[gone].cancel()
            await settled()
            assert crowd.holding == set(model.holding)
            assert sorted(crowd.refused) == sorted(model.refused)
        for task in crowd.tasks.values():
            task.cancel()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        async with asyncio.timeout(PATIENCE), crowd.admission.slot(9, "z"):
            assert crowd.admission._held.total() == 1, "a place was lost"

    asyncio.run(play())


async def test_whoever_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    admission = Admission(1, 5, 0.02)
    async with admission.slot(1, "a"):
        with pytest.raises(Unavailable, match=r"0\.02 s"):
            async with admission.slot(1, "b"):
                raise AssertionError("there was no place")
    async with admission.slot(1, "b"):
        assert (admission._held.total(), admission._waiters) == (1, [])


async def test_a_place_is_given_back_once() -> None:
    admission = Admission(2, 0, 1)
    async with admission.slot(1, "a") as place:
        place.release()
        place.release()
        async with admission.slot(1, "b"), admission.slot(1, "c"):
            with pytest.raises(Unavailable):
                async with admission.slot(1, "d"):
                    raise AssertionError("there was no place")


async def ask(port: int, query: str) -> tuple[int, dict[str, str], Any]:
    """Over a connection of its own."""
    body = json.dumps({"query": query}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        told, _, content = (await reader.read()).partition(b"\r\n\r\n")
        status, *lines = told.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(status.split()[1]), headers, json.loads(content)
    finally:
        writer.close()


@pytest.mark.api
async def test_of_five_hundred_at_once_each_is_answered_and_who_finds_no_room_is_told_so_at_once(address: str) -> None:
    async with Service(address, pool_size=10, max_waiting=40) as service:
        # whoever is refused here has not waited for the database
        with structlog.testing.capture_logs() as logged:
            async with asyncio.timeout(30), locked(address, "product_version") as busy:
                asked = [asyncio.create_task(ask(service.port, LIST)) for _ in range(500)]
                await busy(10)

                async def refused() -> bool:
                    return sum(it.done() for it in asked) == 450

                await wait_until(refused)
                # room for a tenant that is no part of the crowd is made at once, and it is the next whose turn comes
                other = asyncio.create_task(hold(service, 2))
                await settled()
            assert await other
            answers = await asyncio.gather(*asked)
        assert Counter(status for status, _, _ in answers) == {200: 49, 503: 451}
        for status, headers, body in answers:
            if status == 503:
                assert (headers["retry-after"], body["errors"][0]["extensions"]["code"]) == ("1", "UNAVAILABLE")
            else:
                assert body["data"] == {"products": {"nodes": []}}
        waits = [it["milliseconds"] for it in logged if it.get("status") == 503]
        assert sorted(waits)[len(waits) // 2] < 100
        assert service.app.state.database.engine.pool.checkedout() == 0


async def hold(service: Service, tenant_id: int) -> bool:
    async with service.app.state.admission.slot(tenant_id, "other"):
        return True


@pytest.mark.api
async def test_a_crowd_of_another_tenant_keeps_nobody_out(address: str) -> None:
    async with Service(address, pool_size=2, max_waiting=3) as service:
        crowd = Crowd(service.app.state.admission)
        for number in range(5):
            crowd.come(number, 2, "crowd")
        await settled()
        asked = asyncio.create_task(service.answer(LIST))
        async with asyncio.timeout(PATIENCE):
            while not crowd.refused:  # noqa: ASYNC110
                await asyncio.sleep(0)
        crowd.done[0].set()
        assert (await asked).status_code == 200
        assert crowd.refused == [4]
        for event in crowd.done.values():
            event.set()
        await asyncio.gather(*crowd.tasks.values())


@pytest.mark.api
async def test_whoever_goes_away_while_it_waits_leaves_no_trace(address: str) -> None:
    async with Service(address) as service:
        admission: Admission = service.app.state.admission

        async def waiting() -> bool:
            return bool(admission._waiters)

        async with admission.slot(2, "other"):
            async with service.asking(LIST):
                await wait_until(waiting)
            async with asyncio.timeout(PATIENCE):
                while admission._waiters:  # noqa: ASYNC110
                    await asyncio.sleep(0)
        assert (await service.answer(LIST)).status_code == 200


@pytest.mark.api
async def test_what_waits_for_another_service_keeps_nobody_from_the_database(address: str) -> None:
    async with (
        remote() as crm,
        Service(address, max_waiting=0, services={"crm": Remote(address=crm.address, private=True)}) as service,
    ):
        source = 'source: { service: "crm", endpoint: "/customers", lookupField: "id" }'
        put = f'putEntityType(input: {{ code: "CUSTOMER", label: "Customer", {source} }}) {{ entityType {{ code }} }}'
        create = 'createEntity(input: { type: "CUSTOMER", displayName: "Ann", key: "1" }) { changed }'
        assert "errors" not in await service.ask(f"mutation {{ {put} }}")
        assert "errors" not in await service.ask(f"mutation {{ {create} }}")
        asked, answered = asyncio.Event(), asyncio.Event()
        fine = crm.answer

        async def slow(request: Any) -> Any:
            asked.set()
            await answered.wait()
            return await fine(request)

        crm.answer = slow
        waits = asyncio.create_task(service.ask("{ entities { nodes { record } } }"))
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
        beside = await service.answer(LIST)
        answered.set()
        assert beside.status_code == 200
        assert (await waits)["data"]["entities"]["nodes"][0]["record"]["name"] == "Customer 1"


async def test_a_document_that_is_not_known_takes_its_turn_and_one_that_is_known_does_not(address: str) -> None:
    async with Service(address, max_waiting=0) as service:
        assert "errors" not in await service.ask(LIST)
        async with service.app.state.parse_admission.slot(1, "another"):
            assert "errors" not in await service.ask(LIST)
            refused = await service.answer("{ __typename }")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert (await service.answer("{ __typename }")).status_code == 200


async def test_after_a_document_was_read_none_is_for_as_long_again(address: str) -> None:
    body = json.dumps({"query": f"{{ {'a ' * 3_000} }}"}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with asyncio.timeout(PATIENCE), Service(address, max_waiting=0) as service:
        clients = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
        for _, writer in clients:
            writer.write(head.encode() + body)
        answers = sorted([(await reader.readline()).split()[1] for reader, _ in clients])
        for _, writer in clients:
            writer.close()
    assert answers == [b"200", b"503"]
