"""Entities with details, written through GraphQL and in bulk in any order, read at any instant, against a plain model."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from db.assets.asset import IdentitySpec
from db.author import Author
from db.bulk import ingest
from db.database import Database
from db.temporal.change_log import Operation, Outcome
from db.temporal.kinds import ENTITY
from db.temporal.verification import verify_tenant
from graph_api.auth.principals import OPEN_PRINCIPAL
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.root import schema
from tests.builders import CREATE_ENTITY, DELETE_ENTITY, RESTORE_ENTITY, TYPES, UPDATE_ENTITY, day, detail_list, iso
from tests.databases import examples_database
from tests.db.temporal.model import AcceptedChange, apply, details_of, fold, state_at
from tests.randomness import size

pytestmark = [pytest.mark.random, pytest.mark.slow(5), pytest.mark.temporal, pytest.mark.scd2, pytest.mark.api]

THEN = """
  query ($uid: UUID!, $search: String!, $asOf: DateTime!) {
    entity(ref: { uid: $uid }, asOf: $asOf) {
      displayName validFrom validTo createdAt phone: detail(type: "phone")
      details { type { code } value validFrom validTo }
      history { totalCount nodes { validFrom validTo asset { ... on Entity { displayName details { type { code } value } } } } }
    }
    entities(search: $search, asOf: $asOf) { totalCount nodes { uid displayName } }
    noted: entities(search: $search, filter: { details: [{ type: "note", equals: "a" }] }, asOf: $asOf) { nodes { uid } }
  }
