"""Products through the API: writes, reads at any instant, listed, searched."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.builders import DELETE, REGISTER, RESTORE, UPDATE, Api, day, iso, product_fields

MICROSECOND = timedelta(microseconds=1)
OWNER_THEN = "query ($name: String!, $asOf: DateTime) { product(name: $name, asOf: $asOf) { id owner asOf validFrom validTo } }"
NAMES = """
  query ($search: String, $filter: ProductFilter, $orderBy: ProductOrder, $first: Int, $after: String, $last: Int,
    $before: String, $asOf: DateTime) {
    products(search: $search, filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before,
      asOf: $asOf) { nodes { name } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount }
  }
"""


async def owner_at(api: Api, instant: datetime | None, name: str = "orders") -> str | None:
    found = (await api(OWNER_THEN, name=name, asOf=iso(instant) if instant else None)).data["product"]
    return found["owner"] if found else None


async def names(api: Api, **arguments: Any) -> list[str]:
    arguments.setdefault("orderBy", {"field": "NAME"})
    return [it["name"] for it in (await api(NAMES, **arguments)).data["products"]["nodes"]]


async def test_every_instant_is_correct_after_updates_in_and_out_of_order(api: Api) -> None:
    await api.register(owner="ann")
    for number, owner in ((10, "bob"), (30, "dan"), (20, "carl")):
        assert (await api.update("orders", owner=owner, at=day(number))).data["updateProduct"]["changed"]
    for number, before, then in ((0, None, "ann"), (10, "ann", "bob"), (20, "bob", "carl"), (30, "carl", "dan")):
        assert await owner_at(api, day(number) - MICROSECOND) == before
        assert await owner_at(api, day(number)) == then
        assert await owner_at(api, day(number) + MICROSECOND) == then
    assert await owner_at(api, None) == "dan"


async def test_an_instant_may_be_given_in_any_offset(api: Api) -> None:
    await api.register(at="2025-10-26T02:30:00+02:00")
    await api.update("orders", owner="bob", at=datetime.fromisoformat("2025-10-26T02:30:00+01:00"))
    for instant, owner in (
        ("2025-10-26T00:30:00Z", "ann"),
        ("2025-10-26T02:59:59.999999+02:00", "ann"),
        ("2025-10-25T20:30:00-05:00", "bob"),
        ("2025-10-26T01:30:00Z", "bob"),
        ("2025-10-26", None),
    ):
        found = (await api(OWNER_THEN, name="orders", asOf=instant)).data["product"]
        assert (found["owner"] if found else None) == owner


async def test_nested_fields_inherit_the_instant(api: Api) -> None:
    product = await api.register()
    await api.update("orders", owner="bob", at=day(10))
    answer = await api(
        """query ($at: DateTime) { product(name: "orders", asOf: $at) {
          id asOf owner validTo history(last: 1) { nodes { validFrom asset { id ... on Product { owner } } } }
        } }""",
        at=iso(day(5)),
    )
    assert answer.data["product"] == {
        "id": f"Product:{product['uid']}@{iso(day(5))}",
        "asOf": iso(day(5)),
        "owner": "ann",
        "validTo": iso(day(10)),
        # the history is complete, whatever the instant of the read
        "history": {
            "nodes": [{"validFrom": iso(day(10)), "asset": {"id": f"Product:{product['uid']}@{iso(day(10))}", "owner": "bob"}}]
        },
    }


async def test_an_id_returns_the_same_snapshot(api: Api) -> None:
    product = await api.register()
    await api.update("orders", name="purchases", at=day(10))
    node = (
        "query ($id: ID!) { node(id: $id) { id __typename ... on Product { name } ... on AssetVersion { changed { field } } } }"
    )
    then = f"Product:{product['uid']}@{iso(day(5))}"
    assert (await api(node, id=then)).data["node"] == {"id": then, "__typename": "Product", "name": "orders"}
    now = product["id"]
    assert now == f"Product:{product['uid']}@{iso(day(0))}", "the id of a payload carries the instant of the write"
    plain = f"Product:{product['uid']}"
    assert (await api(node, id=plain)).data["node"]["name"] == "purchases"
    version = f"AssetVersion:{product['uid']}@{iso(day(10))}"
    assert (await api(node, id=version)).data["node"] == {
        "id": version,
        "__typename": "AssetVersion",
        "changed": [{"field": "name"}],
    }
    for nothing in (
        f"Product:{uuid4()}",
        f"Product:{product['uid']}@{iso(day(-5))}",
        f"Nothing:{product['uid']}",
        f"AssetVersion:{uuid4()}",
    ):
        assert (await api(node, id=nothing)).data["node"] is None


async def test_nodes_keep_their_order_and_a_bad_id_fails_alone(api: Api) -> None:
    one, two = await api.register("one"), await api.register("two")
    ids = [f"Product:{two['uid']}", "rubbish", f"Product:{uuid4()}", f"Product:{one['uid']}"]
    answer = await api("query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Product { name } } }", ids=ids)
    assert answer.body["data"]["nodes"] == [{"name": "two"}, None, None, {"name": "one"}]
    assert (answer.code_and_field, answer.error["path"]) == (("BAD_INPUT", "id"), ["nodes", 1])


async def test_a_rename_keeps_the_uid_and_the_history(api: Api) -> None:
    product = await api.register()
    renamed = (await api.update("orders", name="purchases", at=day(10))).data["updateProduct"]["product"]
    assert renamed["uid"] == product["uid"]
    answer = await api(
        """{
          old: product(name: "orders") { uid }
          new: product(name: "purchases") { history { totalCount nodes { changed { field before after } } } }
        }"""
    )
    assert answer.data["old"] is None
    assert answer.data["new"]["history"]["totalCount"] == 2
    assert answer.data["new"]["history"]["nodes"][1]["changed"] == [{"field": "name", "before": "orders", "after": "purchases"}]
    assert await owner_at(api, day(5)) == "ann"
    await api.register("orders", at=iso(day(10)))


async def test_a_name_is_unique_at_every_instant(api: Api) -> None:
    await api.register("orders")
    other = await api.register("invoices")
    assert (await api(REGISTER, input=product_fields("orders", at=iso(day(3))))).code_and_field == ("CONFLICT", "name")
    assert (await api.update("invoices", name="orders", at=day(3))).code_and_field == ("CONFLICT", "name")
    deleted = (await api('{ product(name: "orders") { uid } }')).data["product"]["uid"]
    await api(DELETE, input={"product": {"uid": deleted}, "at": iso(day(10))})
    assert (await api.update("invoices", name="orders", at=day(9))).code_and_field == ("CONFLICT", "name")
    assert (await api.update("invoices", name="orders", at=day(10))).data["updateProduct"]["product"]["uid"] == other["uid"]
    assert (await api(RESTORE, input={"product": {"uid": deleted}, "at": iso(day(20))})).code_and_field == ("CONFLICT", "name")


async def test_deleting_and_restoring_take_effect_at_their_instants(api: Api) -> None:
    product = await api.register(owner="bob")
    gone = {"product": {"uid": product["uid"]}, "at": iso(day(10))}
    assert (await api(DELETE, input=gone)).data["deleteProduct"] == {"uid": product["uid"], "changed": True}
    assert await owner_at(api, day(10)) is None
    assert await owner_at(api, day(10) - MICROSECOND) == "bob"
    again = await api(DELETE, input={"product": {"uid": product["uid"]}, "at": iso(day(11))})
    assert again.data["deleteProduct"]["changed"] is False
    assert (await api(RESTORE, input={"product": {"uid": product["uid"]}, "at": iso(day(20))})).data["restoreProduct"][
        "changed"
    ] is True
    assert await owner_at(api, day(15)) is None
    assert await owner_at(api, day(20)) == "bob"


async def test_an_update_keeps_omitted_fields_and_null_clears(api: Api) -> None:
    await api.register(description="all of them", tags=["core", "pii", "core"], version="1.2.3-rc.1+build.5")
    await api.update("orders", owner="bob")
    read = '{ product(name: "orders") { owner description tags version status } }'
    assert (await api(read)).data["product"] == {
        "owner": "bob",
        "description": "all of them",
        "tags": ["core", "pii"],
        "version": "1.2.3-rc.1+build.5",
        "status": "ACTIVE",
    }
    await api.update("orders", description=None, tags=None)
    assert (await api(read)).data["product"]["description"] is None
    assert (await api(read)).data["product"]["tags"] == []
    assert (await api.update("orders", owner=None)).code_and_field == ("BAD_INPUT", "owner")


async def test_an_identical_update_changes_nothing(api: Api) -> None:
    await api.register()
    answer = await api.update("orders", owner="ann")
    assert answer.data["updateProduct"]["changed"] is False
    assert answer.data["updateProduct"]["product"]["validFrom"] == iso(day(0))


async def test_a_repeated_request_returns_the_first_answer(api: Api) -> None:
    first = await api(REGISTER, input=product_fields(idempotencyKey="k1"))
    await api.update("orders", owner="bob")
    again = await api(REGISTER, input=product_fields(idempotencyKey="k1"))
    assert again.data == first.data
    assert (await api(REGISTER, input=product_fields(owner="eve", idempotencyKey="k1"))).code_and_field == (
        "CONFLICT",
        "idempotencyKey",
    )
    assert (await api(UPDATE, input={"product": {"name": "orders"}, "owner": "x", "idempotencyKey": "k1"})).code_and_field[
        0
    ] == "CONFLICT"
    assert (await api(REGISTER, input=product_fields("x", idempotencyKey=""))).code_and_field == ("BAD_INPUT", "idempotencyKey")


async def test_a_request_of_several_mutations_is_atomic(api: Api) -> None:
    both = """
      mutation ($a: RegisterProductInput!, $b: RegisterProductInput!) {
        a: registerProduct(input: $a) { changed }  b: registerProduct(input: $b) { changed }
      }
    """
    answer = await api(both, a=product_fields("one"), b=product_fields("one"))
    assert (answer.code_and_field, answer.error["path"], answer.body["data"]) == (("CONFLICT", "name"), ["b"], None)
    assert await names(api) == []
    assert "errors" not in (await api(both, a=product_fields("one"), b=product_fields("two"))).body
    assert await names(api) == ["one", "two"]


async def test_a_request_whose_payload_fails_writes_nothing(api: Api) -> None:
    query = """
      mutation ($a: RegisterProductInput!, $b: RegisterProductInput!) {
        a: registerProduct(input: $a) { product { history(first: -1) { totalCount } } }  b: registerProduct(input: $b) { changed }
      }
    """
    answer = await api(query, a=product_fields("one"), b=product_fields("two"))
    assert (answer.code_and_field, answer.body["data"]) == (("BAD_INPUT", "first"), None)
    assert await names(api) == []


async def test_an_idempotency_key_is_stored_even_if_the_first_request_changed_nothing(api: Api) -> None:
    await api.register()
    await api.update("orders", owner="bob", at=day(5))
    keyed = {"product": {"name": "orders"}, "owner": "bob", "at": iso(day(5)), "idempotencyKey": "k"}
    first = await api(UPDATE, input=keyed)
    await api.update("orders", owner="carl", at=day(5))
    again = await api(UPDATE, input=keyed)
    assert first.data["updateProduct"]["changed"] is again.data["updateProduct"]["changed"] is True
    assert await owner_at(api, day(5)) == "carl"
    assert (await api(UPDATE, input={**keyed, "owner": "eve"})).code_and_field == ("CONFLICT", "idempotencyKey")


async def test_a_null_instant_equals_an_omitted_one_in_a_repeated_request(api: Api) -> None:
    first = await api(REGISTER, input=product_fields(idempotencyKey="k", at=None))
    assert (await api(REGISTER, input=product_fields(idempotencyKey="k"))).data == first.data


async def test_a_name_valid_from_slightly_ahead_of_the_clock_is_visible_within_the_request(api: Api) -> None:
    ahead = iso(datetime.now(UTC) + timedelta(seconds=4))
    product = await api.register("draft", at=ahead)
    answer = await api(
        """mutation ($uid: UUID!) {
          a: updateProduct(input: { product: { uid: $uid }, name: "final" }) { changed }
          b: updateProduct(input: { product: { name: "final" }, owner: "bob" }) { product { name owner } }
        }""",
        uid=product["uid"],
    )
    assert answer.data["b"]["product"] == {"name": "final", "owner": "bob"}


async def test_a_version_has_the_recorded_instant_of_its_change(api: Api) -> None:
    await api.register()
    await api.update("orders", owner="bob", at=day(5))
    read = '{ product(name: "orders") { history(last: 1) { nodes { recordedAt } } } }'
    recorded = (await api(read)).data
    assert (await api.update("orders", domain="sales", at=day(5))).data["updateProduct"]["changed"] is False
    assert (await api(read)).data == recorded


async def test_a_mutation_reads_what_it_wrote(api: Api) -> None:
    await api.register()
    answer = await api(
        """mutation {
          first: updateProduct(input: { product: { name: "orders" }, name: "purchases" })
            { product { name history { totalCount } } }
          second: updateProduct(input: { product: { name: "purchases" }, owner: "bob" }) { product { name owner asOf validFrom } }
        }"""
    )
    assert answer.data["first"]["product"] == {"name": "purchases", "history": {"totalCount": 2}}
    second = answer.data["second"]["product"]
    assert (second["name"], second["owner"]) == ("purchases", "bob")
    assert second["asOf"] == second["validFrom"]


async def test_search_matches_names_descriptions_and_tags_at_the_instant(api: Api) -> None:
    await api.register("orders", description="What was BOUGHT", tags=["core"])
    await api.register("invoices", description="100% of_it")
    await api.update("invoices", tags=["bought-elsewhere"], at=day(10))
    assert await names(api, search="bought") == ["invoices", "orders"]
    assert await names(api, search="bought", asOf=iso(day(5))) == ["orders"]
    assert await names(api, search="100%") == ["invoices"]
    assert await names(api, search="f_i") == ["invoices"]
    assert await names(api, search="fxi") == []
    assert (await api(NAMES, search=" ", orderBy={"field": "NAME"})).code_and_field == ("BAD_INPUT", "search")


async def test_filters_combine_and_an_empty_one_matches_nothing(api: Api) -> None:
    await api.register("orders", domain="sales", owner="ann", tags=["core", "raw"])
    await api.register("events", domain="web", owner="bob", tags=["raw"], status="DEPRECATED")
    await api.register("stock", domain="logistics", owner="ann", status="INACTIVE")
    for narrowed, expected in (
        ({"domains": ["sales", "web"]}, ["events", "orders"]),
        ({"statuses": ["DEPRECATED", "INACTIVE"]}, ["events", "stock"]),
        ({"owners": ["ann"]}, ["orders", "stock"]),
        ({"tags": ["core", "nothing"]}, ["orders"]),
        ({"tags": ["raw"], "owners": ["ann"]}, ["orders"]),
        ({"domains": []}, []),
        ({"domains": None}, ["events", "orders", "stock"]),
    ):
        assert await names(api, filter=narrowed) == expected


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("order", ["NAME", "UPDATED_AT", "CREATED_AT", "DOMAIN", "OWNER", "STATUS", "VERSION"])
async def test_pages_in_both_directions_return_every_product_once_in_order(api: Api, order: str, direction: str) -> None:
    # equal in the field of the order, apart from their names
    for number in range(7):
        await api.register(f"p{(number * 3) % 7}", at=iso(day(number // 3)))
    for number in (5, 2):
        await api.update(f"p{number}", owner="bob", at=day(10))
    by = {"field": order, "direction": direction}
    whole = await names(api, orderBy=by)
    assert len(whole) == 7
    if order == "NAME":
        assert whole == sorted(whole, reverse=direction == "DESC")
    for size in (1, 2, 3, 7):
        for forward in (True, False):
            assert await all_pages(api, by, size, forward=forward) == whole


async def all_pages(api: Api, by: dict[str, str], size: int, *, forward: bool) -> list[str]:
    """Fetch all pages, one after the other."""
    found: list[str] = []
    cursor = None
    while True:
        turn: dict[str, Any] = {"first": size, "after": cursor} if forward else {"last": size, "before": cursor}
        page = (await api(NAMES, orderBy=by, **turn)).data["products"]
        here = [it["name"] for it in page["nodes"]]
        found = found + here if forward else here + found
        info = page["pageInfo"]
        assert page["totalCount"] == 7
        assert info["hasPreviousPage" if forward else "hasNextPage"] == (cursor is not None)
        if not info["hasNextPage" if forward else "hasPreviousPage"]:
            return found
        cursor = info["endCursor" if forward else "startCursor"]


async def test_after_and_before_together_bound_a_page(api: Api) -> None:
    for name in "abcdef":
        await api.register(name)
    by = {"field": "NAME"}
    edges = (await api(NAMES, orderBy=by)).data["products"]["edges"]
    between: dict[str, Any] = {"after": edges[0]["cursor"], "before": edges[5]["cursor"]}
    assert await names(api, first=2, **between) == ["b", "c"]
    assert await names(api, last=2, **between) == ["d", "e"]


async def test_total_count_is_counted_only_when_selected(api: Api) -> None:
    await api.register()
    api.statements.clear()
    await api("{ products { nodes { name } } }")
    assert len(api.statements) == 1
    api.statements.clear()
    await api("{ products { totalCount nodes { name } } }")
    assert len(api.statements) == 2


async def test_a_page_of_50_products_with_domain_and_history_costs_a_constant_number_of_statements(api: Api) -> None:
    query = """
      query ($first: Int) {
        products(first: $first) {
          totalCount
          nodes { name domain { name } history(last: 3) { totalCount nodes { validFrom changed { field } asset { label } } } }
        }
      }
    """
    inputs = [product_fields(f"p{number:02}", at=iso(day(0))) for number in range(50)]
    for given in inputs:
        await api(REGISTER, input=given)
    for number in range(0, 50, 3):
        await api.update(f"p{number:02}", owner="bob")
    counts = []
    for first in (1, 50):
        api.statements.clear()
        assert len((await api(query, first=first)).data["products"]["nodes"]) == first
        counts.append(len(api.statements))
    assert counts == [4, 4]


async def test_aliases_that_share_an_instant_share_a_statement(api: Api) -> None:
    await api.register("one")
    await api.register("two")
    api.statements.clear()
    await api(
        '{ a: product(name: "one") { uid } b: product(name: "two") { uid } c: product(name: "one", asOf: "2026-02-01") { uid } }'
    )
    assert len(api.statements) == 2


async def test_introspection_needs_no_connection(api: Api) -> None:
    assert (await api("{ __schema { queryType { name } } }")).data
    assert len(api.statements) == 0


async def test_the_schema_is_kept_as_given_and_read_as_fields(api: Api) -> None:
    read = "query ($name: String!) { product(name: $name) { schema fields { name type description } } }"
    for name, schema, fields in (
        ("listed", {"fields": [{"name": "id", "type": "int", "doc": "the key"}, {"name": "tags", "type": ["null", "string"]}]},
         [("id", "int", "the key"), ("tags", '["null","string"]', None)]),
        ("json_schema", {"type": "object", "properties": {"id": {"type": "integer", "description": "d"}}},
         [("id", "integer", "d")]),
        ("plain", {"id": "int", "at": {"type": "timestamp"}}, [("id", "int", None), ("at", "timestamp", None)]),
        ("empty", {}, []),
        ("odd", {"fields": [1, {"type": "x"}], "n": 1.5}, []),
    ):  # fmt: skip
        await api.register(name, schema=schema)
        product = (await api(read, name=name)).data["product"]
        assert product["schema"] == schema
        found = [(it["name"], it["type"], it["description"]) for it in product["fields"]]
        # a list has an order, an object has none
        assert found == fields if "fields" in schema else sorted(found) == sorted(fields)


async def test_asset_finds_a_product_by_its_uid_at_an_instant(api: Api) -> None:
    product = await api.register()
    await api.update("orders", name="purchases", at=day(10))
    query = (
        "query ($uid: UUID!, $asOf: DateTime) { asset(ref: { uid: $uid }, asOf: $asOf) { __typename label createdAt updatedAt } }"
    )
    then = (await api(query, uid=product["uid"], asOf=iso(day(5)))).data["asset"]
    assert then == {"__typename": "Product", "label": "orders", "createdAt": iso(day(0)), "updatedAt": iso(day(0))}
    now = (await api(query, uid=product["uid"])).data["asset"]
    assert (now["label"], now["createdAt"], now["updatedAt"]) == ("purchases", iso(day(0)), iso(day(10)))
    assert (await api(query, uid=str(uuid4()))).data["asset"] is None


async def test_a_history_pages_both_ways_and_says_who_and_when(api: Api) -> None:
    await api.register()
    for number in range(1, 5):
        await api.update("orders", owner=f"o{number}", at=day(number))
    query = """
      query ($first: Int, $after: String, $last: Int, $before: String) { product(name: "orders") {
        history(first: $first, after: $after, last: $last, before: $before) {
          edges { cursor node { id validFrom validTo isCurrent recordedAt actor changed { field before after } } }
          pageInfo { hasNextPage hasPreviousPage } totalCount
        } } }
    """
    page = (await api(query, first=2)).data["product"]["history"]
    assert [it["node"]["validFrom"] for it in page["edges"]] == [iso(day(0)), iso(day(1))]
    assert (page["pageInfo"], page["totalCount"]) == ({"hasNextPage": True, "hasPreviousPage": False}, 5)
    rest = (await api(query, first=5, after=page["edges"][1]["cursor"])).data["product"]["history"]["edges"]
    assert [it["node"]["changed"][0]["after"] for it in rest] == ["o2", "o3", "o4"]
    assert [it["node"]["isCurrent"] for it in rest] == [False, False, True]
    assert rest[-1]["node"]["actor"] == "anonymous"
    assert datetime.fromisoformat(rest[-1]["node"]["recordedAt"]) > day(4) > START_OF_TIME
    back = (await api(query, last=2, before=rest[0]["cursor"])).data["product"]["history"]["edges"]
    assert [it["node"]["validFrom"] for it in back] == [iso(day(0)), iso(day(1))]


START_OF_TIME = datetime(2025, 1, 1, tzinfo=UTC)
