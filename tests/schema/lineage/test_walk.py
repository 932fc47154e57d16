"""Walks, paths and differences through GraphQL: results, pages, instants, and the number of statements."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from graph_api.auth.principals import OPEN_PRINCIPAL
from graph_api.settings import Settings
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.root import schema
from tests.builders import DELETE, REGISTER_LINEAGE, REMOVE_LINEAGE, RESTORE, Api, day, iso

pytestmark = pytest.mark.api

MICROSECOND = timedelta(microseconds=1)

WALK = """
  query ($name: String!, $maxDepth: Int! = 5, $filter: LineageFilter, $first: Int! = 100, $after: String, $asOf: DateTime) {
    product(name: $name) { downstream(maxDepth: $maxDepth, filter: $filter, first: $first, after: $after, asOf: $asOf) {
      edges { cursor depth confidence node { id label asOf } }
      links { id source { id label } target { id label } confidence }
      totalCount byDepth { depth count } cycles truncated { reason limit }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    } }
  }
"""
# a walk that comes with its product
PREFETCHED = """
  query ($name: String!, $maxDepth: Int!) {
    product(name: $name) { downstream(maxDepth: $maxDepth) { edges { node { label } } totalCount truncated { reason limit } } }
  }
"""


# the links are those of the page
DRAWN = "edges { node { label } links { confidence source { label } } } links { uid target { label } }"


async def walk(api: Api, name: str = "raw", **arguments: Any) -> dict[str, Any]:
    if isinstance(arguments.get("asOf"), datetime):
        arguments["asOf"] = iso(arguments["asOf"])
    found: dict[str, Any] = (await api(WALK, name=name, **arguments)).data["product"]["downstream"]
    return found


def reached(connection: dict[str, Any]) -> dict[str, int]:
    return {edge["node"]["label"]: edge["depth"] for edge in connection["edges"]}


def link_labels(connection: dict[str, Any]) -> set[tuple[str, str]]:
    return {(it["source"]["label"], it["target"]["label"]) for it in connection["links"]}


async def test_a_walk_reaches_each_asset_once_at_its_shortest_depth(api: Api) -> None:
    await api.lineage("raw -> clean -> report", "raw -> copy -> report", "raw -> report -> mail")
    found = await walk(api)
    assert reached(found) == {"clean": 1, "copy": 1, "report": 1, "mail": 2}
    assert found["totalCount"] == 4
    assert found["byDepth"] == [{"depth": 1, "count": 3}, {"depth": 2, "count": 1}]
    assert link_labels(found) == {
        ("clean", "report"), ("copy", "report"), ("raw", "clean"), ("raw", "copy"), ("raw", "report"), ("report", "mail"),
    }  # fmt: skip
    assert len(found["links"]) == 6
    assert found["cycles"] == []
    assert found["truncated"] is None


async def test_upstream_follows_links_backwards(api: Api) -> None:
    await api.lineage("raw -> clean -> report", "ref -> clean")
    found = (await api('{ product(name: "report") { upstream { edges { depth node { label } } } } }')).data
    assert reached(found["product"]["upstream"]) == {"clean": 1, "raw": 2, "ref": 2}


async def test_entities_take_part_in_walks(api: Api) -> None:
    await api.put_types()
    await api.lineage("raw -> clean")
    await api.create("orders table", type="TABLE", key="db/orders")
    ends = {"source": {"product": "clean"}, "target": {"entity": {"type": "TABLE", "key": "db/orders"}}, "at": iso(day(1))}
    assert (await api(REGISTER_LINEAGE, input=ends)).data
    found = await walk(api)
    assert reached(found) == {"clean": 1, "orders table": 2}
    query = """
      { entity(ref: { key: {type: "TABLE", key: "db/orders"} }) {
        upstream { nodes { __typename label ... on Product { owner } } }
      } }
    """
    assert (await api(query)).data["entity"]["upstream"]["nodes"] == [
        {"__typename": "Product", "label": "clean", "owner": "ann"},
        {"__typename": "Product", "label": "raw", "owner": "ann"},
    ]


async def test_walks_of_cycles_end_and_report_them(api: Api) -> None:
    uids = await api.lineage("raw -> a -> b -> c -> a", "c -> d -> e -> d")
    found = await walk(api, maxDepth=100)
    assert reached(found) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    assert found["cycles"] == [[uids["a"], uids["b"], uids["c"]], [uids["d"], uids["e"]]]
    inside = await walk(api, "b", maxDepth=100)
    assert reached(inside) == {"c": 1, "a": 2, "d": 2, "e": 3}
    assert sorted(map(sorted, inside["cycles"])) == sorted(map(sorted, found["cycles"]))


async def test_confidence_is_that_of_the_best_path(api: Api) -> None:
    """A longer path may have the higher confidence. Of two producers, the higher confidence counts."""
    await api.lineage("raw", "mid", "end")
    await api.link("raw", "end", confidence=0.3)
    await api.link("raw", "mid", confidence=0.5)
    await api.link("raw", "mid", confidence=0.9, producer="dbt")
    await api.link("mid", "end", confidence=0.8)
    found = await walk(api)
    trusted = {edge["node"]["label"]: edge["confidence"] for edge in found["edges"]}
    assert reached(found) == {"mid": 1, "end": 1}
    assert trusted == {"mid": pytest.approx(0.9), "end": pytest.approx(0.72)}


async def test_a_link_is_returned_only_while_it_is_effective(api: Api) -> None:
    uids = await api.lineage("raw -> clean -> report")
    late = await api.link("raw", "extra", at=day(20)) if (await api.register("extra")) else None
    assert late is not None
    removed = (await api("{ lineageLinks { nodes { uid source { label } target { label } } } }")).data["lineageLinks"]["nodes"]
    (to_report,) = [it["uid"] for it in removed if it["target"]["label"] == "report"]
    assert (await api(REMOVE_LINEAGE, input={"link": {"uid": to_report}, "at": iso(day(30))})).data["removeLineage"]["changed"]
    for instant, expected in (
        (day(0) - MICROSECOND, {}),
        (day(0), {"clean": 1, "report": 2}),
        (day(20) - MICROSECOND, {"clean": 1, "report": 2}),
        (day(20), {"clean": 1, "extra": 1, "report": 2}),
        (day(30) - MICROSECOND, {"clean": 1, "extra": 1, "report": 2}),
        (day(30), {"clean": 1, "extra": 1}),
    ):
        found = await walk(api, asOf=instant)
        assert reached(found) == expected
        assert {target for _, target in link_labels(found)} == expected.keys()
        assert found["totalCount"] == len(expected)
        assert all(edge["node"]["asOf"] == iso(instant) for edge in found["edges"])
        assert all(edge["node"]["id"].endswith(f"@{iso(instant)}") for edge in found["edges"])
        assert all(it["id"].endswith(f"@{iso(instant)}") for it in found["links"])
    assert uids


async def test_deleting_an_asset_ends_its_links_and_restoring_it_brings_them_back(api: Api) -> None:
    uids = await api.lineage("raw -> clean -> report")
    assert (await api(DELETE, input={"product": {"uid": uids["clean"]}, "at": iso(day(10))})).data
    # delete one end after the other, and restore them in another order
    assert (await api(DELETE, input={"product": {"uid": uids["report"]}, "at": iso(day(12))})).data
    assert (await api(RESTORE, input={"product": {"uid": uids["clean"]}, "at": iso(day(14))})).data
    assert reached(await walk(api)) == {"clean": 1}
    assert (await api(RESTORE, input={"product": {"uid": uids["report"]}, "at": iso(day(16))})).data
    for instant, expected in (
        (day(9), {"clean": 1, "report": 2}),
        (day(10), {}),
        (day(13), {}),
        (day(14), {"clean": 1}),
        (day(16), {"clean": 1, "report": 2}),
    ):
        assert reached(await walk(api, asOf=instant)) == expected


async def test_asof_is_inherited_and_may_be_overridden(api: Api) -> None:
    await api.lineage("raw -> clean", at=day(0))
    await api.lineage("old -> older", at=day(0))
    await api.link("clean", "old", at=day(10))
    query = """
      query ($asOf: DateTime, $other: DateTime) { product(name: "raw", asOf: $asOf) {
        inherited: downstream { nodes { label asOf } }
        overridden: downstream(asOf: $other) { nodes { label asOf downstream { nodes { label asOf } } } }
      } }
    """
    found = (await api(query, asOf=iso(day(5)), other=iso(day(11)))).data["product"]
    assert found["inherited"]["nodes"] == [{"label": "clean", "asOf": iso(day(5))}]
    assert [it["label"] for it in found["overridden"]["nodes"]] == ["clean", "old", "older"]
    assert found["overridden"]["nodes"][0]["downstream"]["nodes"] == [
        {"label": "old", "asOf": iso(day(11))},
        {"label": "older", "asOf": iso(day(11))},
    ]


async def test_the_same_walk_at_two_instants_in_one_request(api: Api) -> None:
    await api.lineage("raw -> clean", "report", at=day(0))
    await api.link("clean", "report", at=day(10))
    query = """
      { product(name: "raw") {
        then: downstream(asOf: "%s") { nodes { id label } } now: downstream { nodes { id label } }
      } }
    """ % iso(day(5))  # noqa: UP031
    found = (await api(query)).data["product"]
    assert [it["label"] for it in found["then"]["nodes"]] == ["clean"]
    assert [it["label"] for it in found["now"]["nodes"]] == ["clean", "report"]
    assert found["then"]["nodes"][0]["id"] != found["now"]["nodes"][0]["id"]


async def test_ends_of_links_are_read_at_the_instant_of_the_walk(api: Api) -> None:
    """The root is read now, the walk at another instant: the root among its links is that of the other instant."""
    uids = await api.lineage("raw -> clean")
    assert (await api.update("raw", name="rawer", at=day(10))).data
    found = await walk(api, "rawer", asOf=day(5))
    (link,) = found["links"]
    assert link["source"] == {"id": f"Product:{uids['raw']}@{iso(day(5))}", "label": "raw"}


async def test_link_filters_prune_and_asset_filters_hide(api: Api) -> None:
    await api.lineage("raw", "clean", "report", "mail", "guess")
    await api.update("clean", domain="finance", at=day(0.5))
    await api.link("raw", "clean", producer="dbt")
    await api.link("clean", "report", type="AGGREGATED", producer="dbt")
    await api.link("report", "mail", type="DERIVED")
    await api.link("raw", "guess", confidence=0.2)
    assert reached(await walk(api)) == {"clean": 1, "guess": 1, "report": 2, "mail": 3}

    async def filtered(**parts: Any) -> dict[str, int]:
        return reached(await walk(api, filter=parts))

    assert await filtered(links={"types": ["DIRECT", "AGGREGATED"]}) == {"clean": 1, "guess": 1, "report": 2}
    assert await filtered(links={"minConfidence": 0.5}) == {"clean": 1, "report": 2, "mail": 3}
    assert await filtered(links={"producers": ["dbt"]}) == {"clean": 1, "report": 2}
    assert await filtered(links={"producers": []}) == {}
    assert await filtered(links={"seenSince": iso(day(1))}) == {}
    assert await filtered(assets={"domains": ["sales"]}) == {"guess": 1, "report": 2, "mail": 3}
    assert await filtered(assets={"domains": ["finance"]}) == {"clean": 1}
    assert await filtered(assets={"kinds": ["ENTITY"]}) == {}
    await api.put_types()
    assert await filtered(assets={"entityTypes": ["PERSON"]}) == {}
    found = await walk(api, filter={"assets": {"domains": ["sales"]}})
    assert found["totalCount"] == 3
    assert found["byDepth"] == [{"depth": 1, "count": 1}, {"depth": 2, "count": 1}, {"depth": 3, "count": 1}]
    assert link_labels(found) == {("raw", "guess"), ("report", "mail")}


async def test_seen_since_filters_by_the_last_report_of_a_link(api: Api) -> None:
    await api.lineage("raw -> clean", "raw -> old")
    again = await api.link("raw", "clean", at=day(30))
    assert again["lastSeenAt"] == iso(day(30))
    since = {"links": {"seenSince": iso(day(15))}}
    assert reached(await walk(api, filter=since)) == {"clean": 1}
    assert reached(await walk(api, filter=since, asOf=day(20))) == {}


async def test_all_pages_together_hold_the_whole_graph(api: Api) -> None:
    await api.lineage("raw -> a -> b -> c", "raw -> d -> c", "raw -> e", "c -> f", "f -> a")
    whole = await walk(api)
    edges: list[Any] = []
    links: list[Any] = []
    after = None
    while True:
        page = await walk(api, first=2, after=after)
        edges += page["edges"]
        links += page["links"]
        assert page["totalCount"] == 6
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [(it["node"]["label"], it["depth"]) for it in edges] == [(it["node"]["label"], it["depth"]) for it in whole["edges"]]
    # each link once over all pages
    assert len(links) == len(whole["links"]) == 8
    assert {(it["source"]["label"], it["target"]["label"]) for it in links} == link_labels(whole)


@pytest.mark.parametrize("direction", ["downstream(first: $first, after: $after)", "upstream(first: $first, after: $after)"])
async def test_each_edge_has_its_links_to_earlier_assets(api: Api, direction: str) -> None:
    """A client that appends the edges of pages has the whole graph."""
    await api.lineage("raw -> a -> b -> c", "raw -> d -> c", "raw -> e", "c -> f", "f -> a", "c -> raw")
    query = f"""
      query ($first: Int!, $after: String) {{ product(name: "raw") {{ walk: {direction} {{
        edges {{ node {{ label }} links {{ ...ends }} }} links {{ ...ends }} pageInfo {{ endCursor hasNextPage }}
      }} }} }}
      fragment ends on LineageLink {{ source {{ label }} target {{ label }} }}
    """
    whole = (await api(query, first=100)).data["product"]["walk"]
    edges: list[Any] = []
    page: dict[str, Any] = {"pageInfo": {"endCursor": None, "hasNextPage": True}}
    while page["pageInfo"]["hasNextPage"]:
        page = (await api(query, first=2, after=page["pageInfo"]["endCursor"])).data["product"]["walk"]
        edges += page["edges"]
        assert sorted(link_labels({"links": [link for edge in page["edges"] for link in edge["links"]]})) == sorted(
            link_labels(page)
        )
    assert edges == whole["edges"]
    returned = {"raw"}
    for edge in edges:
        returned.add(edge["node"]["label"])
        ends = link_labels(edge)
        assert len(ends) == len(edge["links"])
        assert all(edge["node"]["label"] in pair and set(pair) <= returned for pair in ends)
    assert sum(len(edge["links"]) for edge in edges) == len(whole["links"]) >= 8


async def test_later_pages_are_read_at_the_instant_of_the_first(api: Api) -> None:
    """A deletion, a rename or a new link between two pages does not affect the second page."""
    uids = await api.lineage("raw -> a", "raw -> b", "raw -> c")
    first = await walk(api, first=1)
    cursor = first["pageInfo"]["endCursor"]
    assert (await api(DELETE, input={"product": {"uid": uids["b"]}})).data
    assert (await api.update("c", name="changed")).data
    await api.register("new")
    second = await walk(api, first=10, after=cursor)
    assert reached(second) == {"b": 1, "c": 1}
    (instant,) = {edge["node"]["asOf"] for edge in second["edges"]}
    assert instant == first["edges"][0]["node"]["asOf"]
    assert [edge["node"]["id"] for edge in second["edges"]] == [f"Product:{uids[it]}@{instant}" for it in "bc"]
    # the id returns the same read
    node = (await api("query ($id: ID!) { node(id: $id) { ... on Product { name } } }", id=second["edges"][0]["node"]["id"])).data
    assert node["node"] == {"name": "b"}
    assert reached(await walk(api, first=10)) == {"a": 1, "changed": 1}


async def test_a_cursor_of_another_walk_is_refused(api: Api) -> None:
    await api.lineage("raw -> a -> b", "raw -> c")
    cursor = (await walk(api, first=1, asOf=day(5)))["pageInfo"]["endCursor"]
    assert reached(await walk(api, first=1, after=cursor, asOf=day(5))) == {"c": 1}
    for changed in (
        {"name": "a"},
        {"maxDepth": 4},
        {"filter": {"links": {"minConfidence": 0.5}}},
        {"asOf": iso(day(6))},
        {"after": "abc"},
        {"after": (await api("{ products(first: 1) { pageInfo { endCursor } } }")).data["products"]["pageInfo"]["endCursor"]},
    ):
        answer = await api(WALK, **{"name": "raw", "first": 1, "after": cursor, "asOf": iso(day(5)), **changed})
        assert answer.code_and_field == ("BAD_INPUT", "after")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"maxDepth": -1}, ("BAD_INPUT", "maxDepth")),
        ({"maxDepth": 0}, ("BAD_INPUT", "maxDepth")),
        ({"maxDepth": 101}, ("LIMIT_EXCEEDED", "maxDepth")),
        ({"maxDepth": 10**9}, ("LIMIT_EXCEEDED", "maxDepth")),
        ({"maxDepth": 10**12}, ("BAD_INPUT", "maxDepth")),
        ({"first": 0}, ("BAD_INPUT", "first")),
        ({"first": 1_001}, ("LIMIT_EXCEEDED", "first")),
        ({"filter": {"links": {"minConfidence": 1.2}}}, ("BAD_INPUT", "minConfidence")),
        ({"filter": {"links": {"types": ["SOME"]}}}, ("BAD_INPUT", "types")),
        ({"filter": {"assets": {"kinds": ["GHOST"]}}}, ("BAD_INPUT", "kinds")),
        ({"filter": {"links": {"seenSince": "yesterday"}}}, ("BAD_INPUT", "seenSince")),
        ({"asOf": "2026-01-01T00:00:00"}, ("BAD_INPUT", "asOf")),
        ({"filter": {"links": {"producers": ["a\0"]}}}, ("BAD_INPUT", "producers")),
        ({"filter": {"assets": {"domains": ["\0"]}}}, ("BAD_INPUT", "domains")),
    ],
)
async def test_bad_arguments_are_refused_with_their_field(api: Api, arguments: dict[str, Any], fault: tuple[str, str]) -> None:
    await api.register("raw")
    assert (await api(WALK, name="raw", **arguments)).code_and_field == fault


async def test_a_walk_before_the_first_link_is_empty(api: Api) -> None:
    await api.lineage("raw -> clean")
    found = await walk(api, asOf=day(-1000))
    assert (reached(found), found["totalCount"], found["links"], found["truncated"]) == ({}, 0, [], None)


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("links", ["links { %s }", "edges { links { %s } }"])
async def test_links_whose_ends_are_left_out_are_those_of_the_others(api: Api, links: str, included: bool) -> None:
    await api.lineage("raw -> clean -> report")
    ends = "source @include(if: $ends) { label } ... @skip(if: $left) { target { label } } ...ends @include(if: $ends)"
    document = """
      query ($ends: Boolean!, $left: Boolean!) { product(name: "raw") { downstream { %s } } }
      fragment ends on LineageLink { source { label } }
    """
    left_out = document % (links % f"type {ends}")
    found = (await api(left_out, ends=included, left=not included)).data["product"]["downstream"]
    drawn = found["links"] if "links" in found else [it for edge in found["edges"] for it in edge["links"]]
    ends_of = {"source": {"label": "raw"}, "target": {"label": "clean"}} if included else {}
    assert drawn[0] == {"type": "DIRECT", **ends_of}
    assert len(drawn) == 2


NESTED = """
  { products(first: 100) { nodes { name
    upstream { totalCount nodes { label links: upstream { links { source { label } target { label } confidence } }
      upstream { nodes { label upstream { edges { confidence node { label upstream { cycles nodes { label } } } } } } } } }
  } } }
