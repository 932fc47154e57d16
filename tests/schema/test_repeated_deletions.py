"""Deletions that are repeated with their idempotency key after a purge of what they deleted."""

from typing import Any

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
