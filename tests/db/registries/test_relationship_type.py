"""Changes of relationship types that have relationships, and stubs that relationships create."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from db.assets import entity
from db.assets.asset import Deletion, IdentitySpec
from db.assets.reference import AssetRef
from db.associations import relationship
from db.author import Author
from db.bulk.ingest import ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import Conflict, ResolvableConflict
from db.registries import entity_type, relationship_type
from db.sql import text
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


def relationship_from(origin: UUID, type_: str, related: AssetRef, at: float) -> relationship.RelationshipState:
    return relationship.RelationshipState(type_, AssetRef(uid=origin), related, {"attributes": {}}, day(at))


@pytest.mark.parametrize(("before", "after"), [("known_by", "knows"), ("knows", "known_by")])
async def test_a_type_with_relationships_neither_becomes_symmetric_nor_ceases_to_be(
    writer: WriteConnection, before: str, after: str
) -> None:
    fields = {"key": "knows", "origin": "PERSON", "related": "PERSON", "cardinality": "MANY_TO_MANY"}
    await relationship_type.put(writer, **fields, reverse_key=after)
    await relationship_type.put(writer, **fields, reverse_key=before)
    await relationship.relate(writer, relationship_from(BO, "knows", AssetRef(uid=ANN), 1))
    with pytest.raises(Conflict) as refused:
        await relationship_type.put(writer, **fields, reverse_key=after)
    assert refused.value.field == "reverseKey"


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_stub_that_would_make_relationships_conflict_is_refused(writer: WriteConnection, bulk: bool) -> None:
    """Two relationships of the instants before the entity exists have no effect. A stub at these instants would give them one."""
    await relationship_type.put(
        writer, key="owns", reverse_key="owned_by", origin="PERSON", related="ROW", cardinality="ONE_TO_MANY"
    )
    await entity.create(writer, IdentitySpec(type="ROW", key="1"), "row 1", {}, at=day(5))
    row = AssetRef(type="ROW", key="1")
    (outcome,) = await ingest(writer, [relationship_from(BO, "owns", row, 1)])
    assert isinstance(outcome, Outcome)
    (of_bo,) = await writer.fetch(text("SELECT uid FROM relationship WHERE tenant_id = :tenant"))
    outcomes = await ingest(writer, [Deletion(of_bo.uid, day(3)), relationship_from(ANN, "owns", row, 2)])
    assert all(isinstance(it, Outcome) for it in outcomes)
    await entity_type.put(writer, "ROW", "Row", None, SOURCE)
    with_stub = relationship_from(ANN, "owns", row, 1)
    if bulk:
        (refused,) = await ingest(writer, [with_stub])
    else:
        with pytest.raises(ResolvableConflict) as raised:
            await relationship.relate(writer, with_stub)
        refused = raised.value
    assert isinstance(refused, ResolvableConflict)
    assert "would be related both" in refused.message
    (then,) = await entity.entities_by_key(writer, [("ROW", "1")], day(4))
    assert then is None


async def test_the_state_of_an_entity_replaces_its_stub(writer: WriteConnection) -> None:
    await entity_type.put(writer, "ROW", "Row", None, SOURCE)
    await relationship_type.put(
        writer, key="owns", reverse_key="owned_by", origin="PERSON", related="ROW", cardinality="ONE_TO_MANY"
    )
    for at in (4, 2):
        assert (await relationship.relate(writer, relationship_from(ANN, "owns", AssetRef(key="1"), at))).changed
    (uid,) = [it.uid for it in await entity.entities_by_key(writer, [("ROW", "1")], day(3)) if it]
    await entity.create(writer, IdentitySpec(type="ROW", key="1"), "known", {}, at=day(1))
    names = []
    for at in (1, 3, 5):
        (row,) = await entity.entities_by_uid(writer, [uid], day(at))
        names.append(row and row.display_name)
    assert names == ["known"] * 3