"""


async def test_the_number_of_statements_of_a_level_does_not_depend_on_its_size(api: Api) -> None:
    """A walk field on many assets takes one statement for the walks with their assets, and one for the links."""
    await api.lineage("a -> b -> c -> d -> e")
    one_of_each = """
      query ($first: Int!) { products(first: $first) { nodes {
        name downstream { totalCount edges { depth confidence node { label } } links { id source { label } type } cycles }
      } } }
    """
    api.statements.clear()
    assert (await api(one_of_each, first=1)).data
    # the page of products, the walks with their assets, the links of pages, which are the subgraphs; the roots are known
    assert len(api.statements) == 3
    await api.lineage(*(f"s{number} -> t{number} -> u{number % 3}" for number in range(12)))
    api.statements.clear()
    assert (await api(one_of_each, first=50)).data
    assert len(api.statements) == 3
    api.statements.clear()
    assert await api.execute_without_cost_limit(NESTED)
    few = len(api.statements)
    await api.lineage(*(f"v{number} -> w{number} -> x{number} -> y{number} -> z" for number in range(8)))
    api.statements.clear()
    assert await api.execute_without_cost_limit(NESTED)
    assert len(api.statements) == few


@pytest.mark.parametrize(
    "query",
    [
        'query ($first: Int) { changes(from: "2025-01-01", to: "2027-01-01", first: $first) { nodes { asset { %s } } } }',
        'query ($first: Int) { product(name: "raw") { history(first: $first) { nodes { asset { %s } } } } }',
    ],
    ids=["changes", "history"],
)
async def test_walks_at_many_instants_cost_as_many_statements_as_one(api: Api, query: str) -> None:
    await api.lineage("raw -> clean -> report")
    for number in range(1, 20):
        await api.update("raw", version=f"1.{number}.0", at=day(number))
        await api.link("raw", "clean", confidence=number / 20, at=day(number))
    walked = query % "downstream { totalCount edges { confidence node { label } } links { confidence } cycles }"
    counts = []
    for first in (1, 20):
        api.statements.clear()
        data = (await api(walked, first=first)).data
        counts.append(len(api.statements))
    # the list, the walks, the links of pages, and their ends
    assert counts[0] == counts[1]
    nodes = (data["changes"] if "changes" in data else data["product"]["history"])["nodes"]
    assert len(nodes) == 20
    confidences = [it["asset"]["downstream"]["links"][0]["confidence"] for it in nodes if it["asset"]["downstream"]["links"]]
    assert len(set(confidences)) > 10


# walks without a filter come with the product
@pytest.mark.parametrize(("arguments", "statements"), [("maxDepth: 1", 1), ("maxDepth: 1, filter: {}", 1 + 4)])
async def test_four_levels_deep_cost_one_statement_a_level_at_most(api: Api, arguments: str, statements: int) -> None:
    await api.lineage(*(f"a{number} -> b{number} -> c{number} -> d{number} -> e" for number in range(10)))
    query = """
      { product(name: "e") { upstream(maxDepth: 1) { nodes { upstream(maxDepth: 1) { nodes {
        upstream(maxDepth: 1) { nodes { upstream(maxDepth: 1) { nodes { label } } } } } } } } } }
    """
    api.statements.clear()
    assert await api.execute_without_cost_limit(query.replace("maxDepth: 1", arguments))
    assert len(api.statements) == statements


async def test_parts_that_are_not_selected_cost_nothing(api: Api) -> None:
    await api.lineage("raw -> clean")
    # the assets of the page come with the walk and its root
    for selection, statements in (("totalCount byDepth { count } truncated { reason }", 2), ("nodes { label }", 1), (DRAWN, 3)):
        api.statements.clear()
        assert (await api('{ product(name: "raw") { downstream { %s } } }' % selection)).data  # noqa: UP031
        assert len(api.statements) == statements


@pytest.mark.parametrize(
    ("settings", "truncated", "least"),
    [
        ({"max_lineage_assets": 5}, {"reason": "ASSETS", "limit": 5}, 5),
        ({"max_lineage_links": 3}, {"reason": "LINKS", "limit": 3}, 4),
        ({"lineage_timeout": 1e-6}, {"reason": "TIME", "limit": 0}, 0),
    ],
)
@pytest.mark.parametrize("max_depth", [1, 5])
@pytest.mark.parametrize("document", [WALK, PREFETCHED], ids=["whole", "prefetched"])
async def test_a_truncated_walk_reports_it(
    api: Api, settings: dict[str, Any], truncated: dict[str, Any], least: int, max_depth: int, document: str
) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(8)), "t0 -> u")
    executor = Executor(schema, api.database, Settings(**settings).limits)
    variables = {"name": "raw", "maxDepth": max_depth}
    response = await executor.execute(Request(document, variables), OPEN_PRINCIPAL, "request")
    assert response.data is not None
    cut = response.data["product"]["downstream"]
    assert cut["truncated"] == truncated
    assert len(cut["edges"]) == cut["totalCount"] == least


@pytest.mark.parametrize("selected", ["links { uid }", "edges { links { uid } }"])
async def test_truncated_links_of_a_complete_walk_are_reported(api: Api, selected: str) -> None:
    await api.lineage("raw -> a -> b", "raw -> b -> a")
    executor = Executor(schema, api.database, Settings(max_lineage_links=3).limits)
    query = f'{{ product(name: "raw") {{ downstream(maxDepth: 1) {{ truncated {{ reason limit }} {selected} }} }} }}'
    response = await executor.execute(Request(query, {}), OPEN_PRINCIPAL, "request")
    assert response.data is not None
    assert response.data["product"]["downstream"]["truncated"] == {"reason": "LINKS", "limit": 3}


@pytest.mark.parametrize(
    ("selected", "links", "needed"),
    [
        ("links { uid }", 4, 8),
        ("edges { links { uid } }", 4, 8),
        ("cycles edges { confidence }", 40, 8),
        ("cycles links { uid }", 4, 8),
    ],
)
async def test_the_links_that_walks_of_an_operation_read_are_bounded(api: Api, selected: str, links: int, needed: int) -> None:
    await api.lineage(*(f"{root} -> {root}{number}" for root in ("x", "y") for number in range(links)))
    fragment = f"fragment walked on Product {{ downstream(maxDepth: 1) {{ {selected} }} }}"
    query = f'{{ a: product(name: "x") {{ ...walked }} b: product(name: "y") {{ ...walked }} }} {fragment}'
    for allowed in (needed, needed - 1, 1):
        executor = Executor(schema, api.database, Settings(max_links_read=allowed).limits)
        response = await executor.execute(Request(query, {}), OPEN_PRINCIPAL, "request")
        codes = {it["extensions"]["code"] for it in response.errors}
        assert codes == (set() if allowed == needed else {"LIMIT_EXCEEDED"})


async def test_dense_graphs_of_many_walks_are_read_in_groups_and_counted(api: Api) -> None:
    names = "abcdefghij"
    await api.lineage(*(f"{source} -> {target}" for source in names for target in names if source != target))
    query = "{ products { nodes { upstream { cycles } } } }"
    complete = await api(query)
    statements = []
    # ten graphs of 90 links, which count a tenth each; a statement reads graphs that may have ten times the bound of links
    for max_lineage_links, allowed in ((20_000, 90), (90, 90), (90, 89)):
        limits = Settings(max_lineage_links=max_lineage_links, max_links_read=allowed).limits
        response = await Executor(schema, api.database, limits).execute(
            Request(query, {}, wants_resources=True), OPEN_PRINCIPAL, "request"
        )
        assert response.resources is not None
        statements.append(response.resources["statements"])
        if allowed == 90:
            assert response.data == complete.data
        else:
            assert {it["extensions"]["code"] for it in response.errors} == {"LIMIT_EXCEEDED"}
    assert statements[1] == statements[0] + 1


async def test_a_walk_in_a_payload_sees_what_the_request_has_written(api: Api) -> None:
    await api.lineage("raw", "clean")
    query = """
      mutation ($input: RegisterLineageInput!) { registerLineage(input: $input) {
        link { source { downstream { nodes { label } } } target { upstream { nodes { label } } }
      } } }
    """
    ends = {"source": {"product": "raw"}, "target": {"product": "clean"}}
    link = (await api(query, input=ends)).data["registerLineage"]["link"]
    assert link["source"]["downstream"]["nodes"] == [{"label": "clean"}]
    assert link["target"]["upstream"]["nodes"] == [{"label": "raw"}]


PATHS = """
  query ($from: UUID!, $to: UUID!, $mode: LineagePathMode! = SHORTEST, $maxDepth: Int! = 20, $first: Int! = 10,
    $filter: LineageFilter,
    $asOf: DateTime) {
    lineagePaths(
      from: { uid: $from }, to: { uid: $to }, mode: $mode, maxDepth: $maxDepth, first: $first, filter: $filter, asOf: $asOf
    ) {
      exhaustive paths { confidence assets { label } links { id confidence source { label } target { label } } }
    }
  }
