"""Search of products and entities in one list: ranks, filters, facets, pages and instants, and bad input."""

from typing import Any
from uuid import UUID

import pytest

from db.assets import search as searches
from tests.builders import Api, day, iso

FOUND = """
  query ($text: String!, $kinds: [AssetKind!], $types: [String!], $domains: [String!], $tags: [String!], $owners: [String!],
    $first: Int, $after: String, $last: Int, $before: String, $asOf: DateTime) {
    search(text: $text, kinds: $kinds, types: $types, domains: $domains, tags: $tags, owners: $owners, first: $first,
      after: $after, last: $last, before: $before, asOf: $asOf) {
      edges { rank cursor node { label } } nodes { label } totalCount isComplete pageInfo { hasNextPage hasPreviousPage }
    }
  }
"""
FACETS = """
  query ($text: String!, $domains: [String!]) { search(text: $text, domains: $domains) { isComplete facets {
    kind { value count } type { value count } domain { value count } owner { value count } tag { value count }
    status { value count }
  } } }
"""
ROLES = """
  mutation {
    owner: putDetailType(input: { code: "steward", label: "Steward", role: OWNER }) { detailType { code } }
    second: putDetailType(input: { code: "team", label: "Team", role: OWNER }) { detailType { code } }
    tag: putDetailType(input: { code: "class", label: "Class", role: TAG }) { detailType { code } }
    other: putDetailType(input: { code: "label", label: "Label", role: TAG }) { detailType { code } }
  }
"""


async def found(api: Api, text: str, **arguments: Any) -> list[tuple[str, str]]:
    """Return the ranks and labels of the assets that a search finds."""
    page = (await api(FOUND, text=text, **arguments)).data["search"]
    assert page["nodes"] == [it["node"] for it in page["edges"]]
    return [(it["rank"], it["node"]["label"]) for it in page["edges"]]


async def labels(api: Api, text: str, **arguments: Any) -> list[str]:
    return [label for _, label in await found(api, text, **arguments)]


@pytest.fixture
async def filled(api: Api) -> Api:
    """Products and entities with `orders` in their values; entities have owners and tags by roles."""
    await api.put_types()
    assert (await api(ROLES)).data
    await api.register("orders", description="all that was bought", tags=["gold", "daily"])
    await api.register("orders daily", owner="bob", status="DEPRECATED")
    await api.register("sales", domain="finance", description="The Orders, by region.", tags=["gold"])
    await api.register("reorders", owner="bob")
    await api.create("Orders", type="TABLE", key="public.orders", details={"steward": "ann", "team": "zoe", "class": "gold"})
    await api.create("Ann", key="orders-1", details={"note": "who orders", "team": "bob", "class": "gold", "label": "gold"})
    await api.create("Unrelated")
    return api


async def test_matches_are_ranked_and_equal_ranks_ordered_by_label(filled: Api) -> None:
    assert await found(filled, "ORDERS") == [
        ("EXACT", "Orders"),
        ("EXACT", "orders"),
        ("PREFIX", "Ann"),
        ("PREFIX", "orders daily"),
        ("WORD", "sales"),
        ("SUBSTRING", "reorders"),
    ]


async def test_names_keys_descriptions_tags_and_details_are_searched(filled: Api) -> None:
    for text, expected in {
        "unrelat": [("PREFIX", "Unrelated")],
        "Public.orders": [("EXACT", "Orders")],
        "orders-": [("PREFIX", "Ann")],
        "was bought": [("WORD", "orders")],
        "aily": [("SUBSTRING", "orders"), ("SUBSTRING", "orders daily")],
        "who ord": [("SUBSTRING", "Ann")],
        # of two values that follow each other neither contains it
        "boughtgold": [],
        "bought\tgold": None,
    }.items():
        if expected is None:
            assert (await filled(FOUND, text=text)).code_and_field == ("BAD_INPUT", "text")
        else:
            assert await found(filled, text) == expected, text


async def test_characters_are_literal_case_is_ignored_and_accents_are_not(api: Api) -> None:
    for name in ("100% sure", "1000 sure", "a_b_c", "axbxc", "back\\slash", "(x|y)+", "Café", "cafe", "МОСКВА", "客户 客户"):
        await api.register(name)
    for text, expected in {
        "0% sure": ["100% sure"],
        "a_b_c": ["a_b_c"],
        "ack\\sl": ["back\\slash"],
        "(x|y)+": ["(x|y)+"],
        "CAFÉ": ["Café"],
        "CAFE": ["cafe"],
        "москва": ["МОСКВА"],
        "客户": ["客户 客户"],
    }.items():
        assert await labels(api, text) == expected, text


