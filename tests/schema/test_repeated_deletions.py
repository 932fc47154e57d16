"""Deletions that are repeated: after a purge of what they deleted, and after another asset has its name."""

from typing import Any
from uuid import uuid4

import pytest

from tests.builders import DELETE, DELETE_ENTITY, REMOVE_LINEAGE, UNRELATE, Api, day, iso
from tests.graph_api.commands.test_purge import purge_all

pytestmark = pytest.mark.api

ORDERS: dict[str, Any] = {"product": "orders"}
ANN: dict[str, Any] = {"entity": {"type": "PERSON", "key": "1"}}


async def test_a_deletion_by_name_or_ends_has_its_first_answer_after_a_purge(own_api: Api, address: str) -> None:
    await own_api.put_types()
    await own_api.register("orders")
    await own_api.register("sales")
    await own_api.create("Ann", key="1")
    await own_api.put_relationship_type(cardinality="MANY_TO_MANY")
    await own_api.relate("steward", ORDERS, ANN, at=day(1))
    await own_api.link("orders", "sales", at=day(1))
    deletions: list[tuple[str, dict[str, Any]]] = [
        (REMOVE_LINEAGE, {"link": {"ends": {"source": ORDERS, "target": {"product": "sales"}}}}),
        (UNRELATE, {"relationship": {"ends": {"type": "steward", "origin": ORDERS, "related": ANN}}}),
        (DELETE, {"product": {"name": "orders"}}),
        (DELETE_ENTITY, {"entity": {"key": ANN["entity"]}}),
    ]
    requests = [
        (mutation, {**content, "at": iso(day(2)), "idempotencyKey": f"deletion {number}"})
        for number, (mutation, content) in enumerate(deletions)
    ]
    answers = [(await own_api(mutation, input=content)).data for mutation, content in requests]
    assert all(payload["changed"] for answer in answers for payload in answer.values())
    await purge_all(address)
    left = (await own_api("query ($asOf: DateTime) { products(asOf: $asOf) { nodes { name } } }", asOf=iso(day(1)))).data
    assert left["products"]["nodes"] == [{"name": "sales"}]
    assert [(await own_api(mutation, input=content)).data for mutation, content in requests] == answers


async def test_a_repeated_deletion_by_name_leaves_the_next_asset_with_the_name_alone(api: Api) -> None:
    """The next one has its name or key from the instant of the deletion on."""
    await api.put_types()
    await api.register("orders", at=iso(day(0)))
    await api.create("Ann", key="1")
    deletions: list[tuple[str, dict[str, Any]]] = [
        (DELETE, {"product": {"name": "orders"}, "at": iso(day(5))}),
        (DELETE_ENTITY, {"entity": {"key": ANN["entity"]}, "at": iso(day(5))}),
    ]
    firsts = [(await api(mutation, input=content)).data for mutation, content in deletions]
    await api.register("orders", at=iso(day(5)))
    await api.create("Bo", uid=str(uuid4()), key="1", at=iso(day(5)))
    assert [(await api(mutation, input=content)).data for mutation, content in deletions] == firsts, "the first answers again"
    alive = "{ products { nodes { name } } entities { nodes { displayName } } }"
    assert (await api(alive)).data == {
        "products": {"nodes": [{"name": "orders"}]},
        "entities": {"nodes": [{"displayName": "Bo"}]},
    }


async def test_an_asset_may_be_deleted_by_the_name_that_it_has_from_that_instant_on(api: Api) -> None:
    await api.register("orders", at=iso(day(5)))
    answer = await api(DELETE, input={"product": {"name": "orders"}, "at": iso(day(5))})
    assert answer.data["deleteProduct"]["changed"]


async def test_a_repeated_removal_by_ends_leaves_the_next_link_alone(api: Api) -> None:
    await api.put_types()
    await api.put_relationship_type()
    await api.create("Ann", key="1")
    for at in (0, 5):
        await api.register("orders", at=iso(day(at)))
        if not at:
            await api.register("sales", at=iso(day(0)))
        await api.link("orders", "sales", at=day(at))
        assert (await api.relate("steward", ORDERS, ANN, at=day(at))).data
        if not at:
            assert (await api(DELETE, input={"product": {"name": "orders"}, "at": iso(day(5))})).data
    ends = {"source": ORDERS, "target": {"product": "sales"}}
    related = {"type": "steward", "origin": ORDERS, "related": ANN}
    assert (await api(REMOVE_LINEAGE, input={"link": {"ends": ends}, "at": iso(day(5))})).data
    assert (await api(UNRELATE, input={"relationship": {"ends": related}, "at": iso(day(5))})).data
    left = (await api("{ lineageLinks { totalCount } relationships { totalCount } }")).data
    assert left == {"lineageLinks": {"totalCount": 1}, "relationships": {"totalCount": 1}}
