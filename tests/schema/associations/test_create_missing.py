"""Stubs of products and entities that a link or a relationship refers to, with `createMissing`."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from db.temporal.verification import verify_tenant
from tests.builders import REGISTER, REGISTER_LINEAGE, Api, day, iso

pytestmark = pytest.mark.api

TABLE = """
  mutation { putEntityType(input: { code: "TABLE", label: "Table" }) { entityType { code } } }
"""
ASSETS = """
  query ($asOf: DateTime) {
    product(name: "orders", asOf: $asOf) { uid domain { name } owner version schema }
    entities(asOf: $asOf) { nodes { uid label key } }
  }
"""
ORDERS = {"product": "orders"}
RAW = {"entity": {"type": "TABLE", "key": "lake.raw orders"}}


@pytest.fixture
async def typed(api: Api) -> Api:
    assert (await api(TABLE)).data
    return api


async def register(api: Api, **fields: Any) -> Any:
    return await api(REGISTER_LINEAGE, input={"source": RAW, "target": ORDERS, "at": iso(day(3)), **fields})


async def clean(api: Api) -> None:
    async with api.database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_a_link_creates_the_product_and_the_entity_that_it_names(typed: Api) -> None:
    refused = await register(typed)
    assert refused.code_and_field == ("NOT_FOUND", "source")
    assert refused.errors[0]["message"].endswith("With createMissing: true it becomes a stub.")
    assert (await register(typed, createMissing=True)).data["registerLineage"]["changed"]
    assert (await typed(ASSETS, asOf=iso(day(2)))).data == {"product": None, "entities": {"nodes": []}}
    found = (await typed(ASSETS, asOf=iso(day(3)))).data
    stub = found["product"]
    assert {**stub, "uid": ""} == {
        "uid": "",
        "domain": {"name": "unassigned"},
        "owner": "unassigned",
        "version": "0.0.0",
        "schema": {},
    }
    assert [it["label"] for it in found["entities"]["nodes"]] == ["Table lake.raw orders"]
    # what exists is not created again
    assert not (await register(typed, createMissing=True, at=iso(day(4)))).data["registerLineage"]["changed"]
    await clean(typed)


@pytest.mark.parametrize("at", [2, 3, 5])
async def test_a_stub_product_is_registered_once(typed: Api, at: int) -> None:
    await register(typed, createMissing=True)
    stub = (await typed(ASSETS)).data["product"]["uid"]
    product = {"name": "orders", "domain": "sales", "owner": "ann", "schema": {}, "at": iso(day(at))}
    created = (await typed(REGISTER, input=product)).data["registerProduct"]["product"]
    assert created["uid"] == stub
    assert (await typed(ASSETS)).data["product"]["domain"] == {"name": "sales"}
    again = await typed(REGISTER, input={**product, "owner": "bo", "at": iso(day(6))})
    assert again.code_and_field == ("CONFLICT", "name")
    await clean(typed)


async def test_a_relationship_creates_its_ends(typed: Api) -> None:
    await typed.put_relationship_type("storedIn", origin="PRODUCT", related="TABLE", reverseKey="stores")
    ends = {"type": "storedIn", "origin": ORDERS, "related": RAW}
    relate = "mutation ($input: RelateInput!) { relate(input: $input) { relationship { origin { label } related { label } } } }"
    assert (await typed(relate, input=ends)).code_and_field == ("NOT_FOUND", "origin")
    # a relationship that is refused leaves nothing behind
    assert (await typed(relate, input={**ends, "origin": RAW, "createMissing": True})).code_and_field == ("BAD_INPUT", "origin")
    assert (await typed(ASSETS)).data == {"product": None, "entities": {"nodes": []}}
    made = (await typed(relate, input={**ends, "createMissing": True})).data["relate"]["relationship"]
    assert made == {"origin": {"label": "orders"}, "related": {"label": "Table lake.raw orders"}}
    await clean(typed)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ({"uid": str(uuid4())}, ("NOT_FOUND", "source")),
        ({"entity": {"type": "TABEL", "key": "1"}}, ("BAD_INPUT", "source")),
        ({"product": "two\nlines"}, ("BAD_INPUT", "source")),
        ({"entity": {"type": "TABLE", "key": " "}}, ("BAD_INPUT", "source")),
        ({"entity": {"type": "TABLE", "key": "7" * 501}}, ("BAD_INPUT", "source")),
    ],
    ids=["uid", "unknown type", "no name", "no key", "long key"],
)
async def test_what_cannot_be_created_is_refused(typed: Api, source: dict[str, Any], fault: tuple[str, str]) -> None:
    refused = await register(typed, source=source, createMissing=True)
    assert refused.code_and_field == fault
    if source.get("entity", {}).get("type") == "TABEL":
        assert "TABLE" in refused.errors[0]["message"]
    assert (await typed(ASSETS)).data == {"product": None, "entities": {"nodes": []}}


async def test_a_deleted_product_does_not_become_a_stub(typed: Api) -> None:
    await register(typed, createMissing=True)
    uid = (await typed(ASSETS)).data["product"]["uid"]
    delete = "mutation ($input: DeleteProductInput!) { deleteProduct(input: $input) { changed } }"
    assert (await typed(delete, input={"product": {"uid": uid}, "at": iso(day(5))})).data
    assert (await register(typed, createMissing=True, at=iso(day(6)))).code_and_field == ("NOT_FOUND", "target")
    await clean(typed)


async def test_the_label_of_a_stub_with_a_long_key_is_shortened(typed: Api) -> None:
    key = "7" * 500
    assert (await register(typed, createMissing=True, source={"entity": {"type": "TABLE", "key": key}})).data
    (stub,) = (await typed(ASSETS)).data["entities"]["nodes"]
    assert (stub["key"], stub["label"]) == (key, f"Table {key}"[:500])


async def test_a_product_that_is_deleted_under_its_uid_does_not_become_a_stub(typed: Api) -> None:
    product = {"name": "orders", "domain": "sales", "owner": "ann", "schema": {}, "at": iso(day(1))}
    uid = (await typed(REGISTER, input=product)).data["registerProduct"]["product"]["uid"]
    delete = "mutation ($input: DeleteProductInput!) { deleteProduct(input: $input) { changed } }"
    assert (await typed(delete, input={"product": {"uid": uid}, "at": iso(day(2))})).data
    refused = await register(typed, createMissing=True)
    assert refused.code_and_field == ("NOT_FOUND", "target")
    assert "createMissing" not in refused.error["message"], "it is given"
    assert (await typed(ASSETS)).data == {"product": None, "entities": {"nodes": []}}


async def test_a_product_that_is_registered_from_a_later_instant_on_is_a_stub_until_then(typed: Api) -> None:
    product = {"name": "orders", "domain": "sales", "owner": "ann", "schema": {}, "at": iso(day(5))}
    uid = (await typed(REGISTER, input=product)).data["registerProduct"]["product"]["uid"]
    assert (await register(typed, createMissing=True)).data
    for at, domain in ((3, "unassigned"), (5, "sales")):
        found = (await typed(ASSETS, asOf=iso(day(at)))).data["product"]
        assert (found["uid"], found["domain"]["name"]) == (uid, domain)
    await clean(typed)


async def test_a_stub_does_not_take_the_uid_of_a_product_that_was_renamed(typed: Api) -> None:
    await register(typed, createMissing=True)
    first = (await typed(ASSETS)).data["product"]["uid"]
    rename = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed } }"
    assert (await typed(rename, input={"product": {"name": "orders"}, "name": "sales", "at": iso(day(4))})).data
    assert (await register(typed, createMissing=True, at=iso(day(5)))).data
    second = (await typed(ASSETS)).data["product"]["uid"]
    assert second != first
    # the product that is called so later exists already, so that it can be no stub
    early = await register(typed, createMissing=True, target={"product": "sales"}, at=iso(day(3)))
    assert early.code_and_field == ("CONFLICT", "target")
    product = {"name": "orders", "domain": "sales", "owner": "ann", "schema": {}, "at": iso(day(6))}
    assert (await typed(REGISTER, input=product)).data["registerProduct"]["product"]["uid"] == second
    await clean(typed)


async def test_a_key_that_an_entity_lost_becomes_a_stub_beside_it(typed: Api) -> None:
    await register(typed, createMissing=True)
    (first,) = (await typed(ASSETS)).data["entities"]["nodes"]
    update = "mutation ($input: UpdateEntityInput!) { updateEntity(input: $input) { changed } }"
    renamed = {"entity": {"key": RAW["entity"]}, "key": "lake.old", "at": iso(day(4))}
    assert (await typed(update, input=renamed)).data
    refused = await register(typed, at=iso(day(5)))
    assert refused.error["message"].endswith(
        " With createMissing: true it becomes a stub."
        f" The entity {first['uid']} had the key before, and has the key 'lake.old' then."
    )
    assert (await register(typed, createMissing=True, at=iso(day(5)))).data
    second = {it["key"]: it["uid"] for it in (await typed(ASSETS)).data["entities"]["nodes"]}
    assert (second["lake.old"], len(second)) == (first["uid"], 2)
    # the entity that gets this key later exists already, so that it can be no stub
    early = await register(typed, createMissing=True, source={"entity": {**RAW["entity"], "key": "lake.old"}}, at=iso(day(3)))
    assert early.code_and_field == ("CONFLICT", "source")
    await clean(typed)


async def test_writers_that_name_one_missing_asset_create_it_once(typed: Api) -> None:
    answers = await asyncio.gather(
        *(register(typed, createMissing=True, producer=f"job {number}", at=None) for number in range(8))
    )
    assert [it.data["registerLineage"]["changed"] for it in answers] == [True] * 8
    assert len((await typed(ASSETS)).data["entities"]["nodes"]) == 1
    await clean(typed)


async def test_a_repetition_gets_the_answer_of_the_first_request(typed: Api) -> None:
    first = await register(typed, createMissing=True, idempotencyKey="once")
    assert (await register(typed, createMissing=True, idempotencyKey="once")).data == first.data


async def test_concurrent_repetitions_create_the_ends_once(typed: Api) -> None:
    answers = await asyncio.gather(*(register(typed, createMissing=True, idempotencyKey="once", at=None) for _ in range(4)))
    assert [it.data for it in answers] == [answers[0].data] * 4
    assert len((await typed(ASSETS)).data["entities"]["nodes"]) == 1
    await clean(typed)
