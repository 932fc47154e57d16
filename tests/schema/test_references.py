"""References: the names by which products, entities, links and relationships are named, in mutations and queries."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.builders import (
    DELETE,
    DELETE_ENTITY,
    REMOVE_LINEAGE,
    RESTORE,
    RESTORE_ENTITY,
    UNRELATE,
    UPDATE,
    UPDATE_ENTITY,
    Api,
    day,
    iso,
)

pytestmark = pytest.mark.api

ANN, BO = ({"type": "PERSON", "key": key} for key in ("1", "2"))
ORDERS, SALES = {"product": "orders"}, {"product": "sales"}
AT = {"at": iso(day(5))}


@pytest.fixture
async def shop(api: Api) -> Api:
    """Two products with links of two producers and of none, and two people who know each other and one of the products."""
    await api.put_types()
    await api.register("orders")
    await api.register("sales")
    await api.create("Ann", key="1")
    await api.create("Bo", key="2")
    await api.put_relationship_type(cardinality="MANY_TO_MANY")
    await api.put_relationship_type("knows", origin="PERSON", reverseKey="knows", cardinality="MANY_TO_MANY")
    await api.relate("steward", ORDERS, {"entity": ANN}, at=day(1))
    await api.relate("knows", {"entity": ANN}, {"entity": BO}, at=day(1))
    await api.link("orders", "sales", at=day(1))
    return api


async def names(api: Api, **arguments: Any) -> list[str]:
    query = "query ($asOf: DateTime) { products(asOf: $asOf) { nodes { name } } }"
    return [it["name"] for it in (await api(query, **arguments)).data["products"]["nodes"]]


async def test_a_name_means_the_product_that_has_it_at_the_instant(shop: Api) -> None:
    """A name that passed on means the later product later, and none after that has another name."""
    first = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(10))})).data["deleteProduct"]
    second = (await shop.register("orders", at=iso(day(12))))["uid"]
    again = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(11))})).data["deleteProduct"]
    assert again == {**first, "changed": False}
    later = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(14))})).data["deleteProduct"]
    assert later == {"uid": second, "changed": True}
    restored = (await shop(RESTORE, input={"product": {"name": "orders"}, "at": iso(day(15))})).data["restoreProduct"]
    assert restored["product"]["uid"] == second
    assert (await shop(UPDATE, input={"product": {"name": "orders"}, "name": "requests", "at": iso(day(16))})).data
    for mutation in (UPDATE, DELETE, RESTORE):
        more = {"owner": "x"} if mutation == UPDATE else {}
        answer = await shop(mutation, input={"product": {"name": "orders"}, "at": iso(day(17)), **more})
        assert answer.code_and_field == ("NOT_FOUND", "product"), "the product with the name has another one now"
        assert "'orders'" in answer.error["message"]
    deletions = [shop(DELETE, input={"product": {"name": "requests"}}) for _ in range(3)]
    answers = [it.data["deleteProduct"] for it in await asyncio.gather(*deletions)]
    assert sorted((it["uid"], it["changed"]) for it in answers) == [(second, False), (second, False), (second, True)]


async def test_an_entity_is_changed_deleted_and_restored_by_its_key(shop: Api) -> None:
    uid = (await shop("query ($key: EntityKey!) { entity(key: $key) { uid } }", key=ANN)).data["entity"]["uid"]
    shop.statements.clear()
    assert (await shop(UPDATE_ENTITY, input={"entity": {"key": ANN}, "displayName": "Anna", **AT})).data["updateEntity"][
        "changed"
    ]
    assert len([it for it in shop.statements.executed if "FOR NO KEY UPDATE" in it]) == 2, "before the lock is granted and after"
    deletion = {"entity": {"key": ANN}, "at": iso(day(6))}
    assert (await shop(DELETE_ENTITY, input=deletion)).data["deleteEntity"] == {"uid": uid, "changed": True}
    deletion["at"] = iso(day(7))
    assert (await shop(DELETE_ENTITY, input=deletion)).data["deleteEntity"] == {"uid": uid, "changed": False}
    restored = (await shop(RESTORE_ENTITY, input={"entity": {"key": ANN}, "at": iso(day(8))})).data["restoreEntity"]
    assert (restored["changed"], restored["entity"]["displayName"]) == (True, "Anna")


async def test_a_link_is_named_by_its_ends_and_producer(shop: Api) -> None:
    ends = {"source": ORDERS, "target": SALES}
    only = (await shop(REMOVE_LINEAGE, input={"link": {"ends": ends}, "at": iso(day(2))})).data["removeLineage"]
    assert only["changed"]
    await shop.link("orders", "sales", producer="dbt", at=day(3))
    for named, at, changed in (
        # the only one there is at the instant, although there was another one before
        (ends, day(4), True),
        # both are gone
        (ends, day(5), None),
        ({**ends, "producer": "dbt"}, day(5), False),
        ({**ends, "producer": None}, day(5), False),
    ):
        answer = await shop(REMOVE_LINEAGE, input={"link": {"ends": named}, "at": iso(at)})
        if changed is None:
            assert answer.code_and_field == ("BAD_INPUT", "link.ends.producer")
            assert "null, 'dbt'" in answer.error["message"]
        else:
            assert answer.data["removeLineage"]["changed"] is changed


async def test_an_error_lists_some_producers_of_the_links_that_a_reference_may_mean(shop: Api) -> None:
    for number in range(12):
        await shop.link("orders", "sales", producer=f"p{number:02}", at=day(1))
    answer = await shop(REMOVE_LINEAGE, input={"link": {"ends": {"source": ORDERS, "target": SALES}}})
    assert answer.code_and_field == ("BAD_INPUT", "link.ends.producer")
    assert answer.error["message"].endswith(
        "Give the producer of one of them: null, 'p00', 'p01', 'p02', 'p03', 'p04', 'p05', 'p06', 'p07', 'p08', …."
    )


async def test_a_relationship_is_named_by_its_type_and_ends(shop: Api) -> None:
    steward = {"type": "steward", "origin": ORDERS, "related": {"entity": ANN}}
    # a relationship of a symmetric type has no origin
    knows = {"type": "knows", "origin": {"entity": BO}, "related": {"entity": ANN}}
    by_code = {**steward, "type": "PRODUCT steward PERSON"}
    for ends, changed in ((steward, True), (by_code, False), (knows, True)):
        answer = await shop(UNRELATE, input={"relationship": {"ends": ends}})
        assert answer.data["unrelate"]["changed"] is changed


NOBODY: dict[str, Any] = {"entity": {"type": "PERSON", "key": "9"}}
UID = str(uuid4())


@pytest.mark.parametrize(
    ("mutation", "content", "fault"),
    [
        (UPDATE, {"product": {"name": "none"}, "owner": "x"}, ("NOT_FOUND", "product")),
        (UPDATE, {"product": {"name": "a\0"}, "owner": "x"}, ("NOT_FOUND", "product")),
        (UPDATE, {"product": {}, "owner": "x"}, ("BAD_INPUT", "product")),
        (UPDATE, {"product": {"name": "orders", "uid": UID}, "owner": "x"}, ("BAD_INPUT", "product")),
        (DELETE, {"product": {"name": "none"}}, ("NOT_FOUND", "product")),
        (DELETE, {"product": {"uid": UID}}, ("NOT_FOUND", "product")),
        (DELETE, {"product": {"name": "orders"}, "at": iso(day(-1))}, ("NOT_FOUND", "product")),
        (RESTORE, {"product": {"name": "none"}}, ("NOT_FOUND", "product")),
        (UPDATE_ENTITY, {"entity": {"key": NOBODY["entity"]}, "displayName": "x"}, ("NOT_FOUND", "entity")),
        (UPDATE_ENTITY, {"entity": {"key": {"type": "PERSON", "key": "1\0"}}, "displayName": "x"}, ("NOT_FOUND", "entity")),
        (DELETE_ENTITY, {"entity": {"key": NOBODY["entity"]}}, ("NOT_FOUND", "entity")),
        (RESTORE_ENTITY, {"entity": {"key": NOBODY["entity"]}}, ("NOT_FOUND", "entity")),
        (REMOVE_LINEAGE, {"link": {"uid": UID}}, ("NOT_FOUND", "link")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": {"uid": UID}, "target": SALES}}}, ("NOT_FOUND", "link.ends.source")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": ORDERS, "target": {"product": "x"}}}}, ("NOT_FOUND", "link.ends.target")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": SALES, "target": ORDERS}}}, ("NOT_FOUND", "link")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": ORDERS, "target": SALES, "producer": "x"}}}, ("NOT_FOUND", "link")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": {**ORDERS, "uid": UID}, "target": SALES}}}, ("BAD_INPUT", "source")),
        (UNRELATE, {"relationship": {"uid": UID}}, ("NOT_FOUND", "relationship")),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "none", "origin": ORDERS, "related": {"entity": ANN}}}},
            ("BAD_INPUT", "relationship.ends.type"),
        ),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "steward", "origin": ORDERS, "related": NOBODY}}},
            ("NOT_FOUND", "relationship.ends.related"),
        ),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "steward", "origin": {"entity": ANN}, "related": {"entity": BO}}}},
            ("BAD_INPUT", "relationship.ends.origin"),
        ),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "steward", "origin": SALES, "related": {"entity": ANN}}}},
            ("NOT_FOUND", "relationship"),
        ),
    ],
)
async def test_a_reference_that_names_nothing_or_two_things_is_refused(
    shop: Api, mutation: str, content: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert (await shop(mutation, input=content)).code_and_field == fault


async def test_a_uid_of_another_kind_is_an_error_that_says_so(shop: Api) -> None:
    uids = (await shop("{ products { nodes { uid } } entities { nodes { uid } } }")).data
    product, entity = (uids[it]["nodes"][0]["uid"] for it in ("products", "entities"))
    for mutation, content, fault in (
        (DELETE, {"product": {"uid": entity}}, "product"),
        (UPDATE, {"product": {"uid": entity}, "owner": "x"}, "product"),
        (RESTORE, {"product": {"uid": entity}}, "product"),
        (DELETE_ENTITY, {"entity": {"uid": product}}, "entity"),
        (UPDATE_ENTITY, {"entity": {"uid": product}, "displayName": "x"}, "entity"),
    ):
        answer = await shop(mutation, input=content)
        assert answer.code_and_field == ("NOT_FOUND", fault)
        kind = "entity" if fault == "product" else "product"
        assert answer.error["message"].endswith(f"It is the uid of an asset of another kind ({kind}).")
    assert await names(shop) == ["orders", "sales"]
