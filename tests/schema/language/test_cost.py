"""The estimated cost of an operation, and its actual cost."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    parse,
)
from strawberry.federation.schema_directives import Cost, ListSize

from db.lineage.walk import Bounds
from graph_api.graphiql.examples import EXAMPLES
from schema.execution.executor import Executor
from schema.execution.operation import OperationCost, Request, Response
from schema.execution.principal import Principal
from schema.language.cost_estimator import CostEstimate, CostEstimator
from schema.language.cost_model import CostModel, returns_list
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import Api

TYPES = {
    name: it
    for name, it in schema._schema.type_map.items()
    if isinstance(it, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("_")
}


def directive_of(field: Any, type_: type) -> Any:
    definition = field.extensions.get("strawberry-definition")
    return next((it for it in definition.directives if isinstance(it, type_)), None) if definition else None


def estimated(query: str, limits: Limits | None = None, /, **variables: Any) -> int:
    return estimate(query, limits, **variables).requested


def estimate(query: str, limits: Limits | None = None, /, **variables: Any) -> CostEstimate:
    document = parse(query)
    operation = next(it for it in document.definitions if isinstance(it, OperationDefinitionNode))
    return CostEstimator(CostModel(schema._schema, limits or Limits())).estimate(operation, document, variables, {})


def test_every_list_of_objects_has_a_size() -> None:
    unsized = []
    for name, graphql_type in TYPES.items():
        for field_name, field in graphql_type.fields.items():
            if returns_list(field.type) and not is_leaf_type(get_named_type(field.type)) and field_name != "_entities":
                sizes_above = [
                    directive_of(it, ListSize)
                    for owner in TYPES.values()
                    for it in owner.fields.values()
                    if get_named_type(it.type) is graphql_type
                ]
                sized_above = bool(sizes_above) and all(it and field_name in (it.sized_fields or ()) for it in sizes_above)
                own = directive_of(field, ListSize)
                if (own is None or own.sized_fields) and not sized_above:
                    unsized.append(f"{name}.{field_name}")
    assert unsized == []


def test_every_mutation_declares_its_cost() -> None:
    assert [name for name, it in TYPES["Mutation"].fields.items() if directive_of(it, Cost) is None] == []


@pytest.mark.parametrize(
    ("query", "variables", "cost"),
    [
        ("{ __typename __schema { types { fields { name } } } }", {}, 0),
        ('{ product(name: "a") { name domain { name } } }', {}, 2),
        # the connection, and a page of products with their domains
        ("{ products { nodes { domain { name } } totalCount } }", {}, 1 + 50 * 2),
        ("{ products(first: 7) { edges { node { name } } pageInfo { hasNextPage } } }", {}, 1 + 7 * 2 + 1),
        ("{ products(last: 7, first: null) { nodes { name } } }", {}, 1 + 7),
        ("query ($n: Int) { products(first: $n) { nodes { name } } }", {"n": 3}, 1 + 3),
        ("query ($n: Int) { products(first: $n) { nodes { name } } }", {"n": None}, 1 + 50),
        ("query ($n: Int = 4) { products(first: $n) { nodes { name } } }", {}, 1 + 4),
        ('{ product(name: "a") { upstream { nodes { label } } } }', {}, 1 + 5_000 + 100),
        ('{ product(name: "a") { upstream(first: 5) { links { source { label } } } } }', {}, 1 + 5_000 + 5_000 + 5 * 2),
        ('{ product(name: "a") { upstream(first: 5) { edges { depth } } } }', {}, 1 + 5_000 + 5),
        # links, confidences and cycles each read the links among the assets once, however many edges the page has
        ('{ product(name: "a") { upstream(first: 5) { edges { confidence } cycles } } }', {}, 1 + 5_000 + 2 * 5_000 + 5),
        ('{ product(name: "a") { upstream(first: 5) { ...E ...E } } }'
         " fragment E on LineageConnection { edges { links { uid } } }", {},
         1 + 5_000 + 2 * (5_000 + 5 * (1 + 5))),
        ("{ products(first: 2) { ...F } } fragment F on ProductConnection { nodes { ...G } }"
         " fragment G on Asset { history { nodes { id } } }", {}, 1 + 2 * (1 + 1 + 50)),
        ('{ nodes(ids: ["a", "b"]) { id } }', {}, 2),
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["a"] * 9}, 9),
        ("query ($r: [_Any!]!) { _entities(representations: $r) { __typename } }", {"r": [{}] * 4}, 4),
        ('{ entity(ref: { uid: "a" }) { details(types: ["x", "y"]) { value } detail(type: "x") } }', {}, 1 + 2),
        ("query ($x: Boolean!) { products @include(if: $x) { totalCount } domains { nodes { name } } }", {"x": False}, 51),
        ("query ($x: Boolean!) { products @skip(if: $x) { totalCount } domains { nodes { name } } }", {"x": False}, 52),
        ('{ diff(from: "2026-01-01", to: "2026-02-01", first: 3) { nodes { kind } } }', {}, 1 + 3 + 50_000),
        ("{ analytics { domains { products } } }", {}, 1 + 50 + 50_000),
        ('{ products(search: "abc", first: 3) { nodes { name } } }', {}, 1 + 3 + 5_000),
        ('{ products(search: "ab", first: 3) { nodes { name } } }', {}, 1 + 3 + 50_000),
        ("query ($s: String) { products(search: $s) { totalCount } }", {}, 1),
        ("query ($s: String) { products(search: $s) { totalCount } }", {"s": None}, 1),
        ("query ($s: String) { products(search: $s) { totalCount } }", {"s": "abc"}, 1 + 5_000),
        ("query ($s: String) { products(search: $s) { totalCount } }", {"s": "  a  "}, 1 + 50_000),
        # the index finds words by three of their characters
        ('{ products(search: "a-b") { totalCount } }', {}, 1 + 50_000),
        ('{ products(search: "ab-cd ef") { totalCount } }', {}, 1 + 50_000),
        ('{ products(search: "----") { totalCount } }', {}, 1 + 50_000),
        ('{ products(search: "a-b0c") { totalCount } }', {}, 1 + 5_000),
        ("query ($s: String) { products(search: $s) { totalCount } }", {"s": "日本語"}, 1 + 50_000),
        ("{ products(orderBy: { field: OWNER }, first: 3) { nodes { name } } }", {}, 1 + 3),
        ("{ products(orderBy: { field: VERSION }, first: 3) { nodes { name } } }", {}, 1 + 3 + 50_000),
        ('{ entities(search: "abc", orderBy: { field: OWNER }, first: 3) { nodes { label } } }', {}, 1 + 3 + 5_000 + 50_000),
        ("query ($o: EntityOrder!) { entities(orderBy: $o) { totalCount } }", {"o": {"field": "DOMAIN"}}, 1 + 50_000),
        ("query ($o: EntityOrder!) { entities(orderBy: $o) { totalCount } }", {"o": {"field": "KEY", "direction": "DESC"}}, 1),
        ("query ($o: EntityOrder = { field: OWNER }) { entities(orderBy: $o) { totalCount } }", {}, 1 + 50_000),
        ("query ($f: ProductOrderField!) { products(orderBy: { field: $f }) { totalCount } }", {"f": "STATUS"}, 1 + 50_000),
        ("query ($f: ProductOrderField!) { products(orderBy: { field: $f }) { totalCount } }", {"f": "NAME"}, 1),
        ("{ analytics { lineage { mostUpstream(first: 3) { degree } } } }", {}, 1 + 1 + 50_000 + 3),
        ('mutation { deleteProduct(input: { product: { name: "a" } }) { uid } }', {}, 50),
    ],
)  # fmt: skip
def test_the_cost_of_an_operation(query: str, variables: dict[str, Any], cost: int) -> None:
    assert estimated(query, **variables) == cost


def test_the_cost_of_walks_and_pages_follows_the_limits() -> None:
    assert estimated('{ product(name: "a") { upstream { totalCount } } }', Limits(walk_bounds=Bounds(assets=70))) == 71
    assert estimated("{ products { nodes { name } } }", Limits(page_size=20)) == 21


@pytest.mark.parametrize("first", [True, False])
def test_cached_estimates_depend_on_the_variables_that_influence_them(first: bool) -> None:
    document = parse("query ($n: Int, $x: Boolean!) { products(first: $n) @include(if: $x) { nodes { name } } }")
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    estimator, cache = CostEstimator(CostModel(schema._schema, Limits())), {}  # type: ignore[var-annotated]
    for n, x, cost in [(2, first, 3), (9, True, 10), (9, False, 0), (2, True, 3), (1, True, 2), (2, True, 3)]:
        if x or not first:
            expected = cost if x else 0
            assert estimator.estimate(operation, document, {"n": n, "x": x}, cache).requested == expected


@pytest.mark.parametrize("argument", ["$o", "{ field: $f }"])
def test_cached_estimates_depend_on_the_order(argument: str) -> None:
    document = parse(f"query ($o: ProductOrder, $f: ProductOrderField) {{ products(orderBy: {argument}) {{ totalCount }} }}")
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    estimator, cache = CostEstimator(CostModel(schema._schema, Limits())), {}  # type: ignore[var-annotated]
    for field, cost in [("NAME", 1), ("STATUS", 50_001), ("NAME", 1), ("VERSION", 50_001), ("OWNER", 1)]:
        variables = {"o": {"field": field}, "f": field}
        assert estimator.estimate(operation, document, variables, cache).requested == cost


def test_the_cost_of_a_random_query_equals_that_of_its_expansion() -> None:
    rng = random.Random(7)
    for _ in range(300):
        query = RandomQuery(rng).text()
        document = parse(query)
        operation, *fragments = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        by_name = {it.name.value: it for it in fragments if isinstance(it, FragmentDefinitionNode)}
        assert estimated(query) == naive(operation.selection_set, "Query", by_name, None), query


class RandomQuery:
    """Random query on the schema of the service, with pages of any size and with fragments."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._fragments: dict[str, str] = {}

    def text(self) -> str:
        return " ".join([self._selection("Query", 5), *self._fragments.values()])

    def _selection(self, type_name: str, depth: int) -> str:
        graphql_type = TYPES[type_name]
        parts = ["__typename"]
        names = [it for it in graphql_type.fields if not it.startswith("_")]
        for name in self._rng.sample(names, min(len(names), 3)):
            field, inner = graphql_type.fields[name], get_named_type(graphql_type.fields[name].type).name
            sizes = [it for it in ("first", "last") if it in field.args and self._rng.random() < 0.4]
            arguments = f"({', '.join(f'{it}: {self._rng.randint(1, 90)}' for it in sizes[:1])})" if sizes else ""
            if inner not in TYPES:
                parts.append(name)
            elif depth:
                parts.append(f"{name}{arguments} {self._selection(inner, depth - 1)}")
        if depth and self._rng.random() < 0.4:
            fragment = f"F{len(self._fragments)}"
            self._fragments[fragment] = ""
            self._fragments[fragment] = f"fragment {fragment} on {type_name} {self._selection(type_name, depth - 1)}"
            parts += [f"...{fragment}"] * self._rng.randint(1, 2)
        return f"{{ {' '.join(parts)} }}"


