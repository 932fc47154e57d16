"""Lines that delete what they name: by uid, name, key or ends, in any order, again and again, and what they refuse."""

import json
from collections.abc import AsyncIterator
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from db.associations.reference import link_uid
from tests.builders import day, iso
from tests.conftest import recording
from tests.graph_api.ingestion.lines import A, B, delete_line, link_line, product_line
from tests.graph_api.ingestion.load_target import LoadTarget, load_target
from tests.graph_api.ingestion.random_histories import RELATIONSHIP_TYPES, TYPES

TABLE = {"entity": {"type": "TABLE", "key": "7"}}
ORDERS = {"product": "orders"}


@pytest.fixture
async def target(server: str) -> AsyncIterator[LoadTarget]:
    async with load_target(server) as target:
        yield target


def table(key: str, at: float, **fields: Any) -> dict[str, Any]:
    return {"kind": "entity", "type": "TABLE", "key": key, "displayName": f"Table {key}", "at": iso(day(at)), **fields}


def deletion(at: float, **subject: Any) -> dict[str, Any]:
    return {"kind": "delete", **subject, "at": iso(day(at))}


def relationship(type_: str, at: float, **ends: Any) -> dict[str, Any]:
    return {"kind": "relationship", "type": type_, **ends, "at": iso(day(at))}


async def periods(target: LoadTarget, part: str) -> list[tuple[str, int | None, int | None]]:
    """Return the subjects of a part of the state, with the days on which they begin and end."""
    found = []
    for it in await target.state():
        if it.part == part:
            content = json.loads(it.content)
            begins, ends = (content[name] for name in ("valid_from", "valid_to"))
            found.append((it.subject, _day_of(begins), _day_of(ends)))
    return found


def _day_of(instant: str) -> int | None:
    return None if instant == "infinity" else next(number for number in range(100) if day(number).isoformat() == instant)


@pytest.mark.parametrize("order", [1, -1])
async def test_each_kind_of_reference_deletes_what_it_names(target: LoadTarget, order: int) -> None:
    lines = [
        *TYPES,
        *RELATIONSHIP_TYPES,
        product_line(A, "orders", 0),
        product_line(B, "sales", 0),
        table("7", 0, alternateKeys=["seven"]),
        link_line(A, B, 1, producer="dbt"),
        link_line(B, A, 1),
        link_line(B, A, 1, producer="dbt"),
        relationship("seenIn", 1, origin=ORDERS, related=TABLE),
        relationship("home", 1, origin=TABLE, related=ORDERS),
        # the product is called otherwise when its links end
        product_line(A, "orders of today", 2),
        deletion(3, link={"source": {"product": "orders of today"}, "target": {"product": "sales"}}),
        deletion(4, link={"source": {"uid": str(B)}, "target": {"uid": str(A)}, "producer": None}),
        deletion(5, link={"source": {"product": "sales"}, "target": {"uid": str(A)}}),
        deletion(6, relationship={"type": "PRODUCT seenIn ENTITY", "origin": {"uid": str(A)}, "related": TABLE}),
        deletion(7, relationship={"type": "home", "origin": TABLE, "related": {"product": "orders of today"}}),
        deletion(8, entity={"type": "TABLE", "key": "seven"}),
        deletion(9, product="orders of today"),
    ]
    for changed in (True, False):
        load = await target.load(lines[::order])
        assert target.errors == []
        assert (load.summary.unchanged == len(lines)) is not changed
        assert sorted(ends for _, _, ends in await periods(target, "effective") if ends) == [3, 4, 5, 6, 7]
        ends = {subject: ends for subject, _, ends in await periods(target, "lifetime")}
        assert (ends.pop(str(A)), ends.pop(str(B)), *ends.values()) == (9, None, 8)
        await target.verify()


async def test_a_name_that_passes_on_means_in_every_order_the_product_that_has_it(target: LoadTarget) -> None:
    expected = []
    lines: list[dict[str, Any]] = []
    for number, order in enumerate(permutations(range(4))):
        first, second = UUID(int=1_000 + number), UUID(int=2_000 + number)
        name = f"name {number}"
        history = [
            product_line(first, name, 0),
            deletion(2, product=name),
            product_line(second, name, 3),
            deletion(5, product=name),
        ]
        lines += [history[index] for index in order]
        expected += [(str(first), 0, 2), (str(second), 3, 5)]
    for _ in range(2):
        await target.load(lines)
        assert target.errors == []
        assert await periods(target, "lifetime") == sorted(expected)
    await target.verify()


