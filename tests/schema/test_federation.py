"""Entities for a gateway: by any key, at the instant in the id, each on its own."""

from typing import Any
from uuid import uuid4

from schema.root import schema
from tests.builders import Api, day, written

ENTITIES = "query ($them: [_Any!]!) { _entities(representations: $them) { ... on Product { id name } } }"


def product(**keys: Any) -> dict[str, Any]:
    return {"__typename": "Product", **keys}


async def test_the_service_tells_its_schema(api: Api) -> None:
    assert (await api("{ _service { sdl } }")).data["_service"]["sdl"] == schema.as_str()


async def test_the_instant_travels_inside_the_id_and_other_keys_mean_now(api: Api) -> None:
    uid = (await api.register())["uid"]
    await api.update("orders", name="purchases", at=day(10))
    then, now = f"Product:{uid}@{written(day(5))}", f"Product:{uid}"
    answer = await api(
        ENTITIES, them=[product(id=then), product(id=now), product(uid=uid), product(name="purchases"), product(name="orders")]
    )
    assert answer.data["_entities"] == [
        {"id": then, "name": "orders"},
        {"id": now, "name": "purchases"},
        {"id": now, "name": "purchases"},
        {"id": now, "name": "purchases"},
        None,
    ]


async def test_representations_alike_in_kind_cost_one_statement(api: Api) -> None:
    uids = [(await api.register(name))["uid"] for name in ("a", "b", "c")]
    api.statements.clear()
    found = (await api(ENTITIES, them=[product(id=f"Product:{uid}") for uid in uids])).data["_entities"]
    assert [it["name"] for it in found] == ["a", "b", "c"]
    assert len(api.statements) == 1


async def test_more_representations_than_fit_on_a_page_are_refused_at_once(api: Api) -> None:
    answer = await api(ENTITIES, them=[1] * 101)
    assert answer.fault == ("LIMIT_EXCEEDED", "representations")
    assert len((await api(ENTITIES, them=[1] * 100)).errors) == 100


async def test_a_bad_representation_fails_alone(api: Api) -> None:
    uid = (await api.register())["uid"]
    bad: list[Any] = [
        {"__typename": "Nothing", "id": "x"},
        product(id="rubbish"),
        product(),
        product(uid=5),
        {},
        product(name={"a": 1}),
    ]
    answer = await api(ENTITIES, them=[*bad, product(uid=uid), product(uid=str(uuid4())), product(uid=uid, info="x", cls="y")])
    assert answer.body["data"]["_entities"][len(bad) :] == [
        {"id": f"Product:{uid}", "name": "orders"},
        None,
        {"id": f"Product:{uid}", "name": "orders"},
    ]
    assert sorted(it["path"] for it in answer.errors) == [["_entities", number] for number in range(len(bad))]
    assert {it["extensions"]["code"] for it in answer.errors} == {"BAD_INPUT"}