"""

instants = st.builds(lambda hours, micro: day(hours / 24) + timedelta(microseconds=micro), st.integers(0, 6), st.integers(0, 1))
subjects = st.integers(0, 2)
names = st.sampled_from(["ann", "bob"])
values = st.dictionaries(st.sampled_from(["note", "phone"]), st.sampled_from(["a", "123"]), max_size=2).map(
    lambda it: {code: value if code == "note" else "123" + value.replace("a", "") for code, value in it.items()}
)


class Bench:
    """The executor without HTTP, on one event loop for all examples. Each example uses new entities."""

    def __init__(self, address: str) -> None:
        self.runner = asyncio.Runner()
        self.database = self.runner.run(self._open(address))
        self.executor = Executor(schema, self.database)
        assert self.ask(TYPES)["data"]

    async def _open(self, address: str) -> Database:
        return Database(address, pool_size=2)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        response = self.runner.run(self.executor.execute(Request(query, variables), OPEN_PRINCIPAL, "request"))
        return {"data": response.data, "errors": response.errors}

    def load(self, batch: list[ingest.AssetState]) -> list[Any]:
        async def load() -> list[Any]:
            async with self.database.transaction(1, Author("loader", str(uuid4()))) as connection:
                return await ingest.ingest(connection, batch)

        return self.runner.run(load())

    def verify(self) -> list[str]:
        async def verify() -> list[str]:
            async with self.database.snapshot(1) as connection:
                return (await verify_tenant(connection)).differences

        return self.runner.run(verify())

    def close(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()


@pytest.fixture(scope="module")
def bench(server: str) -> Iterator[Bench]:
    with examples_database(server) as address:
        bench = Bench(address)
        yield bench
        bench.close()


def machine_for(bench: Bench) -> type[RuleBasedStateMachine]:
    class EntityLifetimes(RuleBasedStateMachine):
        """Three entities that are created, changed, deleted and restored, in and out of order."""

        @initialize()
        def begin(self) -> None:
            self.token = uuid4().hex[:12]
            self.uids = [str(uuid4()) for _ in range(3)]
            self.logs: list[list[AcceptedChange]] = [[], [], []]

        def called(self, name: str) -> str:
            return f"{name} {self.token}"

        def expect(self, subject: int, change: AcceptedChange, answer: dict[str, Any], *, creating: bool = False) -> None:
            """Compare the answer of a write with that of the model, and record it in the model."""
            log = self.logs[subject]
            before = state_at(log, change.at)
            at_instant = [it for it in log if it.at == change.at]
            existed_before = any(it.at <= change.at for it in log)
            if at_instant and at_instant[-1] == change:
                assert answer["errors"] == []
                return
            code = None
            if creating and before is not None:
                code = "CONFLICT"
            elif (change.operation is Operation.PATCH and before is None) or (
                change.operation is Operation.DELETE and not existed_before
            ):
                code = "NOT_FOUND"
            assert [it["extensions"]["code"] for it in answer["errors"]] == ([] if code is None else [code])
            if code is None:
                (payload,) = answer["data"].values()
                assert payload["changed"] == (apply(before, change) != before)
                log.append(change)

        @rule(subject=subjects, name=names, details=values, at=instants)
        def create(self, subject: int, name: str, details: dict[str, str], at: datetime) -> None:
            given = {"type": "PERSON", "displayName": self.called(name), "details": detail_list(details)}
            answer = bench.ask(CREATE_ENTITY, input={"uid": self.uids[subject], "at": iso(at), **given})
            state = {"display_name": self.called(name), "details": details, "keys": []}
            self.expect(subject, AcceptedChange(at, Operation.SET, state), answer, creating=True)

        @rule(
            subject=subjects,
            name=st.none() | names,
            details=values,
            removed=st.sets(st.sampled_from(["note", "phone"])),
            at=instants,
        )
        def update(self, subject: int, name: str | None, details: dict[str, str], removed: set[str], at: datetime) -> None:
            gone = sorted(removed - details.keys())
            given: dict[str, Any] = {"details": detail_list(details), "removeDetails": gone}
            patch: dict[str, Any] = {}
            if name is not None:
                given["displayName"] = patch["display_name"] = self.called(name)
            if details or gone:
                patch["details"] = {**details, **dict.fromkeys(gone)}
            answer = bench.ask(UPDATE_ENTITY, input={"entity": {"uid": self.uids[subject]}, "at": iso(at), **given})
            if self.logs[subject]:
                self.expect(subject, AcceptedChange(at, Operation.PATCH, patch), answer)
            else:
                assert answer["errors"][0]["extensions"] == {"code": "NOT_FOUND", "field": "entity"}

        @rule(subject=subjects, at=instants)
        def delete(self, subject: int, at: datetime) -> None:
            answer = bench.ask(DELETE_ENTITY, input={"entity": {"uid": self.uids[subject]}, "at": iso(at)})
            self.expect(subject, AcceptedChange(at, Operation.DELETE, None), answer)

        @rule(subject=subjects, at=instants)
        def restore(self, subject: int, at: datetime) -> None:
            answer = bench.ask(RESTORE_ENTITY, input={"entity": {"uid": self.uids[subject]}, "at": iso(at)})
            last = [it for it in fold(self.logs[subject]) if it.valid_from <= at]
            if last:
                self.expect(subject, AcceptedChange(at, Operation.SET, last[-1].state), answer)
            else:
                assert [it["extensions"]["code"] for it in answer["errors"]] == ["NOT_FOUND"]

        @rule(
            batch=st.lists(
                st.tuples(subjects, names, values, instants), min_size=1, max_size=6, unique_by=lambda it: (it[0], it[3])
            )
        )
        def load(self, batch: list[tuple[int, str, dict[str, str], datetime]]) -> None:
            changes = [
                (subject, AcceptedChange(at, Operation.SET, {"display_name": self.called(name), "details": details}))
                for subject, name, details, at in batch
            ]
            outcomes = bench.load(
                [
                    ingest.AssetState(ENTITY, IdentitySpec(UUID(self.uids[subject]), "PERSON"), change.payload or {}, change.at)
                    for subject, change in changes
                ]
            )
            for (subject, change), outcome in sorted(zip(changes, outcomes, strict=True), key=lambda it: it[0][1].at):
                assert isinstance(outcome, Outcome)
                log = self.logs[subject]
                at_instant = [it for it in log if it.at == change.at]
                before = state_at(log, change.at)
                assert outcome.replayed == (at_instant[-1:] == [change])
                if not outcome.replayed:
                    assert outcome.changed == (apply(before, change) != before)
                    assert outcome.created == (not log)
                    log.append(change)

        @rule(subject=subjects, at=instants)
        def look(self, subject: int, at: datetime) -> None:
            """Compare a read at an instant with the model: the entity, its history and the lists that contain it."""
            found = bench.ask(THEN, uid=self.uids[subject], search=self.token, asOf=iso(at))["data"]
            at_instant = {uid: state_at(log, at) for uid, log in zip(self.uids, self.logs, strict=True)}
            alive = {uid: state for uid, state in at_instant.items() if state is not None}
            listed = {it["uid"]: it["displayName"] for it in found["entities"]["nodes"]}
            assert listed == {uid: state["display_name"] for uid, state in alive.items()}
            assert found["entities"]["totalCount"] == len(alive)
            noted = {it["uid"] for it in found["noted"]["nodes"]}
            assert noted == {uid for uid, state in alive.items() if state["details"].get("note") == "a"}
            self.looks_like(found["entity"], subject, at)

        def looks_like(self, entity: dict[str, Any] | None, subject: int, at: datetime) -> None:
            periods = fold(self.logs[subject])
            now = [it for it in periods if it.valid_from <= at and (it.valid_to is None or at < it.valid_to)]
            if not now:
                assert entity is None
                return
            assert entity is not None
            (period,) = now
            assert entity["displayName"] == period.state["display_name"]
            assert entity["phone"] == period.state["details"].get("phone")
            assert (entity["validFrom"], entity["validTo"]) == between(period.valid_from, period.valid_to)
            assert entity["createdAt"] == iso(periods[0].valid_from)
            assert [(it["type"]["code"], it["value"], it["validFrom"], it["validTo"]) for it in entity["details"]] == [
                (code, value, *between(since, until))
                for code, value, since, until in details_of(periods)
                if since <= at and (until is None or at < until)
            ]
            history = entity["history"]
            assert history["totalCount"] == len(periods)
            assert [
                (
                    it["asset"]["displayName"],
                    {d["type"]["code"]: d["value"] for d in it["asset"]["details"]},
                    it["validFrom"],
                    it["validTo"],
                )
                for it in history["nodes"]
            ] == [(it.state["display_name"], it.state["details"], *between(it.valid_from, it.valid_to)) for it in periods]

        def teardown(self) -> None:
            if hasattr(self, "logs"):
                for subject, log in enumerate(self.logs):
                    for at in {it.at for it in log}:
                        self.look(subject, at)

    return EntityLifetimes


def between(since: datetime, until: datetime | None) -> tuple[str, str | None]:
    return iso(since), None if until is None else iso(until)


def test_entities_written_in_any_order_equal_the_model_at_any_instant(bench: Bench) -> None:
    run_state_machine_as_test(
        machine_for(bench),
        settings=settings(max_examples=size(quick=15, soak=200), stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
    assert bench.verify() == []