# What fields cost that read all rows of a tenant, whatever they return.
SCANS = {
    ("Query", "diff"): 50_000,
    ("Query", "search"): 600,
    ("SearchConnection", "facets"): 600,
    ("Analytics", "domains"): 50_000,
    ("Analytics", "lineage"): 50_000,
    ("LineageStats", "longestPath"): 50_000,
    ("LineageStats", "cycles"): 50_000,
}


def naive(selected: SelectionSetNode, type_name: str, fragments: Any, page: tuple[int, list[str]] | None) -> int:
    """Return the cost by its definition, with fragments expanded. `page` has the length and sized fields of the field above."""
    total = 0
    for node, type_ in fields_of(selected, type_name, fragments):
        field = TYPES[type_].fields[node.name.value]
        inner = get_named_type(field.type)
        # an interface declares no cost; the types that implement it do
        costed = TYPES["Product"].fields[node.name.value] if type_ == "Asset" else field
        size, cost = directive_of(field, ListSize), directive_of(costed, Cost)
        if reads_links_of_walk(type_, node.name.value):
            cost = None
        if (type_, node.name.value) in SCANS:
            # a scan, once for all that the field returns
            total, cost = total + SCANS[type_, node.name.value], None
        requested = [int(it.value.value) for it in node.arguments or () if it.name.value in ("first", "last")]  # type: ignore[attr-defined]
        count, below = 1, None
        if size is not None:
            length = requested[0] if requested else size.assumed_size or field.args["first"].default_value
            count, below = (1, (length, size.sized_fields)) if size.sized_fields else (length, None)
        elif page is not None and node.name.value in page[1]:
            count = page[0]
        weight = cost.weight if cost else 0 if is_leaf_type(inner) else 1
        if inner.name in ("LineageConnection", "LineageBetween") and node.selection_set is not None:
            weight += 5_000 * link_reads(node.selection_set, inner.name, fragments)
        total += count * (weight + (naive(node.selection_set, inner.name, fragments, below) if node.selection_set else 0))
    return total