async def test_a_text_without_three_letters_in_a_row_is_looked_for_where_names_and_keys_begin(api: Api) -> None:
    await api.put_types()
    await api.register("ab-c")
    await api.register("xab-c", description="ab-c")
    await api.create("Ann", key="ab-d")
    assert await found(api, "ab-c") == [("EXACT", "ab-c")]
    assert await found(api, "AB") == [("PREFIX", "Ann"), ("PREFIX", "ab-c")]


async def test_a_search_finds_what_was_there_at_the_instant(api: Api) -> None:
    product = await api.register(description="first", tags=["old tag"])
    await api.update("orders", name="sales", description="second", tags=[], at=day(10))
    await api.put_types()
    ann = await api.create(details={"note": "third"})
    await api.change(ann["uid"], displayName="Bea", at=day(10))
    for text, then, now in (("orders", 1, 0), ("old tag", 1, 0), ("second", 0, 1), ("third", 1, 1), ("Ann", 1, 0)):
        assert len(await labels(api, text, asOf=iso(day(5)))) == then, text
        assert len(await labels(api, text)) == now, text
    assert await labels(api, "third", asOf=iso(day(5))) == ["Ann"]
    (node,) = (await api('{ search(text: "sales", asOf: "2026-01-20") { nodes { id uid } } }')).data["search"]["nodes"]
    assert node["uid"] == product["uid"]
    assert node["id"].endswith("2026-01-20T00:00:00Z")


async def test_filters_select_before_the_page_is_cut(filled: Api) -> None:
    for arguments, expected in (
        ({"kinds": ["ENTITY"]}, ["Orders", "Ann"]),
        ({"kinds": ["PRODUCT"], "first": 1}, ["orders"]),
        ({"types": ["TABLE", "PERSON"]}, ["Orders", "Ann"]),
        ({"domains": ["people", "finance"]}, ["Ann", "sales"]),
        ({"owners": ["bob"]}, ["Ann", "orders daily", "reorders"]),
        # the first detail with the role is the owner
        ({"owners": ["zoe"]}, []),
        ({"tags": ["gold", "daily"]}, ["Orders", "orders", "Ann", "sales"]),
        ({"tags": ["gold"], "kinds": ["PRODUCT"], "domains": ["sales"]}, ["orders"]),
        ({"kinds": []}, []),
        ({"tags": []}, []),
    ):
        assert await labels(filled, "orders", **arguments) == expected, arguments


async def test_facets_count_the_whole_result(filled: Api) -> None:
    facets = (await filled(FACETS, text="orders")).data["search"]["facets"]
    assert {name: {it["value"]: it["count"] for it in values} for name, values in facets.items()} == {
        "kind": {"PRODUCT": 4, "ENTITY": 2},
        "type": {"PERSON": 1, "TABLE": 1},
        "domain": {"sales": 3, "finance": 1, "people": 1},
        "owner": {"ann": 3, "bob": 3},
        # an asset that has a tag twice counts once
        "tag": {"gold": 4, "daily": 1},
        "status": {"ACTIVE": 3, "DEPRECATED": 1},
    }
    assert [it["value"] for it in facets["domain"]] == ["sales", "finance", "people"]
    filtered = (await filled(FACETS, text="orders", domains=["people"])).data["search"]["facets"]
    assert filtered["kind"] == [{"value": "ENTITY", "count": 1}]
    limited = (await filled('{ search(text: "orders") { facets { owner(first: 1) { value } domain { value } } } }')).data
    assert [len(it) for it in limited["search"]["facets"].values()] == [1, 3]


async def test_a_facet_that_is_cut_tells_how_many_values_it_has(filled: Api) -> None:
    counts = "kindCount typeCount domainCount ownerCount tagCount statusCount"
    for text, expected in (("orders", [2, 2, 3, 2, 2, 2]), ("sales", [1, 0, 1, 1, 1, 1]), ("nothing", [0] * 6)):
        facets = (await filled(f'{{ search(text: "{text}") {{ facets {{ {counts} tag(first: 1) {{ value }} }} }} }}')).data[
            "search"
        ]["facets"]
        assert len(facets.pop("tag")) == min(1, expected[4]), text
        assert list(facets.values()) == expected, text


async def test_pages_join_in_both_directions(filled: Api) -> None:
    whole = await labels(filled, "orders")
    for size_name, cursor_name in (("first", "after"), ("last", "before")):
        collected: list[str] = []
        arguments: dict[str, Any] = {size_name: 2}
        while True:
            page = (await filled(FOUND, text="orders", **arguments)).data["search"]
            assert page["totalCount"] == len(whole)
            of_page = [it["node"]["label"] for it in page["edges"]]
            collected = collected + of_page if size_name == "first" else of_page + collected
            if not page["pageInfo"]["hasNextPage" if size_name == "first" else "hasPreviousPage"]:
                break
            arguments[cursor_name] = page["edges"][-1 if size_name == "first" else 0]["cursor"]
        assert collected == whole
    cursor = (await filled(FOUND, text="orders", first=1)).data["search"]["edges"][0]["cursor"]
    assert (await filled(FOUND, text="sales", after=cursor)).code_and_field == ("BAD_INPUT", "after")


