"""Filters of lists of assets: many by uid, name or key, and by the instants of creation and change, at any instant."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from schema.language.limits import Limits
from tests.builders import Api, day, iso

pytestmark = pytest.mark.api

PRODUCTS = """
  query ($filter: ProductFilter, $search: String, $first: Int, $after: String, $asOf: DateTime) {
    products(filter: $filter, search: $search, first: $first, after: $after, asOf: $asOf) {
      totalCount nodes { label } pageInfo { endCursor hasNextPage }
    }
  }
"""
ENTITIES = PRODUCTS.replace("ProductFilter", "EntityFilter").replace("products(", "entities(")
MOST = Limits().page_size


@pytest.fixture
async def typed(api: Api) -> Api:
    await api.put_types()
    return api


async def labels(api: Api, query: str, filter_: dict[str, Any], **arguments: Any) -> list[str]:
    found = (await api(query, filter=filter_, **arguments)).data
    (page,) = found.values()
    assert page["totalCount"] == len(page["nodes"])
    return [it["label"] for it in page["nodes"]]


async def test_products_by_many_uids_and_names(api: Api) -> None:
    uids = {name: (await api.register(name))["uid"] for name in ("orders", "stock", "events")}
    await api.update("stock", name="inventory", at=day(10))
    some = [uids["stock"], str(uuid4()), uids["orders"], uids["orders"]]
    assert await labels(api, PRODUCTS, {"uids": some}) == ["inventory", "orders"]
    assert await labels(api, PRODUCTS, {"uids": some}, asOf=iso(day(5))) == ["orders", "stock"]
    assert await labels(api, PRODUCTS, {"uids": some, "owners": ["nobody"]}) == []
    assert await labels(api, PRODUCTS, {"uids": []}) == []
    assert await labels(api, PRODUCTS, {"uids": None}) == ["events", "inventory", "orders"]
    named = ["stock", "orders", "none", "orders"]
    assert await labels(api, PRODUCTS, {"names": named}) == ["orders"]
    assert await labels(api, PRODUCTS, {"names": named}, asOf=iso(day(5))) == ["orders", "stock"]
    assert await labels(api, PRODUCTS, {"names": named}, search="ord") == ["orders"]
    assert await labels(api, PRODUCTS, {"names": named, "uids": [uids["events"]]}) == []


async def test_entities_by_many_uids_and_keys(typed: Api) -> None:
    uid = str(UUID(int=7))
    ann = (await typed.create("Ann", key="1", alternateKeys=[uid]))["uid"]
    bob = (await typed.create("Bob", key="2"))["uid"]
    await typed.create("orders", type="TABLE", key="1")
    await typed.create("nameless")
    await typed.change(bob, key="3", at=day(10))
    some = {"keys": [{"type": "PERSON", "key": key} for key in ("1", uid.replace("-", "").upper(), "2", "none")]}
    assert await labels(typed, ENTITIES, some) == ["Ann"]
    assert await labels(typed, ENTITIES, some, asOf=iso(day(5))) == ["Ann", "Bob"]
    assert await labels(typed, ENTITIES, {"keys": [{"type": it, "key": "1"} for it in ("TABLE", "PERSON")]}) == ["Ann", "orders"]
    assert await labels(typed, ENTITIES, {**some, "types": ["TABLE"]}) == []
    assert await labels(typed, ENTITIES, {"keys": []}) == []
    assert await labels(typed, ENTITIES, {"uids": [bob, ann, str(uuid4())]}) == ["Ann", "Bob"]
    assert await labels(typed, ENTITIES, {"uids": [bob, ann], **some}) == ["Ann"]
    of_domain = 'query ($filter: EntityFilter) { domain(name: "people") { entities(filter: $filter) { nodes { label } } } }'
    for filter_ in (some, {"uids": [ann, bob], "updatedBefore": iso(day(10))}):
        assert (await typed(of_domain, filter=filter_)).data["domain"]["entities"]["nodes"] == [{"label": "Ann"}]


async def test_assets_by_the_instants_of_creation_and_change(typed: Api) -> None:
    entities = [(await typed.create(f"e{number}", at=iso(day(number))))["uid"] for number in range(3)]
    for number in range(3):
        await typed.register(f"p{number}", at=iso(day(number)))
    await typed.update("p0", owner="bob", at=day(10))
    await typed.change(entities[0], details={"note": "x"}, at=day(10))
    for query, letter in ((PRODUCTS, "p"), (ENTITIES, "e")):
        for filter_, as_of, expected in (
            ({"updatedSince": iso(day(2))}, None, "02"),
            ({"updatedSince": iso(day(2))}, day(5), "2"),
            ({"updatedSince": iso(day(1)), "updatedBefore": iso(day(2))}, None, "1"),
            ({"updatedBefore": iso(day(10))}, None, "12"),
            ({"updatedBefore": iso(day(10))}, day(5), "012"),
            ({"createdSince": iso(day(1))}, None, "12"),
            ({"createdSince": iso(day(1)), "updatedSince": iso(day(2))}, None, "2"),
            ({"updatedSince": None, "createdSince": iso(day(11))}, None, ""),
        ):
            found = await labels(typed, query, filter_, asOf=None if as_of is None else iso(as_of))
            assert found == [letter + it for it in expected], filter_


async def test_a_cursor_belongs_to_its_filter(api: Api) -> None:
    uids = [(await api.register(name))["uid"] for name in "abc"]
    for one, other in (
        ({"uids": uids}, {"uids": uids[:2]}),
        ({"names": ["a", "b"]}, {"names": ["a", "c"]}),
        ({"createdSince": iso(day(-1))}, {"createdSince": iso(day(-2))}),
        ({"updatedSince": iso(day(-1))}, {"createdSince": iso(day(-1))}),
        ({"uids": uids}, {}),
    ):
        page = (await api(PRODUCTS, filter=one, first=1)).data["products"]
        assert page["pageInfo"]["hasNextPage"]
        cursor = page["pageInfo"]["endCursor"]
        assert (await api(PRODUCTS, filter=one, first=1, after=cursor)).data["products"]["nodes"] == [{"label": "b"}]
        assert (await api(PRODUCTS, filter=other, first=1, after=cursor)).code_and_field == ("BAD_INPUT", "after")


@pytest.mark.parametrize(
    ("query", "filter_", "field"),
    [
        (PRODUCTS, {"uids": [str(UUID(int=0))] * (MOST + 1)}, "uids"),
        (PRODUCTS, {"names": ["a"] * (MOST + 1)}, "names"),
        (PRODUCTS, {"names": ["a\0b"]}, "names"),
        (PRODUCTS, {"updatedSince": iso(day(1)), "updatedBefore": iso(day(1))}, "updatedBefore"),
        (ENTITIES, {"uids": [str(UUID(int=0))] * (MOST + 1)}, "uids"),
        (ENTITIES, {"keys": [{"type": "PERSON", "key": "1"}] * (MOST + 1)}, "keys"),
        (ENTITIES, {"keys": [{"type": "PERSON", "key": "a\0b"}]}, "keys.key"),
        (ENTITIES, {"keys": [{"type": "a\0b", "key": "1"}]}, "keys.type"),
        (ENTITIES, {"details": [{"type": "email", "equals": "a\0b"}]}, "details.equals"),
        (ENTITIES, {"details": [{"type": "email", "in": ["a", "a\0b"]}]}, "details.in"),
        *((PRODUCTS, {name: ["a\0b"]}, name) for name in ("domains", "owners", "tags")),
        (ENTITIES, {"keys": [{"type": "PERSN", "key": "1"}]}, "keys.type"),
        (ENTITIES, {"updatedSince": iso(day(2)), "updatedBefore": iso(day(1))}, "updatedBefore"),
    ],
)
async def test_a_bad_filter_names_the_field_at_fault(typed: Api, query: str, filter_: dict[str, Any], field: str) -> None:
    refused = await typed(query, filter=filter_)
    are_too_many = len(next(iter(filter_.values()))) > MOST
    assert refused.code_and_field == ("LIMIT_EXCEEDED" if are_too_many else "BAD_INPUT", field)
    if are_too_many:
        assert refused.error["message"] == f"{field} has {MOST + 1} entries. At most {MOST} are allowed."


async def test_a_list_of_many_assets_costs_one_statement(typed: Api) -> None:
    uids = [(await typed.create(f"e{number:02}", key=str(number)))["uid"] for number in range(30)]
    names = [(await typed.register(f"p{number:02}"))["name"] for number in range(30)]
    for number in (1, 30):
        typed.statements.clear()
        query = "query ($filter: EntityFilter) { entities(filter: $filter) { nodes { uid } } }"
        found = (await typed(query, filter={"uids": uids[:number]})).data["entities"]["nodes"]
        assert ([it["uid"] for it in found], len(typed.statements)) == (uids[:number], 1)
        typed.statements.clear()
        keys = [{"type": "PERSON", "key": str(it)} for it in range(number)]
        assert len((await typed(query, filter={"keys": keys})).data["entities"]["nodes"]) == number
        # that of the types, and the page
        assert len(typed.statements) == 2
        typed.statements.clear()
        query = "query ($filter: ProductFilter) { products(filter: $filter) { nodes { name } } }"
        found = (await typed(query, filter={"names": names[:number]})).data["products"]["nodes"]
        assert ([it["name"] for it in found], len(typed.statements)) == (names[:number], 1)