def fields_of(selected: SelectionSetNode, type_name: str, fragments: Any) -> Iterator[tuple[FieldNode, str]]:
    """Yield the fields of a selection with their types, those of fragments included."""
    for node in selected.selections:
        if isinstance(node, FragmentSpreadNode):
            fragment = fragments[node.name.value]
            yield from fields_of(fragment.selection_set, fragment.type_condition.name.value, fragments)
        elif isinstance(node, InlineFragmentNode):
            raise AssertionError("RandomQuery has no inline fragments")
        elif isinstance(node, FieldNode) and node.name.value != "__typename":
            yield node, type_name


def reads_links_of_walk(type_name: str, field: str) -> bool:
    """True if a field reads the links among the assets of the walk above it."""
    return (type_name, field) in {
        ("LineageConnection", "links"),
        ("LineageConnection", "cycles"),
        ("LineageBetween", "links"),
        ("LineageEdge", "links"),
        ("LineageEdge", "confidence"),
    }


def link_reads(selected: SelectionSetNode, type_name: str, fragments: Any) -> int:
    """Return how often a selection reads the links of the walk above it."""
    reads = 0
    for node, type_ in fields_of(selected, type_name, fragments):
        reads += reads_links_of_walk(type_, node.name.value)
        if (type_, node.name.value) == ("LineageConnection", "edges") and node.selection_set is not None:
            reads += link_reads(node.selection_set, "LineageEdge", fragments)
    return reads