async def test_a_page_and_all_counts_take_a_statement_each(filled: Api) -> None:
    page = "search(text: $text) { nodes { label ... on Product { description tags } } edges { rank cursor } }"
    counts = "search(text: $text) { totalCount isComplete facets { kind { count } owner { count } tag(first: 3) { count } } }"
    for selection, number in ((page, 1), (f"{page} {counts}", 2)):
        filled.statements.clear()
        await filled(f"query ($text: String!) {{ {selection} }}", text="orders")
        assert len(filled.statements) == number


async def test_a_result_beyond_the_bound_says_so_and_keeps_names_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "BOUND", 3)
    for number in range(8):
        await api.register(f"p{number}", description="all orders")
    await api.register("orders")
    result = (await api(FOUND, text="orders")).data["search"]
    assert result["edges"][0]["node"] == {"label": "orders"}
    assert result["isComplete"] is False
    assert 3 <= result["totalCount"] < 9
    assert (await api(FOUND, text="p1")).data["search"]["isComplete"] is True


async def test_keys_that_are_or_begin_with_the_text_come_before_the_bound(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "BOUND", 3)
    await api.put_types()
    for number in range(8):
        await api.create(f"E{number}", details={"note": "all orders"})
    await api.create("Prefixed", key="Orders-1")
    # several of its keys begin with the text
    await api.create("Keyed", key="x", alternateKeys=["Orders", "orders/2", "orders/3"])
    result = (await api(FOUND, text="orders", first=3)).data["search"]
    assert [(it["rank"], it["node"]["label"]) for it in result["edges"]][:2] == [("EXACT", "Keyed"), ("PREFIX", "Prefixed")]
    assert result["isComplete"] is False
    # filters apply before the bound
    assert await found(api, "orders", types=["TABLE"]) == []


async def test_the_bound_counts_entities_and_not_their_keys(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "BOUND", 3)
    await api.put_types()
    for number in range(4):
        await api.create(f"E{number}", key=f"k-{number}", alternateKeys=[f"K-{number}", f"k-{number}-a", f"k-{number}-b"])
    # no pattern finds this text, as it has no three letters in a row
    for text, number in (("k-", 3), ("k-1", 1), ("K-3-", 1)):
        result = (await api(FOUND, text=text)).data["search"]
        assert (result["totalCount"], result["isComplete"]) == (number, number < 3), text
    assert [it["node"]["label"] for it in result["edges"]] == ["E3"]


async def test_a_uuid_key_is_found_in_every_spelling(api: Api) -> None:
    await api.put_types()
    uuid = UUID("550e8400-e29b-41d4-a716-446655440000")
    spellings = [str(uuid), str(uuid).upper(), uuid.hex, uuid.hex.upper(), f"{{{uuid}}}", uuid.urn]
    lists = "query ($text: String!) { entities(search: $text) { nodes { displayName } totalCount } }"
    ann = await api.create("Ann")
    for key in spellings:
        assert (await api.change(ann["uid"], key=key)).data
        for text in spellings:
            assert await found(api, text) == [("EXACT", "Ann")], (key, text)
            assert await found(api, text, kinds=["PRODUCT"]) == []
            assert (await api(lists, text=text)).data["entities"] == {"nodes": [{"displayName": "Ann"}], "totalCount": 1}
        assert await found(api, str(uuid)[:20]) == [("PREFIX", "Ann")], key


@pytest.mark.parametrize(
    "text", ["", "a", " a ", "é", "%%", "__", "*?", "-.-", "a\u001fb", "a\nb", "a\0b", "a" * 201, "a" * 10_000]
)
async def test_a_text_that_finds_nothing_or_all_is_refused(api: Api, text: str) -> None:
    assert (await api(FOUND, text=text)).code_and_field == ("BAD_INPUT", "text")


async def test_bad_arguments_are_refused(filled: Api) -> None:
    answer = await filled('{ search(text: "orders") { totalCount facets { owner(first: 101) { value } kind { value } } } }')
    assert answer.code_and_field == ("LIMIT_EXCEEDED", "first")
    assert answer.body["data"]["search"]["facets"]["owner"] is None
    assert len(answer.body["data"]["search"]["facets"]["kind"]) == 2
    assert (await filled('{ search(text: "orders") { facets { tag(first: 0) { value } } } }')).code_and_field == (
        "BAD_INPUT",
        "first",
    )
    assert (await filled(FOUND, text="orders", first=1_000)).code_and_field == ("LIMIT_EXCEEDED", "first")
    assert (await filled(FOUND, text="orders", tags=["a"] * 10_000)).code_and_field == ("LIMIT_EXCEEDED", "tags")
