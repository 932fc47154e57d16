"""Tests of the change log: how each change is judged, and which versions it leads to."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.assets import asset, product
from db.author import Author
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change, record_asset_changes
from db.database import Database
from db.errors import BadInput, Conflict, NotFound
from db.sql import text
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.kinds import PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields

pytestmark = [pytest.mark.scd2, pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)
_VERSIONS = text(
    "SELECT owner, valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM product_version"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY asset_id, valid_from"
)
_COUNT_CHANGES = text("SELECT count(*) AS changes FROM change WHERE tenant_id = CAST(:tenant AS bigint)")


@pytest.fixture
async def writer(database: Database, author: Author) -> AsyncIterator[WriteConnection]:
    async with database.transaction(1, author) as connection:
        yield connection
        assert (await verify_tenant(connection)).differences == []


async def owners(connection: WriteConnection) -> list[tuple[str, datetime, datetime | None]]:
    return [(row.owner, row.valid_from, row.valid_to) for row in await connection.fetch(_VERSIONS)]


async def count_changes(connection: WriteConnection) -> int:
    row = await connection.fetch_one(_COUNT_CHANGES)
    return int(row.changes) if row else 0


async def register(connection: WriteConnection, at: datetime | None = None, **changes: Any) -> UUID:
    uid = uuid4()
    await product.register(connection, product_fields(**changes), uid=uid, at=at)
    return uid


async def test_newer_change_closes_the_current_version_and_opens_another(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    outcome = await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert outcome.changed
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(5), None)]


async def test_late_change_is_applied_at_its_instant(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "carl"}, at=day(10))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(5), day(10)), ("carl", day(10), None)]


async def test_late_patch_persists_through_later_patches_of_other_fields(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "carl"}, at=day(10))
    await product.update(writer, uid, {"description": "late"}, at=day(5))
    (row,) = await product.products_by_uid(writer, [uid], day(11))
    assert row is not None
    assert (row.owner, row.description) == ("carl", "late")


async def test_late_patch_ends_at_the_next_whole_state(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await asset.delete(writer, PRODUCT, uid, at=day(10))
    await product.register(writer, product_fields(owner="carl"), uid=uid, at=day(20))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(5), day(10)), ("carl", day(20), None)]


async def test_of_two_changes_at_one_instant_the_one_recorded_later_is_valid(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    await product.update(writer, uid, {"owner": "carl"}, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5)), ("carl", day(5), None)]


async def test_reverting_change_at_the_same_instant_leaves_one_version(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert (await product.update(writer, uid, {"owner": "ann"}, at=day(5))).changed
    assert await owners(writer) == [("ann", day(0), None)]


async def test_change_without_effect_is_logged_and_creates_no_version(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    outcome = await product.update(writer, uid, {"owner": "ann"}, at=day(5))
    assert not outcome.changed
    assert await owners(writer) == [("ann", day(0), None)]
    assert await count_changes(writer) == 2


async def test_replay_appends_nothing_and_has_the_outcome_of_the_first_time(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    first = await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    again = await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert (again.at, again.changed, again.replayed) == (first.at, True, True)
    assert await count_changes(writer) == 2


async def test_change_without_an_instant_takes_effect_after_all_others(writer: WriteConnection) -> None:
    future = datetime.now(UTC) + timedelta(seconds=3)
    uid = await register(writer, future)
    outcome = await product.update(writer, uid, {"owner": "bob"})
    assert outcome.at == future + MICROSECOND


async def test_instant_in_the_future_is_refused(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    with pytest.raises(BadInput, match="ahead of the clock") as refused:
        await product.update(writer, uid, {"owner": "bob"}, at=datetime.now(UTC) + timedelta(seconds=30))
    assert refused.value.field == "at"
    assert await count_changes(writer) == 1


async def test_delete_ends_the_version_and_restore_opens_another(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    assert not (await asset.delete(writer, PRODUCT, uid, at=day(6))).changed
    await asset.restore(writer, PRODUCT, uid, at=day(10))
    assert await owners(writer) == [("ann", day(0), day(5)), ("ann", day(10), None)]
    assert not (await asset.restore(writer, PRODUCT, uid, at=day(11))).changed


async def test_late_deletion_discards_later_patches(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "bob"}, at=day(10))
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5))]


@pytest.mark.parametrize("at", [day(-1), day(6)])
async def test_patch_of_a_subject_that_does_not_exist_is_refused(writer: WriteConnection, at: datetime) -> None:
    uid = await register(writer, day(0))
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    with pytest.raises(NotFound):
        await product.update(writer, uid, {"owner": "bob"}, at=at)


async def test_subject_cannot_be_deleted_or_restored_before_it_existed(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    with pytest.raises(NotFound):
        await asset.delete(writer, PRODUCT, uid, at=day(-1))
    with pytest.raises(NotFound):
        await asset.restore(writer, PRODUCT, uid, at=day(-1))


async def test_existing_product_cannot_be_registered_but_a_deleted_one_can(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    with pytest.raises(Conflict) as refused:
        await product.register(writer, product_fields(owner="bob"), uid=uid, at=day(1))
    assert refused.value.field == "uid"
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    await product.register(writer, product_fields(owner="bob"), uid=uid, at=day(6))
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(6), None)]


async def test_batch_writes_many_subjects_in_a_constant_number_of_statements(
    database: Database, author: Author, statements: Any
) -> None:
    async with database.transaction(1, author) as connection:
        subjects = [(await product.register(connection, product_fields(f"p{n}"), at=day(0))).subject_id for n in range(20)]
        statements.clear()
        outcomes = await record_asset_change(
            connection,
            PRODUCT,
            [Assertion(it, Operation.PATCH, {"owner": "bob"}, day(5 if it % 2 else 0)) for it in subjects],
        )
        assert len(statements) == 2
        assert outcomes == [Outcome(it, day(5 if it % 2 else 0), changed=True) for it in subjects]
        assert (await verify_tenant(connection)).differences == []


async def test_instant_is_the_same_in_another_offset(writer: WriteConnection) -> None:
    # the hour that occurs twice in Berlin when summer time ends
    first = datetime.fromisoformat("2025-10-26T02:30:00+02:00")
    second = datetime.fromisoformat("2025-10-26T02:30:00+01:00")
    uid = await register(writer, first, name="returns")
    await product.update(writer, uid, {"owner": "bob"}, at=second)
    again = await product.update(writer, uid, {"owner": "bob"}, at=datetime(2025, 10, 26, 1, 30, tzinfo=UTC))
    assert again.changed
    assert [(owner, start) for owner, start, _ in await owners(writer)] == [("ann", first), ("bob", second)]


async def test_batch_refuses_a_second_state_of_a_subject_at_one_instant(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    (row,) = await product.products_by_uid(writer, [uid], day(1))
    assert row is not None
    batch = [Assertion(row.asset_id, Operation.PATCH, {"owner": owner}, at) for owner, at in (
        ("dan", day(3)), ("bob", day(2)), ("carl", day(2)), ("bob", day(2)),
    )]  # fmt: skip
    newer, first, contradictory, replayed = (await record_asset_changes(writer, PRODUCT, batch)).outcomes
    assert isinstance(contradictory, Conflict)
    assert [it.changed for it in (newer, first, replayed) if isinstance(it, Outcome)] == [True, True, True]
    assert await owners(writer) == [("ann", day(0), day(2)), ("bob", day(2), day(3)), ("dan", day(3), None)]


async def test_change_that_contradicts_an_earlier_batch_of_its_request_has_no_effect(writer: WriteConnection) -> None:
    """The same state at a later instant is a change, because the refused one was not recorded."""
    uid = await register(writer, day(-1))
    (row,) = await product.products_by_uid(writer, [uid], day(1))
    assert row is not None

    def patch(owner: str, at: datetime) -> Assertion:
        return Assertion(row.asset_id, Operation.PATCH, {"owner": owner}, at)

    await record_asset_changes(writer, PRODUCT, [patch("bob", day(0))], reject_restatement=True)
    batch = [patch("carl", day(0)), patch("carl", day(5)), patch("carl", day(0)), patch("bob", day(0))]
    recorded = await record_asset_changes(writer, PRODUCT, batch, reject_restatement=True)
    contradictory, accepted, repeated, restated = recorded.outcomes
    assert [type(it) for it in (contradictory, repeated, restated)] == [Conflict] * 3
    assert isinstance(accepted, Outcome)
    assert accepted.changed
    assert await owners(writer) == [("ann", day(-1), day(0)), ("bob", day(0), day(5)), ("carl", day(5), None)]
    assert (await verify_tenant(writer)).differences == []


async def test_subject_is_created_by_the_first_accepted_change(writer: WriteConnection) -> None:
    identity = await asset.add_or_lock(writer, PRODUCT, asset.IdentitySpec(uuid4()))
    batch = [
        Assertion(
            identity.asset_id, Operation.SET, product_fields(description=None, status="ACTIVE", version="1.0.0", tags=[]), day(1)
        ),
        Assertion(identity.asset_id, Operation.DELETE, None, day(0)),
    ]
    await writer.execute(text("INSERT INTO domain (tenant_id, name) VALUES (:tenant, 'sales') ON CONFLICT DO NOTHING"))
    created, refused = (await record_asset_changes(writer, PRODUCT, batch)).outcomes
    assert isinstance(created, Outcome)
    assert created.created
    assert isinstance(refused, NotFound)
