"""Joins from files, JSON lines and CSV: with the guarantees of everything else that comes in bulk."""

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import asyncpg
import pytest

from db.assets.entity import entity_uid_by_key
from db.associations.relationship import relationship_uid
from db.registries.relationship_type import validate_state
from graph_api.ingestion import source
from graph_api.ingestion.relationship_csv import RelationshipFile
from tests.builders import day, iso
from tests.graph_api.commands.test_ingest_jsonl import A, B, Base, a_product, an_end, base_on

pytestmark = pytest.mark.api

STEWARD = validate_state("steward", "stewardOf", "PRODUCT", "PERSON", "MANY_TO_ONE", "RESTRICT")
TYPES: list[dict[str, Any]] = [
    {"kind": "entityType", "code": "PERSON", "label": "Person"},
    {
        "kind": "entityType",
        "code": "CUSTOMER",
        "label": "Customer",
        "source": {"service": "crm", "endpoint": "/customers", "lookupField": "id"},
    },
    {"kind": "detailType", "code": "email", "label": "Email", "format": "email"},
    {
        "kind": "relationshipType",
        "key": "steward",
        "reverseKey": "stewardOf",
        "origin": "PRODUCT",
        "related": "PERSON",
        "cardinality": "MANY_TO_ONE",
        "onDelete": "RESTRICT",
    },
    {
        "kind": "relationshipType",
        "key": "customer",
        "reverseKey": "uses",
        "origin": "PRODUCT",
        "related": "CUSTOMER",
        "cardinality": "MANY_TO_MANY",
    },
]
ANN, BO = (
    {"kind": "entity", "type": "PERSON", "key": key, "displayName": name, "at": iso(day(0))}
    for key, name in (("1", "Ann"), ("2", "Bo"))
)
ANN_UID, BO_UID = entity_uid_by_key("PERSON", "1"), entity_uid_by_key("PERSON", "2")


@pytest.fixture
async def base(server: str) -> AsyncIterator[Base]:
    async with base_on(server) as base:
        yield base


def a_join(type_: str, product: Any, key: str, at: float, **changes: Any) -> dict[str, Any]:
    other = "PERSON" if "steward" in type_ else "CUSTOMER"
    ends = {"origin": {"uid": str(product)}, "related": {"entity": {"type": other, "key": key}}}
    return {"kind": "relationship", "type": type_, **ends, "at": iso(day(at)), **changes}


async def held(base: Base) -> list[tuple[Any, ...]]:
    """Which joins hold, and when."""
    connection = await asyncpg.connect(base.address)
    try:
        rows = await connection.fetch(
            "SELECT t.key, p.name, e.display_name, r.valid_from, NULLIF(r.valid_to, 'infinity') AS valid_to FROM relationship_effective r"
            " JOIN relationship_type t ON t.id = r.type_id"
            " JOIN product_version p ON p.asset_id = r.origin_id AND p.valid_from <= r.valid_from AND p.valid_to > r.valid_from"
            " JOIN entity_version e ON e.asset_id = r.related_id AND e.valid_from <= r.valid_from AND e.valid_to > r.valid_from"
            " ORDER BY r.valid_from, 1, 2, 3"
        )
        return [tuple(it) for it in rows]
    finally:
        await connection.close()


