"""Loads of relationships from JSON lines and CSV: handovers, conflicts, stubs and deletions, in any order."""

from collections.abc import AsyncIterator
from datetime import datetime
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest

from db.assets.entity_key import entity_uid_by_key
from db.associations.reference import relationship_uid
from db.registries.relationship_type import validate_state
from graph_api.ingestion import source
from graph_api.ingestion.relationship_csv import RelationshipFile
from tests.builders import day, iso
from tests.graph_api.ingestion.lines import A, B, delete_line, product_line
from tests.graph_api.ingestion.load_target import LoadTarget, load_target

pytestmark = pytest.mark.api

STEWARD = validate_state("steward", "stewardOf", "PRODUCT", "PERSON", "MANY_TO_ONE", "RESTRICT")
STEWARD_LINE = {
    "kind": "relationshipType",
    "key": "steward",
    "reverseKey": "stewardOf",
    "origin": "PRODUCT",
    "related": "PERSON",
    "cardinality": "MANY_TO_ONE",
    "onDelete": "RESTRICT",
}
CUSTOMER_LINE = {
    "kind": "relationshipType",
    "key": "customer",
    "reverseKey": "uses",
    "origin": "PRODUCT",
    "related": "CUSTOMER",
    "cardinality": "MANY_TO_MANY",
}
ENTITY_TYPES: list[dict[str, Any]] = [
    {"kind": "entityType", "code": "PERSON", "label": "Person"},
    {
        "kind": "entityType",
        "code": "CUSTOMER",
        "label": "Customer",
        "source": {"service": "crm", "endpoint": "/customers", "lookupField": "id"},
    },
    {"kind": "detailType", "code": "email", "label": "Email", "format": "email"},
]
TYPES = [*ENTITY_TYPES, STEWARD_LINE, CUSTOMER_LINE]
ANN, BO = (
    {"kind": "entity", "type": "PERSON", "key": key, "displayName": name, "at": iso(day(0))}
    for key, name in (("1", "Ann"), ("2", "Bo"))
)
ANN_UID, BO_UID = entity_uid_by_key("PERSON", "1"), entity_uid_by_key("PERSON", "2")
# A customer that no line states becomes a stub.
CUSTOMER = {"kind": "entity", "type": "CUSTOMER", "key": "42", "displayName": "Shah", "at": iso(day(0))}
CUSTOMER_UID = entity_uid_by_key("CUSTOMER", "42")


@pytest.fixture
async def target(server: str) -> AsyncIterator[LoadTarget]:
    async with load_target(server) as target:
        yield target


def relationship_line(type_: str, product: UUID, key: str, at: float, **changes: Any) -> dict[str, Any]:
    related_type = "PERSON" if "steward" in type_ else "CUSTOMER"
    ends = {"origin": {"uid": str(product)}, "related": {"entity": {"type": related_type, "key": key}}}
    return {"kind": "relationship", "type": type_, **ends, "at": iso(day(at)), **changes}


class Effective(NamedTuple):
    """A period in which a relationship is effective."""

    type: str
    origin: str
    related: str
    valid_from: datetime
    valid_to: datetime | None

    @property
    def period(self) -> tuple[datetime, datetime | None]:
        return self.valid_from, self.valid_to


async def effective(target: LoadTarget) -> list[Effective]:
    connection = await asyncpg.connect(target.address)
    try:
        rows = await connection.fetch(
            "SELECT t.key AS type, p.name AS origin, e.display_name AS related, r.valid_from,"
            " NULLIF(r.valid_to, 'infinity') AS valid_to FROM relationship_effective r"
            " JOIN relationship_type t ON t.id = r.type_id"
            " JOIN product_version p ON p.asset_id = r.origin_id AND p.valid_from <= r.valid_from AND p.valid_to > r.valid_from"
            " JOIN entity_version e ON e.asset_id = r.related_id AND e.valid_from <= r.valid_from AND e.valid_to > r.valid_from"
            " ORDER BY r.valid_from, 1, 2, 3"
        )
        return [Effective(**row) for row in rows]
    finally:
        await connection.close()


