"""The fields that products and entities share as nodes of a graph, such as the type, the owner and the tags."""

from typing import Any

import pytest

from tests.builders import REGISTER_LINEAGE, Api, day, iso

NODE = "kind typeLabel label key description domain { name } owner url tags"
UPSTREAM = 'query ($asOf: DateTime) { product(name: "report", asOf: $asOf) { upstream(first: 1000) { nodes { %s } } } }'
DETAIL_TYPES = """
  mutation {
    about: putDetailType(input: { code: "about", label: "About", role: DESCRIPTION }) { detailType { code } }
    page: putDetailType(input: { code: "page", label: "Page", format: "uri", role: URL }) { detailType { code } }
    keeper: putDetailType(input: { code: "keeper", label: "Keeper", role: OWNER }) { detailType { code } }
    boss: putDetailType(input: { code: "boss", label: "Boss", role: OWNER }) { detailType { code } }
    themes: putDetailType(input: { code: "themes", label: "Themes", role: TAG }) { detailType { code } }
    level: putDetailType(input: { code: "level", label: "Level", role: TAG }) { detailType { code } }
    grade: putDetailType(input: { code: "grade", label: "Grade", role: TAG }) { detailType { code } }
  }
"""
RAW = {
    "about": "Raw orders",
    "page": "https://wiki.shop.example/raw",
    "keeper": "ann",
    "boss": "bob",
    "themes": "sales",
    "level": "gold",
    "grade": "gold",
}
NO_ROLES: dict[str, Any] = {"description": None, "owner": None, "url": None, "tags": []}


@pytest.fixture
async def api(shared_api: Api) -> Api:
    await shared_api.put_types()
    assert (await shared_api(DETAIL_TYPES)).data
    await shared_api.register("report", at=iso(day(0)))
    return shared_api


async def feed(api: Api, *keys: str, type_: str = "TABLE") -> None:
    """Let entities with these keys feed the report."""
    for key in keys:
        ends = {"source": {"entity": {"type": type_, "key": key}}, "target": {"product": "report"}}
        assert (await api(REGISTER_LINEAGE, input={**ends, "at": iso(day(0))})).data


async def upstream(api: Api, fields: str = NODE, **variables: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api(UPSTREAM % fields, **variables)).data["product"]["upstream"]["nodes"]
    return sorted(found, key=lambda it: str(it.get("label")))


async def test_products_and_entities_have_what_a_node_shows(api: Api) -> None:
    await api.register("orders", description="All orders", domain="sales", owner="eve", tags=["core"])
    await api.create("Ann", key="1")
    await api.create("raw", type="TABLE", key="t-1", details=RAW)
    await api.link("orders", "report")
    await feed(api, "t-1")
    await feed(api, "1", type_="PERSON")
    api.statements.clear()
    ann, orders, raw = await upstream(api)
    assert len(api.statements) == 1, "the product, the walk, and its assets with what their types give them"
    assert ann == {
        "kind": "ENTITY",
        "typeLabel": "Person",
        "label": "Ann",
        "key": "1",
        "domain": {"name": "people"},
        **NO_ROLES,
    }
    assert orders == {
        "kind": "PRODUCT",
        "typeLabel": "Product",
        "label": "orders",
        "key": "orders",
        "description": "All orders",
        "domain": {"name": "sales"},
        "owner": "eve",
        "url": None,
        "tags": ["core"],
    }
    assert raw == {
        "kind": "ENTITY",
        "typeLabel": "Table",
        "label": "raw",
        "key": "t-1",
        "description": "Raw orders",
        "domain": None,
        # of two owners that of the first type in order; tags of both types, each once
        "owner": "bob",
        "url": "https://wiki.shop.example/raw",
        "tags": ["gold", "sales"],
    }


async def test_a_long_page_takes_as_many_statements_as_a_short_one(api: Api) -> None:
    numbers = []
    for count in (1, 25):
        for number in range(count):
            key = f"{count}-{number}"
            await api.create(key, key=key, type="TABLE" if number % 2 else "PERSON", details={"about": key})
            await feed(api, key, type_="TABLE" if number % 2 else "PERSON")
        api.statements.clear()
        assert len(await upstream(api)) == (1 if count == 1 else 26)
        numbers.append(len(api.statements))
    assert numbers == [1, 1]


async def test_details_are_those_of_the_instant_and_roles_those_of_now(api: Api) -> None:
    raw = await api.create("raw", type="TABLE", key="t-1", details={"about": "Before", "note": "Other"})
    await feed(api, "t-1")
    await api.change(raw["uid"], details={"about": "After"}, at=day(5))
    fields = "description label"
    assert [it["description"] for it in await upstream(api, fields, asOf=iso(day(4)))] == ["Before"]
    assert [it["description"] for it in await upstream(api, fields)] == ["After"]
    history = "query ($uid: UUID!) { entity(ref: { uid: $uid }) { history { nodes { asset { typeLabel description tags } } } } }"
    versions = (await api(history, uid=raw["uid"])).data["entity"]["history"]["nodes"]
    assert [it["asset"] for it in versions] == [
        {"typeLabel": "Table", "description": it, "tags": []} for it in ("Before", "After")
    ]
    swap = """mutation {
      about: putDetailType(input: { code: "about", label: "About" }) { detailType { role } }
      note: putDetailType(input: { code: "note", label: "Note", role: DESCRIPTION }) { detailType { role } }
    }"""
    assert (await api(swap)).data
    for instant in (iso(day(4)), None):
        assert [it["description"] for it in await upstream(api, fields, asOf=instant)] == ["Other"]


async def test_a_mutation_returns_what_a_node_shows(api: Api) -> None:
    create = f"mutation ($input: CreateEntityInput!) {{ createEntity(input: $input) {{ entity {{ {NODE} }} }} }}"
    details = [{"type": "keeper", "value": "ann"}]
    created = (await api(create, input={"type": "PERSON", "displayName": "Ann", "details": details})).data["createEntity"]
    assert created["entity"]["owner"] == "ann"
    assert created["entity"]["domain"] == {"name": "people"}