async def named(base: Base, uid: Any) -> list[tuple[str, Any]]:
    """What an entity is called, stretch by stretch."""
    connection = await asyncpg.connect(base.address)
    try:
        rows = await connection.fetch(
            "SELECT v.display_name, v.valid_from FROM entity_version v JOIN asset a ON a.id = v.asset_id"
            " WHERE a.uid = $1 ORDER BY v.valid_from",
            uid,
        )
        return [tuple(it) for it in rows]
    finally:
        await connection.close()


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(6))
async def test_a_handover_is_the_same_in_any_order(base: Base, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is given up and taken at one instant, and whoever held it is deleted after that."""
    monkeypatch.setattr(source, "BATCH", 4)
    lines = [
        *TYPES,
        a_product(A, "orders", 0),
        ANN,
        BO,
        a_join("steward", A, "1", 1),
        an_end(relationship_uid(STEWARD, A, ANN_UID), 3),
        a_join("steward", A, "2", 3),
        an_end(ANN_UID, 4),
    ]
    load = await base.load(Random(seed).sample(lines, len(lines)))
    assert base.faults == []
    assert load.summary.rows == len(lines)
    assert await held(base) == [("steward", "orders", "Ann", day(1), day(3)), ("steward", "orders", "Bo", day(3), None)]
    again = await base.load(lines)
    assert again.summary.unchanged == len(lines)
    await base.sound()


async def test_what_collides_is_refused_by_itself(base: Base) -> None:
    await base.load([*TYPES, ANN, BO, *(a_product(uid, name, 0) for uid, name in ((A, "orders"), (B, "sales")))])
    lines = [
        a_join("steward", A, "1", 1),
        a_join("steward", A, "2", 5),
        a_join("steward", B, "2", 5),
        a_join("steward", A, "1", 7, attributes={"a": 1}),
    ]
    load = await base.load(lines)
    assert str(load.summary) == "created 2, updated 1, unchanged 0, rejected 1"
    assert [(it.line, it.code, it.field) for it in base.faults] == [(2, "CONFLICT", "related")]
    assert "Ann" in base.faults[0].message
    assert "Bo" in base.faults[0].message
    assert [it[1:] for it in await held(base)] == [
        ("orders", "Ann", day(1), day(7)),
        ("sales", "Bo", day(5), None),
        ("orders", "Ann", day(7), None),
    ]
    await base.sound()


@pytest.mark.temporal
@pytest.mark.parametrize("first", ["join", "entity"])
@pytest.mark.parametrize("loaded", [1, 3, 5])
async def test_a_stub_is_filled_by_what_is_loaded_before_or_after_it(base: Base, first: str, loaded: int) -> None:
    """What is said of the entity counts from its instant on, before the join or after it, and whichever was heard first."""
    await base.load([*TYPES, a_product(A, "orders", 0)])
    join = a_join("customer", A, "42", 3)
    entity = {"kind": "entity", "type": "CUSTOMER", "key": "42", "displayName": "Shah & Sons", "at": iso(day(loaded))}
    for line in (join, entity) if first == "join" else (entity, join):
        await base.load([line])
        assert base.faults == []
    names = [("Customer 42", day(3)), ("Shah & Sons", day(5))] if loaded == 5 else [("Shah & Sons", day(loaded))]
    assert await named(base, entity_uid_by_key("CUSTOMER", "42")) == names
    assert [it[3:] for it in await held(base)] == [(day(3), None)]
    await base.sound()


async def test_what_was_deleted_is_no_stub(base: Base) -> None:
    """In bulk a join may be said of when its end is away: it holds when that is back."""
    customer = {"kind": "entity", "type": "CUSTOMER", "key": "42", "displayName": "Shah", "at": iso(day(0))}
    gone = an_end(entity_uid_by_key("CUSTOMER", "42"), 2)
    await base.load([*TYPES, a_product(A, "orders", 0), customer, gone, a_join("customer", A, "42", 3)])
    assert base.faults == []
    assert await held(base) == []
    await base.load([{**customer, "at": iso(day(6))}])
    assert [it[3:] for it in await held(base)] == [(day(6), None)]
    await base.sound()


@pytest.mark.temporal
@pytest.mark.parametrize("on_delete", ["RESTRICT", "CASCADE"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_line_that_ends_an_asset_ends_that_and_no_other(
    base: Base, on_delete: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells what happened: whatever its place in the file, and whatever is joined with it when it is heard."""
    monkeypatch.setattr(source, "BATCH", 3)
    customer = {"kind": "entity", "type": "CUSTOMER", "key": "42", "displayName": "Shah", "at": iso(day(0))}
    lines = [*TYPES[:4], {**TYPES[4], "onDelete": on_delete}, a_product(A, "a", 0), customer]
    lines += [a_join("customer", A, "42", 1), an_end(A, 2)]
    await base.load(Random(seed).sample(lines, len(lines)))
    assert base.faults == []
    assert [it[3:] for it in await held(base)] == [(day(1), day(2))]
    assert await named(base, entity_uid_by_key("CUSTOMER", "42")) == [("Shah", day(0))]
    await base.sound()


@pytest.mark.parametrize("key", ["042", "x", "4.2", "A2B5F0E0-7C1D-4F3B-9A55-0D6C2A7BE101", "shop.customers", "+1"])
async def test_a_stub_is_made_of_what_identifies_a_record(base: Base, key: str) -> None:
    await base.load([*TYPES, a_product(A, "orders", 0), a_join("customer", A, key, 3)])
    assert [(it.code, it.field) for it in base.faults] == [("NOT_FOUND", "related")]


async def test_a_join_that_is_refused_leaves_no_stub(base: Base) -> None:
    wrong = {**a_join("customer", A, "42", 3), "origin": {"entity": {"type": "PERSON", "key": "1"}}}
    await base.load([*TYPES, ANN, wrong, a_join("customer", A, "43", 3), a_join("nobody", A, "44", 3)])
    assert len(base.faults) == 3
    assert await named(base, entity_uid_by_key("CUSTOMER", "42")) == []
    assert await named(base, entity_uid_by_key("CUSTOMER", "43")) == []
    await base.sound()


CSV = """type,origin,origin_uid,related,related_uid,attributes,change_ts
steward,orders,,1,,"{""since"": ""spring""}",2026-01-02
steward,,{b},,{bo},,2026-01-03
customer,orders,,42,,,2026-01-04
customer,orders,,7c1d4f3b-0000-4000-8000-0d6c2a7be101,,,
steward,orders,,2,,,2026-01-05
steward,nobody,,1,,,2026-01-05
nothing,orders,,1,,,2026-01-05
"""


async def test_a_csv_file_of_joins_is_loaded_and_can_be_loaded_again(base: Base) -> None:
    await base.load([*TYPES, ANN, BO, a_product(A, "orders", 0), a_product(B, "sales", 0)])
    file = CSV.replace("{b}", str(B)).replace("{bo}", str(BO_UID)).encode()
    load = await base.load_file(file, RelationshipFile)
    assert str(load.summary) == "created 4, updated 0, unchanged 0, rejected 3"
    assert [(it.line, it.code, it.field) for it in base.faults] == [
        (6, "CONFLICT", "related"),
        (7, "NOT_FOUND", "origin"),
        (8, "BAD_INPUT", "type"),
    ]
    assert [it[:4] for it in await held(base)][:3] == [
        ("steward", "orders", "Ann", day(1)),
        ("steward", "sales", "Bo", day(2)),
        ("customer", "orders", "Customer 42", day(3)),
    ]
    again = await base.load_file(file, RelationshipFile)
    # what has no instant is said of each load's own
    assert str(again.summary) == "created 0, updated 0, unchanged 4, rejected 3"
    await base.sound()


async def test_a_key_alone_needs_a_type_that_tells_what_it_is_of(base: Base) -> None:
    other = {**TYPES[3], "related": "CUSTOMER"}
    any_ = {**TYPES[3], "key": "seen", "reverseKey": "shows", "related": "ENTITY"}
    await base.load([*TYPES, ANN, a_product(A, "orders", 0), other, any_])
    rows = "type,origin,related\nsteward,orders,1\nPRODUCT steward PERSON,orders,1\nseen,orders,1\n"
    load = await base.load_file(rows.encode(), RelationshipFile)
    assert load.summary.created == 1
    assert [(it.line, it.field) for it in base.faults] == [(2, "type"), (4, "related")]