def objects(value: Any) -> int:
    """Return the number of objects in a result."""
    if isinstance(value, list):
        return sum(map(objects, value))
    return 1 + sum(map(objects, value.values())) if isinstance(value, dict) else 0


ACTUAL = """{
  products(first: 20) { nodes { name domain { name } fields { name } } pageInfo { hasNextPage } }
  entities(first: 20) { edges { node { label type { code domain { name } source { service } } } } }
  lineageLinks(first: 20) { nodes { source { label ... on Product { domain { name } } } target { __typename id } } }
  product(name: "customers") { history { nodes { changed { field } } } }
  nothing: product(name: "there is none") { name }
}"""


async def test_the_actual_cost_counts_the_objects_of_the_result(demo_api: Api) -> None:
    body = (await demo_api(ACTUAL)).body
    assert body["extensions"]["cost"]["actual"] == objects(body["data"]) - 1
    assert body["extensions"]["cost"]["requested"] == estimated(ACTUAL)


async def test_the_actual_cost_counts_each_distinct_walk_once(demo_api: Api) -> None:
    walk = "upstream(maxDepth: 20, filter: { assets: { kinds: [ENTITY] } }) { totalCount }"
    whole = (await demo_api('{ product(name: "board_pack") { upstream(maxDepth: 20) { totalCount } } }')).data
    body = (await demo_api(f'{{ product(name: "board_pack") {{ a: {walk} b: {walk} }} }}')).body
    assert body["data"]["product"]["a"]["totalCount"] < whole["product"]["upstream"]["totalCount"]
    assert body["extensions"]["cost"]["actual"] == 3 + whole["product"]["upstream"]["totalCount"]


