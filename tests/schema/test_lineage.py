"""Walks through GraphQL: what is reached, page by page, at any instant, and in how many statements."""

from typing import Any

import pytest

from tests.builders import Api

pytestmark = pytest.mark.api

WALK = """
  query ($name: String!, $maxDepth: Int! = 5, $filter: LineageFilter, $first: Int! = 100, $after: String, $asOf: DateTime) {
    product(name: $name, asOf: $asOf) { downstream(maxDepth: $maxDepth, filter: $filter, first: $first, after: $after) {
      edges { cursor depth confidence node { id label asOf } }
      nodes { uid }
      links { id source { id label } target { id label } confidence }
      totalCount byDepth { depth count } cycles truncated { reason limit }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    } }
  }
"""


async def walk(api: Api, name: str, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api(WALK, name=name, **arguments)).data["product"]["downstream"]
    return found


def reached(connection: dict[str, Any]) -> dict[str, int]:
    return {edge["node"]["label"]: edge["depth"] for edge in connection["edges"]}


async def test_a_walk_reaches_each_asset_once_at_its_shortest_depth(api: Api) -> None:
    await api.lineage("raw -> clean -> report", "raw -> copy -> report", "raw -> report -> mail")
    found = await walk(api, "raw")
    assert reached(found) == {"clean": 1, "copy": 1, "report": 1, "mail": 2}
    assert found["totalCount"] == 4
    assert found["byDepth"] == [{"depth": 1, "count": 3}, {"depth": 2, "count": 1}]
    assert sorted((it["source"]["label"], it["target"]["label"]) for it in found["links"]) == [
        ("clean", "report"), ("copy", "report"), ("raw", "clean"), ("raw", "copy"), ("raw", "report"), ("report", "mail"),
    ]  # fmt: skip
    assert found["cycles"] == []
    assert found["truncated"] is None
