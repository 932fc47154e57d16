"""Counts of upstream and downstream assets through GraphQL: at an instant, in pages, within bounds, and their cost."""

from typing import Any

import pytest

from graph_api.auth.principals import OPEN_PRINCIPAL
from graph_api.settings import Settings
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.root import schema
from tests.builders import Api, day, iso
from tests.db.plans import row_counts

pytestmark = pytest.mark.api

COUNTS = """
  query ($name: String!, $maxDepth: Int! = 1, $asOf: DateTime) {
    product(name: $name, asOf: $asOf) { upstreamCount(maxDepth: $maxDepth) downstreamCount(maxDepth: $maxDepth) }
  }
"""
PAGE = """
  query ($first: Int!) { products(first: $first) { nodes { name upstreamCount downstreamCount
    upstream(maxDepth: 1) { totalCount } downstream(maxDepth: 1) { totalCount } } } }
"""


async def counts(api: Api, name: str, **arguments: Any) -> tuple[int, int]:
    product = (await api(COUNTS, name=name, **arguments)).data["product"]
    return product["upstreamCount"], product["downstreamCount"]


async def test_counts_are_those_of_assets(api: Api) -> None:
    await api.lineage("raw -> mid -> report -> mail", "copy -> mid", "mail -> report")
    # a link of another producer leads to no other asset
    await api.link("raw", "mid", producer="dbt")
    assert await counts(api, "mid") == (2, 1)
    assert await counts(api, "raw") == (0, 1)
    assert await counts(api, "report") == (2, 1)
    assert await counts(api, "raw", maxDepth=2) == (0, 2)
    assert await counts(api, "mail", maxDepth=100) == (4, 1)


async def test_counts_are_those_of_the_instant_of_the_asset(api: Api) -> None:
    await api.lineage("raw", "a", "b")
    await api.link("raw", "a", at=day(10))
    await api.link("a", "b", at=day(20))
    assert await counts(api, "a", asOf=iso(day(9))) == (0, 0)
    assert await counts(api, "a", asOf=iso(day(10))) == (1, 0)
    assert await counts(api, "raw", maxDepth=5, asOf=iso(day(19))) == (0, 1)
    assert await counts(api, "raw", maxDepth=5) == (0, 2)
    assert (await api.update("a", owner="bo", at=day(15))).data
    query = '{ product(name: "a") { history { nodes { asset { upstreamCount downstreamCount } } } } }'
    versions = (await api(query)).data["product"]["history"]["nodes"]
    assert [(it["asset"]["upstreamCount"], it["asset"]["downstreamCount"]) for it in versions] == [(0, 0), (1, 0)]


async def test_counts_of_a_page_take_one_statement_and_are_those_of_walks(api: Api) -> None:
    await api.lineage(*(f"a{number % 3} -> b{number} -> c{number % 2}" for number in range(12)))
    for first in (1, 50):
        api.statements.clear()
        nodes = await api(
            "query ($first: Int!) { products(first: $first) { nodes { upstreamCount downstreamCount } } }", first=first
        )
        assert nodes.data
        assert len(api.statements) == 1
    for node in (await api(PAGE, first=50)).data["products"]["nodes"]:
        assert (node["upstreamCount"], node["downstreamCount"]) == (
            node["upstream"]["totalCount"],
            node["downstream"]["totalCount"],
        )
    api.statements.clear()
    deeper = "{ products { nodes { upstreamCount(maxDepth: 3) upstream(maxDepth: 3) { totalCount } } } }"
    for node in (await api(deeper)).data["products"]["nodes"]:
        assert node["upstreamCount"] == node["upstream"]["totalCount"]
    # one walk for the count and the connection
    assert len(api.statements) == 2


# Operations with counts, their statements, and True if rows of assets carry the counts.
CARRIED = (
    ("{ products { nodes { name upstreamCount } totalCount } }", 2, True),
    ('{ product(name: "raw") { downstreamCount downstream(maxDepth: 1) { nodes { downstreamCount } } } }', 1, True),
    ('{ asset(ref: { product: "a" }) { upstreamCount } }', 1, True),
    ('{ search(text: "raw") { edges { node { upstreamCount downstreamCount } } } }', 1, True),
    ("{ entities { nodes { upstreamCount } } }", 1, True),
    # the assets below have no count, nor have entities here
    ('{ product(name: "raw") { downstreamCount downstream(maxDepth: 1) { nodes { uid } } } }', 3, False),
    ('{ asset(ref: { product: "a" }) { ... on Product { upstreamCount } } }', 2, False),
)


