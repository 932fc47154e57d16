"""Tests of the lists of registries and domains, their pages in both directions, and of look-ups of one entry."""

from typing import Any

import pytest

from tests.builders import Api

# The field that tells the items of each list apart, and their order.
LISTS = {
    "entityTypes": ("code", ["A", "B", "C", "D", "E"]),
    "detailTypes": ("code", ["a", "b", "c", "d", "e"]),
    "relationshipTypes": ("code", [f"{it} of PRODUCT" for it in "ABCDE"]),
    "domains": ("name", ["of A", "of B", "of C", "of D", "of E"]),
    "keys": ("label", ["z", "y", "x", "w", "v"]),
}
PAGE = """query ($first: Int, $after: String, $last: Int, $before: String) {
  page: %s(first: $first, after: $after, last: $last, before: $before) {
    nodes { %s } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount
  }
}"""
LOOK_UPS = """query ($code: String!) {
  entityType(code: $code) { code domain { name } } detailType(code: $code) { code } relationshipType(code: $code) { code }
}"""


@pytest.fixture
async def api(shared_api: Api) -> Api:
    puts = [
        f'p{it}: putEntityType(input: {{ code: "{it}", label: "T", domain: "of {it}" }}) {{ entityType {{ code }} }}'
        for it in "CABED"
    ]
    puts += [f'd{it}: putDetailType(input: {{ code: "{it}", label: "D" }}) {{ detailType {{ code }} }}' for it in "cabed"]
    assert (await shared_api(f"mutation {{ {' '.join(puts)} }}")).data
    for it in "CABED":
        await shared_api.put_relationship_type("of", origin=it, related="PRODUCT", reverseKey="has")
    return shared_api


async def create_keys(api: Api) -> None:
    for label in LISTS["keys"][1]:
        create = 'mutation ($label: String!) { createKey(input: { label: $label, scopes: ["read"] }) { key { label } } }'
        assert (await api(create, label=label)).data


async def page_of(api: Api, name: str, **arguments: Any) -> dict[str, Any]:
    page: dict[str, Any] = (await api(PAGE % (name, LISTS[name][0]), **arguments)).data["page"]
    return page


@pytest.mark.parametrize("name", LISTS)
async def test_pages_in_both_directions_cover_a_list(api: Api, name: str) -> None:
    if name == "keys":
        await create_keys(api)
    field, names = LISTS[name]
    api.statements.clear()
    first = await page_of(api, name, first=2)
    assert len(api.statements) <= 3, "now, the page and the count"
    second = await page_of(api, name, first=2, after=first["pageInfo"]["endCursor"])
    last = await page_of(api, name, first=2, after=second["edges"][-1]["cursor"])
    assert [it[field] for page in (first, second, last) for it in page["nodes"]] == names
    assert [page["pageInfo"]["hasNextPage"] for page in (first, second, last)] == [True, True, False]
    assert {page["totalCount"] for page in (first, second, last)} == {5}
    backward = await page_of(api, name, last=2, before=last["pageInfo"]["startCursor"])
    assert (backward["nodes"], backward["pageInfo"]["hasPreviousPage"]) == (second["nodes"], True)
    assert (await page_of(api, name, last=1))["nodes"] == last["nodes"]
    assert (await api(PAGE % (name, field), after="x")).code_and_field == ("BAD_INPUT", "after")
    others = "detailTypes" if name != "detailTypes" else "entityTypes"
    refused = await api(PAGE % (others, LISTS[others][0]), after=first["pageInfo"]["endCursor"])
    assert refused.code_and_field == ("BAD_INPUT", "after")
    assert (await api(PAGE % (name, field), first=100_000)).code_and_field == ("LIMIT_EXCEEDED", "first")


async def test_one_entry_is_found_by_its_code(api: Api) -> None:
    assert (await api(LOOK_UPS, code="A")).data == {
        "entityType": {"code": "A", "domain": {"name": "of A"}},
        "detailType": None,
        "relationshipType": None,
    }
    assert (await api(LOOK_UPS, code="a")).data["detailType"] == {"code": "a"}
    relationship_type = "query ($code: String!) { relationshipType(code: $code) { code } }"
    await api.put_relationship_type("feeds", related="PRODUCT")
    for code in ("feeds", "PRODUCT feeds PRODUCT"):
        assert (await api(relationship_type, code=code)).data == {"relationshipType": {"code": "PRODUCT feeds PRODUCT"}}
    refused = await api(relationship_type, code="of")
    assert refused.code_and_field == ("BAD_INPUT", "code")
    assert "A of PRODUCT, B of PRODUCT" in refused.error["message"]
    for name in ("entityType", "detailType"):
        assert (await api(f'{{ {name}(code: "a\\u0000") {{ code }} }}')).code_and_field == ("BAD_INPUT", "code")


async def test_look_ups_of_one_kind_take_one_statement(api: Api) -> None:
    api.statements.clear()
    found = (
        await api('{ a: detailType(code: "a") { label } b: detailType(code: "b") { label } c: detailType(code: "?") { label } }')
    ).data
    assert found == {"a": {"label": "D"}, "b": {"label": "D"}, "c": None}
    assert len(api.statements) == 1
