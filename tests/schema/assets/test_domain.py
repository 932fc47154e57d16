"""Domains through the API: which there are at an instant, and what each holds."""

from typing import Any

import asyncpg
import pytest

from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import DELETE, DELETE_ENTITY, Api, day, iso

NAMES = "query ($asOf: DateTime) { domains(asOf: $asOf) { nodes { name } } }"
DOMAIN = """
  query ($name: String!, $asOf: DateTime) {
    domain(name: $name, asOf: $asOf) {
      name owners
      products { totalCount nodes { id name asOf } }
      entities { totalCount nodes { id displayName } }
    }
  }
"""
PRODUCTS = """
  query ($name: String!, $status: ProductStatus, $first: Int, $after: String, $last: Int, $before: String, $asOf: DateTime) {
    domain(name: $name, asOf: $asOf) {
      products(status: $status, first: $first, after: $after, last: $last, before: $before) {
        nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount
      }
    }
  }
"""


async def names(api: Api, as_of: float | None = None) -> list[str]:
    response = await api(NAMES, asOf=None if as_of is None else iso(day(as_of)))
    return [it["name"] for it in response.data["domains"]["nodes"]]


async def products(api: Api, **arguments: Any) -> Any:
    return (await api(PRODUCTS, **{"name": "sales", **arguments})).data["domain"]["products"]


async def test_a_domain_exists_while_a_product_belongs_to_it(api: Api) -> None:
    one = await api.register("orders", domain="sales")
    await api.register("parcels", domain="logistics", at=iso(day(5)))
    await api.update("orders", domain="finance", at=day(10))
    await api(DELETE, input={"product": {"uid": one["uid"]}, "at": iso(day(20))})
    for instant, there in (
        (-1, []),
        (0, ["sales"]),
        (5, ["logistics", "sales"]),
        (10, ["finance", "logistics"]),
        (20, ["logistics"]),
        (None, ["logistics"]),
    ):
        assert await names(api, instant) == there
    assert (await api(DOMAIN, name="sales")).data["domain"] is None
    assert (await api(DOMAIN, name="sales", asOf=iso(day(9)))).data["domain"]["owners"] == ["ann"]
    assert (await api(DOMAIN, name="nothing")).data["domain"] is None


async def test_a_domain_of_an_entity_type_always_exists(api: Api) -> None:
    await api.put_types()
    assert await names(api) == await names(api, -1000) == ["people"]
    assert (await api(DOMAIN, name="people")).data["domain"] == {
        "name": "people",
        "owners": [],
        "products": {"totalCount": 0, "nodes": []},
        "entities": {"totalCount": 0, "nodes": []},
    }


async def test_the_members_of_a_domain_are_read_at_its_instant(api: Api) -> None:
    await api.put_types()
    await api.register("orders", domain="people", owner="zoe")
    await api.register("returns", domain="people", owner="ann")
    ann = await api.create("Ann")
    table = await api.create("orders", type="TABLE")
    await api.update("orders", name="purchases", owner="bob", at=day(10))
    await api.change(ann["uid"], displayName="Anna", at=day(10))
    then = (await api(DOMAIN, name="people", asOf=iso(day(5)))).data["domain"]
    assert then["owners"] == ["ann", "zoe"]
    assert [it["name"] for it in then["products"]["nodes"]] == ["orders", "returns"]
    assert all(it["id"].endswith(f"@{iso(day(5))}") for it in then["products"]["nodes"] + then["entities"]["nodes"])
    assert {it["asOf"] for it in then["products"]["nodes"]} == {iso(day(5))}
    assert [it["displayName"] for it in then["entities"]["nodes"]] == ["Ann"]
    now = (await api(DOMAIN, name="people")).data["domain"]
    assert now["owners"] == ["ann", "bob"]
    assert [it["name"] for it in now["products"]["nodes"]] == ["purchases", "returns"]
    assert now["entities"] == {"totalCount": 1, "nodes": [{"id": f"Entity:{ann['uid']}", "displayName": "Anna"}]}
    await api(DELETE_ENTITY, input={"entity": {"uid": ann["uid"]}, "at": iso(day(20))})
    assert (await api(DOMAIN, name="people")).data["domain"]["entities"]["totalCount"] == 0
    assert table["uid"] not in str(now), "the entity type of a table has no domain"


async def test_the_domain_of_a_product_or_a_type_inherits_the_instant(api: Api) -> None:
    await api.put_types()
    await api.register("orders", domain="people", owner="ann")
    ann = await api.create("Ann")
    await api.update("orders", owner="bob", at=day(10))
    query = """
      query ($uid: UUID!, $asOf: DateTime) {
        product(name: "orders", asOf: $asOf) { domain { owners products { nodes { id owner } } } }
        entity(ref: { uid: $uid }, asOf: $asOf) { type { domain { owners entities { nodes { id } } } } }
      }
    """
    for as_of, owner, suffix in ((iso(day(5)), "ann", f"@{iso(day(5))}"), (None, "bob", "")):
        found = (await api(query, uid=ann["uid"], asOf=as_of)).data
        orders = found["product"]["domain"]["products"]["nodes"][0]
        assert found["product"]["domain"]["owners"] == found["entity"]["type"]["domain"]["owners"] == [owner] == [orders["owner"]]
        assert orders["id"].partition("@")[1:] == suffix.partition("@")[1:]
        assert found["entity"]["type"]["domain"]["entities"]["nodes"] == [{"id": f"Entity:{ann['uid']}{suffix}"}]
    versions = (
        await api('{ product(name: "orders") { history { nodes { asset { ... on Product { domain { owners } } } } } } }')
    ).data
    assert [it["asset"]["domain"]["owners"] for it in versions["product"]["history"]["nodes"]] == [["ann"], ["bob"]]