@pytest.mark.parametrize("order", [1, -1])
async def test_a_product_without_uid_is_a_new_one_after_the_deletion_of_the_one_that_had_the_name(
    target: LoadTarget, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        product_line(A, "orders", 0),
        deletion(1, product="orders"),
        product_line(None, "orders", 2),
        deletion(3, product="orders"),
        product_line(None, "orders", 4),
        product_line(B, "sales", 4),
        deletion(5, product="orders"),
    ]
    monkeypatch.setattr("graph_api.ingestion.source.BATCH", 3)
    await target.load(lines[::order])
    assert target.errors == []
    lifetimes = await periods(target, "lifetime")
    assert sorted(it[1:] for it in lifetimes if it[0] not in {str(A), str(B)}) == [(2, 3), (4, 5)]
    assert (str(A), 0, 1) in lifetimes


async def test_a_repeated_deletion_changes_nothing(target: LoadTarget) -> None:
    await target.load([*TYPES, product_line(A, "orders", 0), table("7", 0), link_line(A, B, 0), product_line(B, "sales", 0)])
    link = {"link": {"source": {"uid": str(A)}, "target": {"uid": str(B)}}}
    lines = [{"kind": "delete", **subject} for subject in (ORDERS, TABLE, link)]
    for summary in ("created 0, updated 3, unchanged 0, rejected 0", "created 0, updated 0, unchanged 3, rejected 0"):
        load = await target.load(lines)
        assert (target.errors, str(load.summary)) == ([], summary)
    # a product that has another name meanwhile is not meant
    await target.load([product_line(B, "returns", 1)])
    await target.load([{"kind": "delete", "product": "sales"}])
    assert [(it.field, it.code) for it in target.errors] == [("product", "NOT_FOUND")]


@pytest.mark.parametrize(
    ("subject", "field", "code", "message"),
    [
        (ORDERS, "product", "NOT_FOUND", "There is no product named 'orders' at 2026-01-06T00:00:00Z."),
        (TABLE, "entity", "NOT_FOUND", "There is no TABLE with the key '7' at 2026-01-06T00:00:00Z."),
        (
            {"entity": {"type": "TABEL", "key": "1"}},
            "entity",
            "NOT_FOUND",
            "There is no TABEL with the key '1' at 2026-01-06T00:00:00Z.",
        ),
        ({"uid": str(UUID(int=99))}, "uid", "NOT_FOUND", "There is no asset, lineage link or relationship with the uid"),
        (
            {"link": {"source": ORDERS, "target": {"uid": str(B)}}},
            "source",
            "NOT_FOUND",
            "There is no product named 'orders' at 2026-01-05T23:59:59.999999Z.",
        ),
        (
            {"link": {"source": {"uid": str(B)}, "target": {"uid": str(A)}}},
            "link",
            "NOT_FOUND",
            f"There is no link from the asset with the uid {B} to the asset with the uid {A}.",
        ),
        (
            {"link": {"source": {"uid": str(A)}, "target": {"uid": str(B)}}},
            "producer",
            "BAD_INPUT",
            "Give the producer of one of them: null, 'dbt'.",
        ),
        (
            {"link": {"source": {"uid": str(A)}, "target": {"uid": str(B)}, "producer": "spark"}},
            "link",
            "NOT_FOUND",
            "There is no link of the producer 'spark' from the asset",
        ),
        (
            {"relationship": {"type": "shown", "origin": {"uid": str(A)}, "related": TABLE}},
            "type",
            "BAD_INPUT",
            "There is no relationship type 'shown'. There are home, seenIn.",
        ),
        (
            {"relationship": {"type": "home", "origin": {"uid": str(A)}, "related": {"uid": str(B)}}},
            "origin",
            "BAD_INPUT",
            "origin is a PRODUCT, but home relates ENTITY to PRODUCT.",
        ),
        (
            {"relationship": {"type": "seenIn", "origin": {"uid": str(A)}, "related": {"entity": {"type": "TABLE", "key": "1"}}}},
            "relationship",
            "NOT_FOUND",
            "There is no relationship seenIn from the asset with the uid",
        ),
    ],
    ids=str,
)
async def test_a_deletion_of_nothing_names_the_line_the_field_and_the_value(
    target: LoadTarget, subject: dict[str, Any], field: str, code: str, message: str
) -> None:
    products = [product_line(A, "raw", 0), product_line(B, "clean", 0)]
    links = [link_line(A, B, 1), link_line(A, B, 1, producer="dbt")]
    await target.load([*TYPES, *RELATIONSHIP_TYPES, *products, table("1", 0), *links])
    before = await target.state()
    await target.load([deletion(5, **subject)])
    (error,) = target.errors
    assert (error.line, error.field, error.code) == (1, field, code)
    assert message in error.message
    assert await target.state() == before