@pytest.mark.parametrize(
    ("query", "variables", "reads"),
    [
        ("{ a: analytics { ...F } b: analytics { ...F } } fragment F on Analytics { x: domains { products } lineage { links } }",
         {}, 2 * 2 * 50_000),
        ("{ a: analytics { ...F } b: analytics @skip(if: true) { ...F } } fragment F on Analytics { domains { products } }",
         {}, 50_000),
        ("query ($x: Boolean!) { analytics { domains @include(if: $x) { products } } }", {"x": False}, 0),
        ("query ($x: Boolean!) { analytics { ...F @include(if: $x) } } fragment F on Analytics { domains { products } }",
         {"x": True}, 50_000),
        # a list in an argument is charged once, however often its field runs
        ("query ($t: [String!]) { products { nodes { ...F } } }"
         " fragment F on Product { relationships(types: $t) { totalCount } }", {"t": ["t"] * 30}, 3),
        ("query ($t: [String!]) { a: products(filter: { tags: $t }) { totalCount } products(filter: { tags: $t })"
         " @skip(if: true) { totalCount } }", {"t": ["t"] * 30}, 3),
    ],
)  # fmt: skip
def test_reads_are_charged_as_often_as_they_are_selected(query: str, variables: dict[str, Any], reads: int) -> None:
    assert estimate(query, **variables).reads == reads


async def test_an_operation_beyond_the_limit_is_refused_before_it_runs(api: Api) -> None:
    query = "{ products(first: 100) { nodes { upstream(first: 1000) { nodes { upstream(first: 1000) { nodes { label } } } } } } }"
    # without figures of the tenant it costs what the schema announces
    executor = Executor(schema, api.database)
    api.statements.clear()
    response = await executor.execute(Request(query), Principal(1, "ann", frozenset(Scope)), "request")
    assert len(api.statements) == 0
    assert response.cost == OperationCost(600_600_101, 0, 1_000_000)
    assert response.errors[0]["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert "600600101" in response.errors[0]["message"]
    assert "At most 1000000" in response.errors[0]["message"]
    assert not response.ran


async def test_an_operation_at_the_limit_runs_and_one_above_does_not(api: Api) -> None:
    principal = Principal(1, "ann", frozenset(Scope))
    for limit, codes in ((51, []), (50, ["LIMIT_EXCEEDED"])):
        executor = Executor(schema, api.database, Limits(cost=limit))
        response = await executor.execute(Request("{ products { nodes { name } } }"), principal, "request")
        assert [it["extensions"]["code"] for it in response.errors] == codes


async def test_the_actual_cost_includes_the_declared_cost_of_a_mutation(api: Api) -> None:
    query = 'mutation { putDetailType(input: { code: "a", label: "A" }) { detailType { code } } }'
    assert (await api(query)).body["extensions"]["cost"] == {"requested": 11, "actual": 11, "limit": 1_000_000}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda it: it.name)
def test_an_example_is_within_the_limit(example: Any) -> None:
    assert 0 < estimated(example.query) < 1_000_000


async def test_walks_below_a_list_longer_than_assumed_fail_at_the_limit(api: Api) -> None:
    # the asset reached last feeds all others, so its edge has eight links, and five are assumed
    await api.lineage(*(f"last -> {name} -> report" for name in "abcdefgh"))
    limits = Limits(cost=700, walk_bounds=Bounds(assets=100, links=20))
    executor = Executor(schema, api.database, limits)

    async def upstream(arguments: str, selected: str) -> tuple[str, Response]:
        query = f'{{ product(name: "report") {{ upstream({arguments}) {{ {selected} }} }} }}'
        return query, await executor.execute(Request(query), Principal(1, "ann", frozenset(Scope)), "request")

    _, page = await upstream("first: 8", "pageInfo { endCursor }")
    assert page.data is not None
    after = page.data["product"]["upstream"]["pageInfo"]["endCursor"]
    query, response = await upstream(f'first: 1, after: "{after}"', "edges { links { target { upstream { totalCount } } } }")
    # one walk from the report, and five for the links that are assumed
    assert 600 < estimated(query, limits) <= 700
    assert response.data is not None
    (edge,) = response.data["product"]["upstream"]["edges"]
    walks = [it["target"]["upstream"] for it in edge["links"]]
    assert sorted(map(str, walks)) == ["None"] * 2 + [str({"totalCount": 1})] * 6
    assert [it["extensions"]["code"] for it in response.errors] == ["LIMIT_EXCEEDED"] * 2