async def test_a_mutation_returns_the_domain_at_its_instant(api: Api) -> None:
    await api.register("orders", owner="ann")
    answer = await api(
        """mutation {
          updateProduct(input: { product: { name: "orders" }, owner: "bob" }) {
            product { domain { owners products { totalCount } } }
          }
        }"""
    )
    assert answer.data["updateProduct"]["product"]["domain"] == {"owners": ["bob"], "products": {"totalCount": 1}}


async def test_products_of_a_domain_come_in_pages_both_ways_and_by_status(api: Api) -> None:
    for name in "fbdace":
        await api.register(name, status="DEPRECATED" if name in "bd" else "ACTIVE")
    await api.register("elsewhere", domain="finance")
    assert [it["name"] for it in (await products(api, status="DEPRECATED"))["nodes"]] == ["b", "d"]
    for forward in (True, False):
        found: list[str] = []
        cursor = None
        while True:
            page = await products(api, **({"first": 4, "after": cursor} if forward else {"last": 4, "before": cursor}))
            here = [it["name"] for it in page["nodes"]]
            found = found + here if forward else here + found
            assert page["totalCount"] == 6
            assert page["pageInfo"]["hasPreviousPage" if forward else "hasNextPage"] == (cursor is not None)
            cursor = page["pageInfo"]["endCursor" if forward else "startCursor"]
            if not page["pageInfo"]["hasNextPage" if forward else "hasPreviousPage"]:
                break
        assert found == list("abcdef")


async def test_entities_of_a_domain_take_the_filters_of_all_entities(api: Api) -> None:
    await api.put_types()
    await api.create("Ann", details={"height": "170"})
    await api.create("Bob", details={"height": "190"})
    query = """
      query ($filter: EntityFilter) {
        domain(name: "people") { entities(filter: $filter, last: 1) { totalCount nodes { displayName } } }
      }
    """
    for response, count, last in (
        ({}, 2, ["Bob"]),
        ({"details": [{"type": "height", "to": "180"}]}, 1, ["Ann"]),
        ({"types": ["TABLE"]}, 0, []),
        ({"domains": ["sales"]}, 0, []),
    ):
        found = (await api(query, filter=response)).data["domain"]["entities"]
        assert (found["totalCount"], [it["displayName"] for it in found["nodes"]]) == (count, last)
    assert (await api(query, filter={"details": [{"type": "height", "from": "tall"}]})).code_and_field == ("BAD_INPUT", "from")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"first": 0}, ("BAD_INPUT", "first")),
        ({"first": 1000}, ("LIMIT_EXCEEDED", "first")),
        ({"first": 1, "last": 1}, ("BAD_INPUT", "last")),
        ({"after": "rubbish"}, ("BAD_INPUT", "after")),
        ({"status": "GONE"}, ("BAD_INPUT", "status")),
        ({"asOf": "2026-01-01T00:00:00"}, ("BAD_INPUT", "asOf")),
        ({"name": "a\0b"}, ("BAD_INPUT", "name")),
    ],
)
async def test_bad_arguments_are_refused_with_their_field(
    api: Api, arguments: dict[str, Any], fault: tuple[str, str | None]
) -> None:
    await api.register()
    assert (await api(PRODUCTS, **{"name": "sales", **arguments})).code_and_field == fault


async def test_a_cursor_belongs_to_its_domain_status_and_instant(api: Api) -> None:
    for name in "abc":
        await api.register(name)
        await api.register(name * 2, domain="finance")
    cursor = (await products(api, first=1))["pageInfo"]["endCursor"]
    assert [it["name"] for it in (await products(api, after=cursor))["nodes"]] == ["b", "c"]
    for other in ({"name": "finance"}, {"status": "ACTIVE"}, {"asOf": iso(day(3))}):
        assert (await api(PRODUCTS, **{"name": "sales", "after": cursor, **other})).code_and_field == ("BAD_INPUT", "after")