"""


def path_labels(found: dict[str, Any]) -> list[str]:
    return [" -> ".join(it["label"] for it in path["assets"]) for path in found["paths"]]


async def test_paths_from_one_asset_to_another(api: Api) -> None:
    uids = await api.lineage("raw -> a -> report", "raw -> b -> report", "raw -> c -> d -> report", "report -> raw")
    ends: dict[str, Any] = {"from": uids["raw"], "to": uids["report"]}
    shortest = (await api(PATHS, **ends)).data["lineagePaths"]
    assert path_labels(shortest) == ["raw -> a -> report", "raw -> b -> report"]
    assert shortest["exhaustive"]
    every = (await api(PATHS, **ends, mode="ALL")).data["lineagePaths"]
    assert path_labels(every) == ["raw -> a -> report", "raw -> b -> report", "raw -> c -> d -> report"]
    assert every["exhaustive"]
    assert [(it["source"]["label"], it["target"]["label"]) for it in every["paths"][2]["links"]] == [
        ("raw", "c"), ("c", "d"), ("d", "report"),
    ]  # fmt: skip
    one = (await api(PATHS, **ends, mode="ALL", first=1)).data["lineagePaths"]
    assert (path_labels(one), one["exhaustive"]) == (["raw -> a -> report"], False)
    assert path_labels((await api(PATHS, **ends, mode="ALL", maxDepth=2)).data["lineagePaths"]) == path_labels(shortest)
    back = (await api(PATHS, **{**ends, "from": uids["report"], "to": uids["a"]})).data["lineagePaths"]
    assert path_labels(back) == ["report -> raw -> a"]
    none = (await api(PATHS, **{**ends, "from": uids["a"], "to": uids["b"]}, maxDepth=1)).data["lineagePaths"]
    assert none == {"exhaustive": True, "paths": []}


async def test_paths_at_an_instant_and_by_confidence(api: Api) -> None:
    uids = await api.lineage("raw", "a", "report")
    await api.link("raw", "a", confidence=0.5)
    await api.link("a", "report", confidence=0.5, at=day(10))
    await api.link("a", "report", confidence=0.9, producer="dbt", at=day(20))
    ends: dict[str, Any] = {"from": uids["raw"], "to": uids["report"]}
    assert (await api(PATHS, **ends, asOf=iso(day(9)))).data["lineagePaths"] == {"exhaustive": True, "paths": []}
    (then,) = (await api(PATHS, **ends, asOf=iso(day(10)))).data["lineagePaths"]["paths"]
    (now,) = (await api(PATHS, **ends)).data["lineagePaths"]["paths"]
    assert (then["confidence"], now["confidence"]) == (0.25, 0.45)
    assert all(it["id"].endswith(f"@{iso(day(10))}") for it in then["links"])
    sure = (await api(PATHS, **ends, filter={"links": {"minConfidence": 0.6}})).data["lineagePaths"]
    assert sure["paths"] == []
    hidden = (await api(PATHS, **ends, filter={"assets": {"kinds": ["ENTITY"]}})).data["lineagePaths"]
    assert path_labels(hidden) == ["raw -> report"]
    assert len(hidden["paths"][0]["links"]) == 2


async def test_a_path_needs_both_ends_to_exist(api: Api) -> None:
    uids = await api.lineage("raw -> a")
    ends: dict[str, Any] = {"from": uids["raw"], "to": uids["a"]}
    assert (await api(PATHS, **{**ends, "to": str(uuid4())})).data == {"lineagePaths": None}
    assert (await api(PATHS, **ends, asOf=iso(day(-1)))).data == {"lineagePaths": None}
    assert (await api(PATHS, **{**ends, "to": uids["raw"]})).code_and_field == ("BAD_INPUT", "to")
    assert (await api(PATHS, **ends, maxDepth=101)).code_and_field == ("LIMIT_EXCEEDED", "maxDepth")
    assert (await api(PATHS, **ends, first=0)).code_and_field == ("BAD_INPUT", "first")
    assert (await api(PATHS, **ends, first=101)).code_and_field == ("LIMIT_EXCEEDED", "first")


DIFF = """
  query ($uid: UUID!, $direction: LineageDirection! = DOWNSTREAM, $from: DateTime!, $to: DateTime!, $maxDepth: Int! = 5,
    $filter: LineageFilter) {
    lineageDiff(of: { uid: $uid }, direction: $direction, from: $from, to: $to, maxDepth: $maxDepth, filter: $filter) {
      from to truncated { reason }
      addedAssets { label asOf } removedAssets { label asOf }
      addedLinks { target { label asOf } } removedLinks { target { label asOf } }
      changedLinks { before { confidence source { asOf } } after { confidence source { asOf } } }
    }
  }
