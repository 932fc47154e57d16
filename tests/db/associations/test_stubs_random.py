"""Random links that create their ends, between registrations and deletions of these: they equal a plain model."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.assets import asset, entity, product
from db.assets.asset import IdentitySpec
from db.assets.entity_key import entity_uid_by_key
from db.assets.reference import AssetRef, resolve
from db.associations import lineage_link
from db.author import Author
from db.connection import WriteConnection
from db.errors import Conflict, HeadwaterError, NotFound
from db.registries import entity_type
from db.sql import text
from db.temporal.change_log import Operation
from db.temporal.kinds import ENTITY, PRODUCT
from tests.builders import START, product_fields
from tests.db.harness import Harness
from tests.db.temporal.model import AcceptedChange, fold, state_at
from tests.randomness import writing_examples

pytestmark = [pytest.mark.random, pytest.mark.slow(4), pytest.mark.temporal]

_REFS = [AssetRef(product="a"), AssetRef(product="b"), AssetRef(type="TABLE", key="1"), AssetRef(type="TABLE", key="2")]

_instants = st.sampled_from([START, START + timedelta(microseconds=1), *(START + timedelta(hours=it) for it in range(1, 4))])
_refs = st.sampled_from(_REFS)
_link = st.tuples(st.just("link"), _refs, _refs, st.booleans(), _instants)
_change = st.tuples(st.sampled_from(["state", "delete"]), _refs, _refs, st.booleans(), _instants)

# The label of an asset, and its owner if it is a product.
_VERSIONS = text(
    "SELECT asset_id, valid_from, NULLIF(valid_to, 'infinity') AS valid_to, owner AS state FROM product_version"
    " WHERE tenant_id = CAST(:tenant AS bigint)"
    " UNION ALL SELECT asset_id, valid_from, NULLIF(valid_to, 'infinity'), display_name FROM entity_version"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY asset_id, valid_from"
)
_SAVEPOINT = text("SAVEPOINT step")
_ROLL_BACK = text("ROLLBACK TO SAVEPOINT step")


class Example:
    """Products and entities in the database, and the changes that each should have had."""

    def __init__(self, connection: WriteConnection) -> None:
        self._connection = connection
        self._logs: dict[int, list[AcceptedChange]] = {}
        self._ref_of: dict[int, AssetRef] = {}

    async def begin(self) -> None:
        await entity_type.put(self._connection, "TABLE", "Table")

    async def run(self, step: str, ref: AssetRef, other: AssetRef, create_missing: bool, at: datetime) -> None:
        """Make a change. One that is refused leaves nothing behind."""
        await self._connection.execute(_SAVEPOINT)
        try:
            if step == "link":
                await self._link(ref, other, create_missing, at)
            elif step == "state":
                await self._state(ref, at)
            else:
                await self._delete(ref, at)
        except HeadwaterError:
            self._connection.failure = None
            await self._connection.execute(_ROLL_BACK)

    async def _link(self, near: AssetRef, far: AssetRef, create_missing: bool, at: datetime) -> None:
        exist = all(self._alive(it, at) or (create_missing and self._is_creatable(it, at)) for it in (near, far))
        try:
            await lineage_link.register(self._connection, near, far, None, {}, at=at, create_missing=create_missing)
        except NotFound:
            assert not exist
            raise
        except HeadwaterError:
            assert near == far
            raise
        assert exist
        assert near != far
        for ref in (near, far):
            if not self._alive(ref, at):
                # the asset that is named so later, if there is one
                later = self._later(ref)
                (found,) = await resolve(self._connection, [ref], [at])
                assert found.asset_id == later if later is not None else found.asset_id not in self._logs
                self._append(found.asset_id, ref, at, Operation.STUB, _stub(ref))

    async def _state(self, ref: AssetRef, at: datetime) -> None:
        try:
            if ref.product is not None:
                outcome = await product.register(self._connection, product_fields(ref.product, owner="ann"), at=at)
            else:
                key = ref.key or ""
                spec = IdentitySpec(type=ref.type, key=key, new_uid=entity_uid_by_key("TABLE", key))
                outcome = await entity.create(self._connection, spec, "stated", {}, at=at)
        except Conflict:
            # something else than a stub exists, or takes the name later
            assert any(change.operation is not Operation.STUB for it in self._subjects(ref) for change in self._logs[it])
            raise
        self._append(outcome.subject_id, ref, at, Operation.SET, "stated" if ref.product is None else "ann")

    async def _delete(self, ref: AssetRef, at: datetime) -> None:
        kind = ENTITY if ref.product is None else PRODUCT
        try:
            outcome = await asset.delete(self._connection, kind, ref, at=at, field="asset")
        except NotFound:
            assert not self._existed(ref, at)
            raise
        self._append(outcome.subject_id, ref, at, Operation.DELETE, None)

    def _append(self, subject: int, ref: AssetRef, at: datetime, operation: Operation, state: str | None) -> None:
        self._ref_of[subject] = ref
        payload = None if state is None else {"state": state}
        self._logs.setdefault(subject, []).append(AcceptedChange(at, operation, payload))

    def _subjects(self, ref: AssetRef) -> list[int]:
        return [it for it, named in self._ref_of.items() if named == ref]

    def _later(self, ref: AssetRef) -> int | None:
        """The first of the subjects with a name or key, all of which begin later. One that was deleted at the instant at which it
        began has never had it."""
        begun = [(periods[0].valid_from, it) for it in self._subjects(ref) if (periods := fold(self._logs[it]))]
        return min(begun)[1] if begun else None

    def _is_creatable(self, ref: AssetRef, at: datetime) -> bool:
        if self._existed(ref, at):
            return False
        later = self._later(ref)
        log = [] if later is None else self._logs[later]
        return state_at([*log, AcceptedChange(at, Operation.STUB, {"state": _stub(ref)})], at) is not None

    def _alive(self, ref: AssetRef, at: datetime) -> bool:
        return any(state_at(self._logs[it], at) is not None for it in self._subjects(ref))

    def _existed(self, ref: AssetRef, at: datetime) -> bool:
        return any(period.valid_from <= at for it in self._subjects(ref) for period in fold(self._logs[it]))

    async def check(self) -> None:
        rows = await self._connection.fetch(_VERSIONS, {})
        found = [(row.asset_id, row.valid_from, row.valid_to, row.state) for row in rows]
        assert found == [
            (subject, period.valid_from, period.valid_to, period.state["state"])
            for subject in sorted(self._logs)
            for period in fold(self._logs[subject])
        ]


def _stub(ref: AssetRef) -> str:
    """The owner or the label of a stub."""
    return "unassigned" if ref.product is not None else f"Table {ref.key}"


@writing_examples()
@given(steps=st.lists(_link | _change, max_size=12))
def test_links_create_what_never_existed_until_their_instants(
    harness: Harness, steps: list[tuple[str, AssetRef, AssetRef, bool, datetime]]
) -> None:
    harness.run(_run(harness, steps))


class _RollBack(Exception):
    """Rolls back an example."""


async def _run(harness: Harness, steps: list[tuple[str, AssetRef, AssetRef, bool, datetime]]) -> None:
    try:
        async with harness.database.transaction(1, Author("tester")) as connection:
            example = Example(connection)
            await example.begin()
            for step in steps:
                await example.run(*step)
                await example.check()
            raise _RollBack
    except _RollBack:
        pass