async def test_the_number_of_statements_does_not_depend_on_the_number_of_domains(api: Api) -> None:
    await api.put_types()
    await api.create("Ann")
    of_all = """{ domains { nodes { owners products(first: 2) { totalCount nodes { name domain { owners } } }
      entities(first: 1) { totalCount nodes { type { domain { owners } } } } } } }"""
    of_products = "{ products(first: 100) { nodes { domain { owners products(first: 1) { nodes { name } } } } } }"
    counts = []
    for number in (1, 12):
        for it in range(number):
            await api.register(f"{number} {it}", domain=f"domain {it}", owner=f"owner {it}")
        for query in (of_all, of_products):
            api.statements.clear()
            assert (await api(query)).data
            counts.append(len(api.statements))
    assert counts == [7, 3, 7, 3], "domains, owners, two pages, two counts, the types of entities; products, owners, one page"


async def test_domains_at_many_instants_share_a_statement(api: Api) -> None:
    await api.register(owner="owner 0")
    for number in range(1, 6):
        await api.update("orders", owner=f"owner {number}", at=day(number))
    query = """{ product(name: "orders") { history { nodes { asset { ... on Product {
      domain { owners products(first: 1) { totalCount nodes { owner } } } } } } } } }"""
    api.statements.clear()
    versions = (await api(query)).data["product"]["history"]["nodes"]
    assert len(api.statements) == 5, "the product, its history, owners, pages, counts"
    for number, version in enumerate(versions):
        holds = version["asset"]["domain"]
        assert holds["owners"] == [f"owner {number}"] == [it["owner"] for it in holds["products"]["nodes"]]


async def test_each_tenant_has_separate_domains(own_api: Api, address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("INSERT INTO tenant (tenant_id, name) VALUES (7, 'other')")
    await owner.close()
    executor = Executor(schema, own_api.database)

    async def elsewhere(query: str) -> Any:
        return (await executor.execute(Request(query), Principal(7, "them", frozenset(Scope)), "request")).data

    await own_api.register("orders", domain="sales", owner="ours")
    await own_api.register("salaries", domain="people", owner="ours")
    assert await elsewhere("{ domains { nodes { name } } }") == {"domains": {"nodes": []}}
    await elsewhere(
        'mutation { registerProduct(input: { name: "orders", domain: "sales", owner: "theirs", schema: {} }) { changed } }'
    )
    everything = "{ domains { nodes { name owners products { totalCount nodes { owner } } } } }"
    assert await elsewhere(everything) == {
        "domains": {
            "nodes": [{"name": "sales", "owners": ["theirs"], "products": {"totalCount": 1, "nodes": [{"owner": "theirs"}]}}]
        }
    }
    assert [it["owners"] for it in (await own_api(everything)).data["domains"]["nodes"]] == [["ours"], ["ours"]]


NODE = "query ($id: ID!) { node(id: $id) { __typename id ... on Domain { name products(first: 9) { nodes { id } } } } }"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("sales", "sales"),
        ("people & ops", "people%20%26%20ops"),
        ("a@2026-01-01T00:00:00Z", "a%402026-01-01T00%3A00%3A00Z"),
        ("100%/é:_.-~", "100%25%2F%C3%A9%3A_.-~"),
        ("🦆", "%F0%9F%A6%86"),
        ("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101", "2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101"),
    ],
)
async def test_the_id_of_a_domain_contains_its_name_and_the_instant(api: Api, name: str, encoded: str) -> None:
    product_id = f"Product:{(await api.register('orders', domain=name))['uid']}"
    await api.update("orders", domain="other", at=day(10))
    then = iso(day(5))
    past, current = f"Domain:{encoded}@{then}", f"Domain:{encoded}"
    everywhere = """
      query ($name: String!, $asOf: DateTime!) {
        domain(name: $name, asOf: $asOf) { id }
        domains(asOf: $asOf) { nodes { id } }
        product(name: "orders", asOf: $asOf) { domain { id } }
        changes(from: "2026-01-01", to: "2026-01-02") { nodes { asset { ... on Product { domain { id } } } } }
      }
    """
    data = (await api(everywhere, name=name, asOf=then)).data
    (change,) = data["changes"]["nodes"]
    assert [data["domain"], *data["domains"]["nodes"], data["product"]["domain"]] == [{"id": past}] * 3
    assert change["asset"]["domain"] == {"id": f"Domain:{encoded}@{iso(day(0))}"}
    found = {"__typename": "Domain", "id": past, "name": name, "products": {"nodes": [{"id": f"{product_id}@{then}"}]}}
    assert (await api(NODE, id=past)).data["node"] == found
    assert (await api(NODE, id=current)).data["node"] is None
    nodes = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    api.statements.clear()
    found = (await api(nodes, ids=[past, "Domain:other", current, f"Domain:nobody@{then}", "Domain:other"])).data["nodes"]
    assert found == [{"id": past}, {"id": "Domain:other"}, None, None, {"id": "Domain:other"}]
    # one for each instant
    assert len(api.statements) == 2


@pytest.mark.parametrize(
    "key", ["", "a b", "a%2", "%61", "%c3%a9", "%FF", "a%00", "a/b", "é", "a@", "a@2026-01-01", "@", "a%ED%A0%80"]
)
async def test_an_invalid_id_of_a_domain_is_refused(api: Api, key: str) -> None:
    assert (await api(NODE, id=f"Domain:{key}")).code_and_field == ("BAD_INPUT", "id")