"""


async def test_assets_and_links_that_were_added_removed_and_changed(api: Api) -> None:
    uids = await api.lineage("raw -> kept -> gone", "come", at=day(0))
    assert (await api(DELETE, input={"product": {"uid": uids["gone"]}, "at": iso(day(10))})).data
    await api.link("raw", "come", at=day(10))
    await api.link("raw", "kept", confidence=0.4, at=day(10))
    arguments: dict[str, Any] = {"uid": uids["raw"], "from": iso(day(5)), "to": iso(day(15))}
    assert (await api(DIFF, **arguments)).data["lineageDiff"] == {
        "from": iso(day(5)),
        "to": iso(day(15)),
        "truncated": None,
        "addedAssets": [{"label": "come", "asOf": iso(day(15))}],
        "removedAssets": [{"label": "gone", "asOf": iso(day(5))}],
        "addedLinks": [{"target": {"label": "come", "asOf": iso(day(15))}}],
        "removedLinks": [{"target": {"label": "gone", "asOf": iso(day(5))}}],
        "changedLinks": [
            {
                "before": {"confidence": 1, "source": {"asOf": iso(day(5))}},
                "after": {"confidence": 0.4, "source": {"asOf": iso(day(15))}},
            }
        ],
    }
    born = (await api(DIFF, **{**arguments, "from": iso(day(-1))})).data["lineageDiff"]
    assert [it["label"] for it in born["addedAssets"]] == ["kept", "come"]
    assert born["removedAssets"] == []
    same = (await api(DIFF, **{**arguments, "from": iso(day(11))})).data["lineageDiff"]
    assert (same["addedAssets"], same["removedLinks"], same["changedLinks"]) == ([], [], [])
    up = (await api(DIFF, **{**arguments, "uid": uids["come"], "direction": "UPSTREAM"})).data["lineageDiff"]
    assert [it["label"] for it in up["addedAssets"]] == ["raw"]
    assert (await api(DIFF, **{**arguments, "uid": str(uuid4())})).data == {"lineageDiff": None}
    assert (await api(DIFF, **{**arguments, "to": arguments["from"]})).code_and_field == ("BAD_INPUT", "to")
    assert (await api(DIFF, **arguments, maxDepth=0)).code_and_field == ("BAD_INPUT", "maxDepth")


@pytest.mark.parametrize(
    ("selection", "read", "left_out"),
    [
        ("links { type confidence }", [], ["metadata", "lineage_link i", "l.ctid = "]),
        ("links { id }", ["lineage_link i"], ["metadata", "l.ctid = "]),
        ("edges { links { metadata validTo } }", ["metadata", "valid_to"], ["lineage_link i", "transformation"]),
        ("links { source { label } }", [], ["metadata", "lineage_link i"]),
    ],
)
async def test_links_are_read_with_the_selected_columns(api: Api, selection: str, read: list[str], left_out: list[str]) -> None:
    await api.lineage("raw -> clean -> report")
    api.statements.clear()
    assert (await api('{ product(name: "raw") { downstream { %s } } }' % selection)).data  # noqa: UP031
    (statement,) = (it for it in api.statements.executed if "AS row_ctid" in it)
    assert [it for it in read if it not in statement] == []
    assert [it for it in left_out if it in statement] == []
