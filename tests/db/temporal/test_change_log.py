"""Time: the log is the truth, and versions are its fold."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.assets import asset, product
from db.author import Author
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change, record_asset_changes
from db.database import Database
from db.errors import BadInput, Conflict, NotFound
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
_LOGGED = text("SELECT count(*) AS logged FROM change WHERE tenant_id = CAST(:tenant AS bigint)")


@pytest.fixture
async def writer(database: Database, author: Author) -> AsyncIterator[WriteConnection]:
    async with database.transaction(1, author) as connection:
        yield connection
        assert (await verify_tenant(connection)).differences == []


async def owners(connection: WriteConnection) -> list[tuple[str, datetime, datetime | None]]:
    return [(row.owner, row.valid_from, row.valid_to) for row in await connection.fetch(_VERSIONS)]


async def logged(connection: WriteConnection) -> int:
    row = await connection.fetch_one(_LOGGED)
    return int(row.logged) if row else 0


async def register(connection: WriteConnection, at: datetime | None = None, **changes: Any) -> UUID:
    uid = uuid4()
    await product.register(connection, product_fields(**changes), uid=uid, at=at)
    return uid


async def test_a_newer_change_closes_the_open_version_and_opens_the_next(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    outcome = await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert outcome.changed
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(5), None)]


async def test_a_late_change_lands_where_it_belongs(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "carl"}, at=day(10))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(5), day(10)), ("carl", day(10), None)]


async def test_a_late_patch_shows_through_later_patches_of_other_fields(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "carl"}, at=day(10))
    await product.update(writer, uid, {"description": "late"}, at=day(5))
    (now,) = await product.products_by_uid(writer, [uid], day(11))
    assert now is not None
    assert (now.owner, now.description) == ("carl", "late")


async def test_a_late_state_ends_at_the_next_whole_state(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await asset.delete(writer, PRODUCT, uid, at=day(10))
    await product.register(writer, product_fields(owner="carl"), uid=uid, at=day(20))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(5), day(10)), ("carl", day(20), None)]


async def test_of_two_changes_at_one_instant_the_later_heard_holds(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    await product.update(writer, uid, {"owner": "carl"}, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5)), ("carl", day(5), None)]


async def test_a_change_back_at_the_same_instant_leaves_one_version(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert (await product.update(writer, uid, {"owner": "ann"}, at=day(5))).changed
    assert await owners(writer) == [("ann", day(0), None)]


async def test_what_changes_nothing_is_logged_and_makes_no_version(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    outcome = await product.update(writer, uid, {"owner": "ann"}, at=day(5))
    assert not outcome.changed
    assert await owners(writer) == [("ann", day(0), None)]
    assert await logged(writer) == 2


async def test_a_replay_appends_nothing_and_is_answered_as_the_first_time(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    first = await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    again = await product.update(writer, uid, {"owner": "bob"}, at=day(5))
    assert (again.at, again.changed, again.replayed) == (first.at, True, True)
    assert await logged(writer) == 2


async def test_without_an_instant_a_change_holds_after_all_that_is_known(writer: WriteConnection) -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=3)
    uid = await register(writer, ahead)
    outcome = await product.update(writer, uid, {"owner": "bob"})
    assert outcome.at == ahead + MICROSECOND


async def test_an_instant_too_far_ahead_is_refused(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    with pytest.raises(BadInput, match="ahead of the clock") as refused:
        await product.update(writer, uid, {"owner": "bob"}, at=datetime.now(UTC) + timedelta(seconds=30))
    assert refused.value.field == "at"
    assert await logged(writer) == 1


async def test_deleting_ends_and_restoring_brings_back(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    assert not (await asset.delete(writer, PRODUCT, uid, at=day(6))).changed
    await asset.restore(writer, PRODUCT, uid, at=day(10))
    assert await owners(writer) == [("ann", day(0), day(5)), ("ann", day(10), None)]
    assert not (await asset.restore(writer, PRODUCT, uid, at=day(11))).changed


async def test_a_late_deletion_takes_the_patches_above_it(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    await product.update(writer, uid, {"owner": "bob"}, at=day(10))
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    assert await owners(writer) == [("ann", day(0), day(5))]


@pytest.mark.parametrize("at", [day(-1), day(6)])
async def test_a_patch_needs_a_state_to_patch(writer: WriteConnection, at: datetime) -> None:
    uid = await register(writer, day(0))
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    with pytest.raises(NotFound):
        await product.update(writer, uid, {"owner": "bob"}, at=at)


async def test_what_never_was_cannot_be_deleted_or_restored_before(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    with pytest.raises(NotFound):
        await asset.delete(writer, PRODUCT, uid, at=day(-1))
    with pytest.raises(NotFound):
        await asset.restore(writer, PRODUCT, uid, at=day(-1))


async def test_registering_what_is_alive_is_a_conflict_but_not_what_has_ended(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    with pytest.raises(Conflict) as refused:
        await product.register(writer, product_fields(owner="bob"), uid=uid, at=day(1))
    assert refused.value.field == "uid"
    await asset.delete(writer, PRODUCT, uid, at=day(5))
    await product.register(writer, product_fields(owner="bob"), uid=uid, at=day(6))
    assert await owners(writer) == [("ann", day(0), day(5)), ("bob", day(6), None)]


async def test_one_batch_writes_many_subjects_in_a_constant_number_of_statements(
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


async def test_the_same_instant_in_another_offset_is_the_same_instant(writer: WriteConnection) -> None:
    # the hour that a clock in Berlin shows twice
    first = datetime.fromisoformat("2025-10-26T02:30:00+02:00")
    second = datetime.fromisoformat("2025-10-26T02:30:00+01:00")
    uid = await register(writer, first, name="returns")
    await product.update(writer, uid, {"owner": "bob"}, at=second)
    again = await product.update(writer, uid, {"owner": "bob"}, at=datetime(2025, 10, 26, 1, 30, tzinfo=UTC))
    assert again.changed
    assert [(owner, start) for owner, start, _ in await owners(writer)] == [("ann", first), ("bob", second)]


async def test_a_batch_says_one_thing_of_a_subject_at_one_instant(writer: WriteConnection) -> None:
    uid = await register(writer, day(0))
    (row,) = await product.products_by_uid(writer, [uid], day(1))
    assert row is not None
    batch = [Assertion(row.asset_id, Operation.PATCH, {"owner": owner}, at) for owner, at in (
        ("dan", day(3)), ("bob", day(2)), ("carl", day(2)), ("bob", day(2)),
    )]  # fmt: skip
    newer, first, contested, replayed = (await record_asset_changes(writer, PRODUCT, batch)).outcomes
    assert isinstance(contested, Conflict)
    assert [it.changed for it in (newer, first, replayed) if isinstance(it, Outcome)] == [True, True, True]
    assert await owners(writer) == [("ann", day(0), day(2)), ("bob", day(2), day(3)), ("dan", day(3), None)]


async def test_what_contradicts_an_earlier_batch_of_its_request_is_not_heard_at_all(writer: WriteConnection) -> None:
    """What is said later, and was refused earlier, is news: the refused one was never there."""
    uid = await register(writer, day(-1))
    (row,) = await product.products_by_uid(writer, [uid], day(1))
    assert row is not None

    def said(owner: str, at: datetime) -> Assertion:
        return Assertion(row.asset_id, Operation.PATCH, {"owner": owner}, at)

    await record_asset_changes(writer, PRODUCT, [said("bob", day(0))], reject_restatement=True)
    batch = [said("carl", day(0)), said("carl", day(5)), said("carl", day(0)), said("bob", day(0))]
    recorded = await record_asset_changes(writer, PRODUCT, batch, reject_restatement=True)
    contested, heard, again, replayed = recorded.outcomes
    assert [type(it) for it in (contested, again, replayed)] == [Conflict] * 3
    assert isinstance(heard, Outcome)
    assert heard.changed
    assert await owners(writer) == [("ann", day(-1), day(0)), ("bob", day(0), day(5)), ("carl", day(5), None)]
    assert (await verify_tenant(writer)).differences == []


async def test_a_subject_is_created_by_the_first_that_is_accepted_of_it(writer: WriteConnection) -> None:
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
