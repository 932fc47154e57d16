"""What a type of joins may become, and what is joined before it is known."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text

from db.assets import entity
from db.assets.asset import Deletion, IdentitySpec
from db.associations import relationship
from db.associations.association import AssetRef
from db.author import Author
from db.bulk.ingest import ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import Conflict, ResolvableConflict
from db.registries import entity_type, relationship_type
from db.temporal.change_log import Outcome
from db.temporal.verification import verify_tenant
from tests.builders import day

ANN, BO = UUID(int=1), UUID(int=2)
SOURCE = {"service": "crm", "endpoint": "/rows", "lookup_field": "id"}


@pytest.fixture
async def writer(database: Database, author: Author) -> AsyncIterator[WriteConnection]:
    async with database.transaction(1, author) as connection:
        for code in ("PERSON", "ROW"):
            await entity_type.put(connection, code, code)
        for uid in (ANN, BO):
            await entity.create(connection, IdentitySpec(uid, "PERSON"), f"p{uid.int}", {}, at=day(0))
        yield connection
        assert (await verify_tenant(connection)).differences == []


def joined(type_: str, origin: UUID, related: AssetRef, at: float) -> relationship.RelationshipState:
    return relationship.RelationshipState(type_, AssetRef(uid=origin), related, {"attributes": {}}, day(at))


@pytest.mark.parametrize(("before", "after"), [("known_by", "knows"), ("knows", "known_by")])
async def test_what_is_joined_neither_begins_nor_ceases_to_read_alike(writer: WriteConnection, before: str, after: str) -> None:
    given = {"key": "knows", "origin": "PERSON", "related": "PERSON", "cardinality": "MANY_TO_MANY"}
    await relationship_type.put(writer, **given, reverse_key=after)
    await relationship_type.put(writer, **given, reverse_key=before)
    await relationship.relate(writer, joined("knows", BO, AssetRef(uid=ANN), 1))
    with pytest.raises(Conflict) as refused:
        await relationship_type.put(writer, **given, reverse_key=after)
    assert refused.value.field == "reverseKey"


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_stub_that_would_have_joins_collide_is_not_made(writer: WriteConnection, bulk: bool) -> None:
    """Nothing was known of it then, so what was said of that time did not hold; and the one who names it is told."""
    await relationship_type.put(
        writer, key="owns", reverse_key="owned_by", origin="PERSON", related="ROW", cardinality="ONE_TO_MANY"
    )
    await entity.create(writer, IdentitySpec(type="ROW", key="1"), "row 1", {}, at=day(5))
    row = AssetRef(type="ROW", key="1")
    (said,) = await ingest(writer, [joined("owns", BO, row, 1)])
    assert isinstance(said, Outcome)
    (bos,) = await writer.fetch(text("SELECT uid FROM relationship WHERE tenant_id = :tenant"))
    assert all(isinstance(it, Outcome) for it in await ingest(writer, [Deletion(bos.uid, day(3)), joined("owns", ANN, row, 2)]))
    await entity_type.put(writer, "ROW", "Row", None, SOURCE)
    again = joined("owns", ANN, row, 1)
    if bulk:
        (refused,) = await ingest(writer, [again])
    else:
        with pytest.raises(ResolvableConflict) as raised:
            await relationship.relate(writer, again)
        refused = raised.value
    assert isinstance(refused, ResolvableConflict)
    assert "would be related both" in refused.message
    (then,) = await entity.entities_by_key(writer, [("ROW", "1")], day(4))
    assert then is None


async def test_a_stub_gives_way_to_whatever_else_is_said(writer: WriteConnection) -> None:
    await entity_type.put(writer, "ROW", "Row", None, SOURCE)
    await relationship_type.put(
        writer, key="owns", reverse_key="owned_by", origin="PERSON", related="ROW", cardinality="ONE_TO_MANY"
    )
    for at in (4, 2):
        assert (await relationship.relate(writer, joined("owns", ANN, AssetRef(key="1"), at))).changed
    (uid,) = [it.uid for it in await entity.entities_by_key(writer, [("ROW", "1")], day(3)) if it]
    await entity.create(writer, IdentitySpec(type="ROW", key="1"), "known", {}, at=day(1))
    names = []
    for at in (1, 3, 5):
        (found,) = await entity.entities_by_uid(writer, [uid], day(at))
        names.append(found and found.display_name)
    assert names == ["known"] * 3