@pytest.mark.parametrize(("query", "statements", "are_carried"), CARRIED)
async def test_rows_carry_counts_where_all_objects_read_them(api: Api, query: str, statements: int, *, are_carried: bool) -> None:
    await api.put_types()
    await api.lineage("raw -> a -> b")
    await api.create("Ann raw")
    api.statements.clear()
    carried = (await api(query)).data
    assert len(api.statements) == statements
    assert any("count(DISTINCT" in it and "is_upstream" not in it for it in api.statements.executed) == are_carried
    # an argument has them counted separately
    assert carried == (await api(query.replace("streamCount", "streamCount(maxDepth: 1)"))).data


async def test_a_mutation_returns_counts(api: Api) -> None:
    uids = await api.lineage("raw -> a", "raw -> b")
    rename = """mutation ($product: ProductRef!) {
      updateProduct(input: { product: $product, owner: "bo" }) { product { upstreamCount downstreamCount } }
    }"""
    for product in ({"name": "raw"}, {"uid": uids["raw"]}):
        updated = (await api(rename, product=product)).data["updateProduct"]["product"]
        assert updated == {"upstreamCount": 0, "downstreamCount": 2}


async def test_a_count_that_would_be_cut_is_an_error(api: Api) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(8)), "t0 -> u")
    for settings, max_depth, exact in (
        ({"max_lineage_links": 8}, 1, 8),
        ({"max_lineage_links": 7}, 1, None),
        ({"max_lineage_assets": 9}, 2, 9),
        ({"max_lineage_assets": 8}, 2, None),
        ({"max_lineage_links": 8}, 2, None),
        ({"lineage_timeout": 1e-6}, 2, None),
    ):
        executor = Executor(schema, api.database, Settings(**settings).limits)
        variables = {"name": "raw", "maxDepth": max_depth}
        response = await executor.execute(Request(COUNTS, variables), OPEN_PRINCIPAL, "request")
        assert response.data is not None
        assert response.data["product"]["downstreamCount"] == exact
        faults = [(it["extensions"]["code"], it["extensions"]["field"], it["path"][-1]) for it in response.errors]
        at_most = [("LIMIT_EXCEEDED", "maxDepth", "downstreamCount")]
        # no time is left for the count upstream, either
        assert [it for it in faults if it[2] == "downstreamCount"] == ([] if exact else at_most)


@pytest.mark.parametrize(("most", "exact"), [(3, 3), (2, None)])
async def test_a_count_that_a_row_carries_has_the_same_bound(api: Api, most: int, exact: int | None) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(3)))
    executor = Executor(schema, api.database, Settings(max_lineage_links=most).limits)
    query = "{ products { nodes { name downstreamCount } } }"
    response = await executor.execute(Request(query, {}), OPEN_PRINCIPAL, "request")
    assert response.data is not None
    counted = {it["name"]: it["downstreamCount"] for it in response.data["products"]["nodes"]}
    assert counted == {"raw": exact, "t0": 0, "t1": 0, "t2": 0}
    assert [it["extensions"]["code"] for it in response.errors] == ([] if exact else ["LIMIT_EXCEEDED"])


@pytest.mark.parametrize(("max_depth", "fault"), [(0, "BAD_INPUT"), (101, "LIMIT_EXCEEDED")])
async def test_a_depth_out_of_range_is_refused(api: Api, max_depth: int, fault: str) -> None:
    await api.register("raw")
    query = f'{{ product(name: "raw") {{ upstreamCount(maxDepth: {max_depth}) }} }}'
    assert (await api(query)).code_and_field == (fault, "maxDepth")


async def test_what_counts_cost(api: Api) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(30)))
    page = "{ products(first: 100) { nodes { upstreamCount downstreamCount } } }"
    # without figures, 20 000 links at each asset, fifty for one; then few
    executor = Executor(schema, api.database, Settings().limits)
    response = await executor.execute(Request(page, {}), OPEN_PRINCIPAL, "request")
    assert response.cost is not None
    assert response.cost.requested == 1 + 100 * (1 + 2 * 400)
    await api.know_figures()
    cost = (await api(page)).body["extensions"]["cost"]
    # 60 links were read
    assert (cost["requested"], cost["actual"]) == (1 + 31, 1 + 31 + 60 // 50)
    deep = (await api(page.replace("Count", "Count(maxDepth: 3)"))).body["extensions"]["cost"]
    # each link is walked from both of its ends
    assert deep["actual"] == 1 + 31 + 60
    assert 1 + 31 < deep["requested"] < 5_000


async def test_a_count_reads_no_more_links_than_its_bound(api: Api) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(30)))
    executor = Executor(schema, api.database, Settings(max_lineage_links=4).limits)
    with row_counts(api.database) as counted:
        await executor.execute(Request('{ product(name: "raw") { downstreamCount } }', {}), OPEN_PRINCIPAL, "request")
    assert counted.rows_of("lineage_link_effective") == 5
