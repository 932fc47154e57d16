"""A product and the walks from it come with one statement, and the answer is that of separate statements."""

from typing import Any

import pytest

from db.errors import Timeout, Unavailable
from schema.planning.planner import Planner
from tests.builders import Api

pytestmark = pytest.mark.api

ONE_LEVEL = "maxDepth: 1, first: 2"
SELECTIONS = [
    "upstream { nodes { label } }",
    "downstream { nodes { uid validFrom ... on Product { owner schema } } totalCount }",
    "upstream(first: 2) { edges { cursor depth node { id label } } pageInfo { hasNextPage endCursor } byDepth { count } }",
    "downstream(maxDepth: 1) { nodes { __typename asOf } truncated { reason } }",
    "upstreamCount downstreamCount upstream { nodes { label upstreamCount downstreamCount } }",
    "downstream { nodes { kind typeLabel key description owner url tags domain { name } ... on Entity { details { value } } } }",
    "name label downstream(first: 1, maxDepth: 3) { nodes { label } edges { depth } totalCount }",
    "upstream(maxDepth: 1) { nodes { label upstream(maxDepth: 1, first: 1) { nodes { label } totalCount } } }",
    "downstream(first: 2) { nodes { label ... on Product { upstream(maxDepth: 1) { edges { cursor node { label asOf } } } } } }",
    "upstream(first: 3) { edges { node { label"
    f" downstream({ONE_LEVEL}) {{ nodes {{ id upstream({ONE_LEVEL}) {{ nodes {{ uid }} }} }} }} }} }} }}",
]
# The beginning of a walk to one asset.
FIRST = "upstream(first: 1) { nodes {"
# Selections that need more than the assets of the walk.
OTHERS = [
    "upstreamCount upstream { nodes { label } }",
    "upstream { nodes { label upstreamCount(maxDepth: 2) } }",
    "upstream { nodes { label upstream { totalCount } } }",
    "upstream { nodes { label upstream { nodes { label } } } }",
    f"{FIRST} {FIRST} {FIRST} {FIRST} {FIRST} uid }} }} }} }} }} }} }} }} }} }}",
    "upstream(first: 2) { nodes { a: upstream { nodes { uid } } b: upstream { nodes { uid } } } }",
    "upstream(first: 2) { nodes { ... on Product { upstream { nodes { uid } } } ... on Entity { downstream { totalCount } } } }",
    f"upstream(first: 2) {{ nodes {{ uid upstream({ONE_LEVEL}) {{ nodes {{ uid }} }}"
    f" ... on Entity {{ upstream({ONE_LEVEL}) {{ cycles }} }} }} }}",
    "upstream(filter: { links: { minConfidence: 0.5 } }) { nodes { label } }",
    "upstream { nodes { label } } downstream { nodes { label } }",
    "upstream { edges { node { label } links { type } } }",
    "upstream { totalCount }",
    "domain { products { nodes { name } } } upstream { nodes { label } }",
]
GRAPH = ["raw -> clean", "clean -> daily", "clean -> weekly", "daily -> board", "weekly -> board", "board -> clean"]


async def asked(api: Api, selection: str, **arguments: str) -> tuple[dict[str, Any], int]:
    """Return the answer of a walk from each product, and the number of statements."""
    bodies, statements = {}, 0
    for name in ("raw", "clean", "board", "absent"):
        given = "".join(f', {key}: "{value}"' for key, value in arguments.items())
        api.statements.clear()
        bodies[name] = (await api(f'{{ product(name: "{name}"{given}) {{ {selection} }} }}')).body
        statements += len(api.statements)
    return bodies, statements


def without_request(bodies: dict[str, Any]) -> list[Any]:
    return [(body["data"], body.get("errors"), body["extensions"]["cost"]) for body in bodies.values()]


@pytest.fixture
async def graph(api: Api) -> Api:
    await api.lineage(*GRAPH)
    await api.know_figures()
    return api


@pytest.mark.parametrize("selection", SELECTIONS)
async def test_one_statement_gives_the_answer_of_several(graph: Api, selection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_of = (await graph('{ now: product(name: "raw") { asOf } }')).data["now"]["asOf"]
    fused, statements = await asked(graph, selection, asOf=as_of)
    assert statements == 4
    planner = Planner.plan

    def without_prefetch(*arguments: Any) -> Any:
        plan = planner(*arguments)
        plan.prefetch = None
        return plan

    monkeypatch.setattr(Planner, "plan", without_prefetch)
    # another text is another document, which is planned anew
    separate, statements = await asked(graph, f"{selection} ", asOf=as_of)
    assert statements > 4
    assert without_request(fused) == without_request(separate)


@pytest.mark.parametrize("selection", OTHERS)
async def test_other_selections_have_separate_statements(graph: Api, selection: str) -> None:
    bodies, statements = await asked(graph, selection)
    assert statements > 4
    assert not [it for it in bodies.values() if "errors" in it]


async def test_a_failure_of_the_statement_is_that_of_the_walk_alone(graph: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise Timeout("The database took longer than a request may.")

    monkeypatch.setattr("schema.assets.product_walks.walks_from_product", fail)
    monkeypatch.setattr("schema.lineage.walk.FIRST_PAGE_OF_WALK._find", fail)
    body = (await graph('{ product(name: "clean") { name upstream { nodes { label } } } }')).body
    assert body["data"] == {"product": {"name": "clean", "upstream": None}}
    assert [it["path"] for it in body["errors"]] == [["product", "upstream"]]


async def test_without_a_connection_the_product_is_null_at_once(graph: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("Every connection to the database is in use. Try again in a moment.")

    monkeypatch.setattr("schema.assets.product_walks.walks_from_product", fail)
    graph.statements.clear()
    response = await graph('{ found: product(name: "clean") { name upstream { nodes { label } } } }')
    assert response.body["data"] == {"found": None}
    assert (response.error["path"], response.error["extensions"]["code"]) == (["found"], "UNAVAILABLE")
    assert len(graph.statements) == 0


async def test_arguments_out_of_range_are_rejected_as_before(graph: Api) -> None:
    for arguments in ("first: -1", "first: 100000", "maxDepth: 0", "maxDepth: 100000"):
        body = (await graph(f'{{ product(name: "clean") {{ name upstream({arguments}) {{ nodes {{ label }} }} }} }}')).body
        assert body["data"] == {"product": {"name": "clean", "upstream": None}}
        assert [it["path"] for it in body["errors"]] == [["product", "upstream"]]