async def display_names(target: LoadTarget, uid: UUID) -> list[tuple[str, datetime]]:
    """Return the display name of each version of an entity, with the beginning of the version."""
    connection = await asyncpg.connect(target.address)
    try:
        rows = await connection.fetch(
            "SELECT v.display_name, v.valid_from FROM entity_version v JOIN asset a ON a.id = v.asset_id"
            " WHERE a.uid = $1 ORDER BY v.valid_from",
            uid,
        )
        return [(row["display_name"], row["valid_from"]) for row in rows]
    finally:
        await connection.close()


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(6))
async def test_a_handover_is_the_same_in_any_order(target: LoadTarget, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One steward ends and the next begins at the same instant, and the first is deleted afterwards."""
    monkeypatch.setattr(source, "BATCH", 4)
    lines = [
        *TYPES,
        product_line(A, "orders", 0),
        ANN,
        BO,
        relationship_line("steward", A, "1", 1),
        delete_line(relationship_uid(STEWARD, A, ANN_UID), 3),
        relationship_line("steward", A, "2", 3),
        delete_line(ANN_UID, 4),
    ]
    load = await target.load(Random(seed).sample(lines, len(lines)))
    assert target.errors == []
    assert load.summary.rows == len(lines)
    assert await effective(target) == [("steward", "orders", "Ann", day(1), day(3)), ("steward", "orders", "Bo", day(3), None)]
    repeated = await target.load(lines)
    assert repeated.summary.unchanged == len(lines)
    await target.verify()


async def test_a_conflicting_relationship_rejects_only_its_own_row(target: LoadTarget) -> None:
    await target.load([*TYPES, ANN, BO, product_line(A, "orders", 0), product_line(B, "sales", 0)])
    lines = [
        relationship_line("steward", A, "1", 1),
        relationship_line("steward", A, "2", 5),
        relationship_line("steward", B, "2", 5),
        relationship_line("steward", A, "1", 7, attributes={"a": 1}),
    ]
    load = await target.load(lines)
    assert str(load.summary) == "created 2, updated 1, unchanged 0, rejected 1"
    assert [(it.line, it.code, it.field) for it in target.errors] == [(2, "CONFLICT", "related")]
    assert "Ann" in target.errors[0].message
    assert "Bo" in target.errors[0].message
    assert await effective(target) == [
        ("steward", "orders", "Ann", day(1), day(7)),
        ("steward", "sales", "Bo", day(5), None),
        ("steward", "orders", "Ann", day(7), None),
    ]
    await target.verify()


@pytest.mark.temporal
@pytest.mark.parametrize("first", ["relationship", "entity"])
@pytest.mark.parametrize("stated", [1, 3, 5])
async def test_a_stub_takes_the_state_that_is_loaded_before_or_after_it(target: LoadTarget, first: str, stated: int) -> None:
    """The state holds from its own instant on, whether that is before the relationship or after it, in both orders of loads."""
    await target.load([*TYPES, product_line(A, "orders", 0)])
    relationship = relationship_line("customer", A, "42", 3)
    entity = {**CUSTOMER, "displayName": "Shah & Sons", "at": iso(day(stated))}
    for line in (relationship, entity) if first == "relationship" else (entity, relationship):
        await target.load([line])
        assert target.errors == []
    names = [("Customer 42", day(3)), ("Shah & Sons", day(5))] if stated == 5 else [("Shah & Sons", day(stated))]
    assert await display_names(target, CUSTOMER_UID) == names
    assert [it.period for it in await effective(target)] == [(day(3), None)]
    await target.verify()


async def test_a_deleted_entity_is_no_stub(target: LoadTarget) -> None:
    """A load may state a relationship while its end is deleted: it is effective when the end is restored."""
    deletion = delete_line(CUSTOMER_UID, 2)
    await target.load([*TYPES, product_line(A, "orders", 0), CUSTOMER, deletion, relationship_line("customer", A, "42", 3)])
    assert target.errors == []
    assert await effective(target) == []
    await target.load([{**CUSTOMER, "at": iso(day(6))}])
    assert [it.period for it in await effective(target)] == [(day(6), None)]
    await target.verify()


@pytest.mark.temporal
@pytest.mark.parametrize("on_delete", ["RESTRICT", "CASCADE"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_delete_line_deletes_its_asset_and_no_other(
    target: LoadTarget, on_delete: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a load, a deletion is a fact of the past: `onDelete` neither refuses it nor deletes other assets, in any order."""
    monkeypatch.setattr(source, "BATCH", 3)
    lines = [*ENTITY_TYPES, STEWARD_LINE, {**CUSTOMER_LINE, "onDelete": on_delete}, product_line(A, "a", 0), CUSTOMER]
    lines += [relationship_line("customer", A, "42", 1), delete_line(A, 2)]
    await target.load(Random(seed).sample(lines, len(lines)))
    assert target.errors == []
    assert [it.period for it in await effective(target)] == [(day(1), day(2))]
    assert await display_names(target, CUSTOMER_UID) == [("Shah", day(0))]
    await target.verify()


@pytest.mark.parametrize("key", ["042", "x", "4.2", "A2B5F0E0-7C1D-4F3B-9A55-0D6C2A7BE101", "shop.customers", "+1"])
async def test_a_stub_needs_a_key_that_identifies_a_record(target: LoadTarget, key: str) -> None:
    await target.load([*TYPES, product_line(A, "orders", 0), relationship_line("customer", A, key, 3)])
    assert [(it.code, it.field) for it in target.errors] == [("NOT_FOUND", "related")]


async def test_a_rejected_relationship_leaves_no_stub(target: LoadTarget) -> None:
    wrong_origin = {**relationship_line("customer", A, "42", 3), "origin": {"entity": {"type": "PERSON", "key": "1"}}}
    others = [relationship_line("customer", A, "43", 3), relationship_line("nobody", A, "44", 3)]
    await target.load([*TYPES, ANN, wrong_origin, *others])
    assert len(target.errors) == 3
    assert await display_names(target, CUSTOMER_UID) == []
    assert await display_names(target, entity_uid_by_key("CUSTOMER", "43")) == []
    await target.verify()


CSV = """type,origin,origin_uid,related,related_uid,attributes,change_ts
steward,orders,,1,,"{""since"": ""spring""}",2026-01-02
steward,,{b},,{bo},,2026-01-03
customer,orders,,42,,,2026-01-04
customer,orders,,7c1d4f3b-0000-4000-8000-0d6c2a7be101,,,
steward,orders,,2,,,2026-01-05
steward,nobody,,1,,,2026-01-05
nothing,orders,,1,,,2026-01-05
"""


async def test_a_csv_file_of_relationships_is_loaded_and_can_be_loaded_again(target: LoadTarget) -> None:
    await target.load([*TYPES, ANN, BO, product_line(A, "orders", 0), product_line(B, "sales", 0)])
    file = CSV.replace("{b}", str(B)).replace("{bo}", str(BO_UID)).encode()
    load = await target.load_file(file, RelationshipFile)
    assert str(load.summary) == "created 4, updated 0, unchanged 0, rejected 3"
    assert [(it.line, it.code, it.field) for it in target.errors] == [
        (6, "CONFLICT", "related"),
        (7, "NOT_FOUND", "origin"),
        (8, "BAD_INPUT", "type"),
    ]
    assert [(it.type, it.origin, it.related, it.valid_from) for it in await effective(target)][:3] == [
        ("steward", "orders", "Ann", day(1)),
        ("steward", "sales", "Bo", day(2)),
        ("customer", "orders", "Customer 42", day(3)),
    ]
    repeated = await target.load_file(file, RelationshipFile)
    # A row without an instant holds from the start of each load.
    assert str(repeated.summary) == "created 0, updated 0, unchanged 4, rejected 3"
    await target.verify()


async def test_a_key_alone_needs_a_type_that_determines_the_kind_of_the_end(target: LoadTarget) -> None:
    to_customers = {**STEWARD_LINE, "related": "CUSTOMER"}
    to_any_entity = {**STEWARD_LINE, "key": "seen", "reverseKey": "shows", "related": "ENTITY"}
    await target.load([*TYPES, ANN, product_line(A, "orders", 0), to_customers, to_any_entity])
    rows = "type,origin,related\nsteward,orders,1\nPRODUCT steward PERSON,orders,1\nseen,orders,1\n"
    load = await target.load_file(rows.encode(), RelationshipFile)
    assert load.summary.created == 1
    assert [(it.line, it.field) for it in target.errors] == [(2, "type"), (4, "related")]
    assert target.errors[1].message.endswith("so a key is not enough. Give its type or its uid.")
    rows = (
        "type,origin,origin_type,related,related_type\nsteward,orders,,1,PERSON\nseen,orders,PRODUCT,1,PERSON\nseen,1,PERSON,1,\n"
    )
    load = await target.load_file(rows.encode(), RelationshipFile)
    assert (load.summary.created, load.summary.unchanged) == (1, 1)
    assert [(it.line, it.field, it.code) for it in target.errors] == [(4, "related", "BAD_INPUT")]