async def test_the_number_of_sql_statements_does_not_depend_on_the_number_of_deletions(target: LoadTarget) -> None:
    await target.load([*TYPES, *RELATIONSHIP_TYPES])
    counts = []
    for size in (3, 60):
        names = [f"{size} {number}" for number in range(size)]
        products = [product_line(UUID(int=size * 1_000 + number), name, 0) for number, name in enumerate(names)]
        tables = [table(name, 0) for name in names]
        ends = [({"product": name}, {"entity": {"type": "TABLE", "key": name}}) for name in names]
        await target.load(products + tables)
        await target.load([{"kind": "link", "source": near, "target": far, "at": iso(day(1))} for near, far in ends])
        await target.load([relationship("seenIn", 1, origin=near, related=far) for near, far in ends])
        lines = [deletion(2, link={"source": near, "target": far}) for near, far in ends]
        lines += [deletion(2, relationship={"type": "seenIn", "origin": near, "related": far}) for near, far in ends]
        lines += [deletion(3, **it) for pair in ends for it in pair]
        with recording(target.database) as statements:
            load = await target.load(lines)
        assert (target.errors, load.summary.updated) == ([], len(lines))
        counts.append(len(statements))
    assert counts[0] == counts[1]


async def test_a_link_is_deleted_once_the_others_between_its_ends_are(target: LoadTarget) -> None:
    """The first deletion in the file is ambiguous until the other one is written."""
    ends = {"source": {"uid": str(A)}, "target": {"uid": str(B)}}
    lines = [
        deletion(4, link=ends),
        link_line(A, B, 1),
        link_line(A, B, 1, producer="dbt"),
        product_line(A, "raw", 0),
        product_line(B, "clean", 0),
        delete_line(link_uid(A, B, "dbt"), 3),
    ]
    await target.load(lines)
    assert target.errors == []
    assert sorted(it[2] or 0 for it in await periods(target, "effective")) == [3, 4]


async def test_a_relationship_of_a_deleted_entity_with_itself_is_a_bad_row(target: LoadTarget) -> None:
    """The ends are named by uid and by key, which agree even if the entity does not exist then."""
    knows = {"kind": "relationshipType", "key": "near", "reverseKey": "near", "origin": "TABLE", "related": "TABLE"}
    lines = [*TYPES, {**knows, "cardinality": "MANY_TO_MANY"}, table("7", 0, uid=str(A)), table("8", 0), deletion(2, uid=str(A))]
    await target.load(lines)
    assert target.errors == []
    other = {"entity": {"type": "TABLE", "key": "8"}}
    near = [relationship("near", 3, origin={"uid": str(A)}, related=it) for it in (TABLE, other)]
    load = await target.load(near)
    (error,) = target.errors
    assert (error.code, error.field, load.summary.rejected) == ("BAD_INPUT", "related", 1)


async def test_a_link_to_a_product_that_begins_later_is_effective_from_then_on(target: LoadTarget) -> None:
    """Its name means it, as a key means an entity."""
    await target.load([*TYPES, product_line(A, "orders", 5), table("7", 6)])
    await target.load([{"kind": "link", "source": ORDERS, "target": TABLE, "at": iso(day(1))}])
    assert target.errors == []
    ((_, begins, ends),) = await periods(target, "effective")
    assert (begins, ends) == (6, None)
    await target.verify()
