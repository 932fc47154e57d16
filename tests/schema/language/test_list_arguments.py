"""Lists in arguments have a bound and a price, and integers of any length are refused as other bad values are."""

from typing import Any

import pytest

from db.author import Author
from db.registries import entity_type
from schema.execution.executor import Executor
from schema.execution.operation import Request, Response
from schema.execution.principal import Principal
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import Api

pytestmark = pytest.mark.api


async def executed(api: Api, query: str, limits: Limits | None = None, **variables: Any) -> Response:
    executor = Executor(schema, api.database, limits)
    return await executor.execute(Request(query, variables), Principal(1, "ann", frozenset(Scope)), "request")


def literal(count: int) -> str:
    return "[" + ", ".join(f'"t{number}"' for number in range(count)) + "]"


ITEMS = [f"t{number}" for number in range(30)]
COUNT = "{ totalCount }"


@pytest.mark.parametrize(
    ("query", "variables", "cost"),
    [
        (f"{{ products(filter: {{ tags: {literal(9)} }}) {COUNT} }}", {}, 1),
        (f"{{ products(filter: {{ tags: {literal(30)} }}) {COUNT} }}", {}, 1 + 3),
        (f"query ($t: [String!]) {{ products(filter: {{ tags: $t }}) {COUNT} }}", {"t": ITEMS}, 1 + 3),
        (f"query ($f: ProductFilter) {{ products(filter: $f) {COUNT} }}", {"f": {"tags": ITEMS, "owners": ITEMS}}, 1 + 6),
        (f"query ($t: [String!] = {literal(30)}) {{ products(filter: {{ tags: $t }}) {COUNT} }}", {}, 1 + 3),
        (f"query ($t: [String!]) {{ a: products(filter: {{ tags: $t }}) {COUNT} b: products(filter: {{ owners: $t }}) {COUNT} }}",
         {"t": ITEMS}, 2 * (1 + 3)),
        # the field runs once for each of five products
        (f"{{ products(first: 5) {{ nodes {{ relationships(types: {literal(30)}) {COUNT} }} }} }}", {}, 1 + 5 * (1 + 1 + 3)),
        # the list itself has the length of the argument
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ITEMS}, 30),
    ],
)  # fmt: skip
async def test_lists_in_arguments_cost_by_their_length(api: Api, query: str, variables: dict[str, Any], cost: int) -> None:
    response = await executed(api, query, **variables)
    assert response.cost is not None
    assert response.cost.requested == cost


@pytest.mark.parametrize(
    ("query", "variables", "path"),
    [
        (f"{{ products(filter: {{ tags: {literal(30)} }}) {COUNT} }}", {}, "products(filter).tags"),
        (f"query ($f: ProductFilter) {{ products(filter: $f) {COUNT} }}", {"f": {"owners": ITEMS}}, "products(filter).owners"),
        (f"query ($d: [String!]) {{ products(filter: {{ domains: $d }}) {COUNT} }}", {"d": ITEMS}, "products(filter).domains"),
        (f"query ($d: [String!] = {literal(30)}) {{ products(filter: {{ domains: $d }}) {COUNT} }}", {},
         "products(filter).domains"),
        ("query ($d: [DetailFilter!]) { entities(filter: { details: $d }) { totalCount } }",
         {"d": [{"type": "email", "in": ITEMS}]}, "entities(filter).details.in"),
        ('{ product(name: "a") { upstream(filter: { links: { producers: ' + literal(30) + " } }) { totalCount } } }", {},
         "upstream(filter).links.producers"),
    ],
)  # fmt: skip
async def test_a_list_beyond_the_bound_is_refused_before_it_runs(
    api: Api, query: str, variables: dict[str, Any], path: str
) -> None:
    executor = Executor(schema, api.database, Limits(list_length=29))
    principal = Principal(1, "ann", frozenset(Scope))
    api.statements.clear()
    for _ in range(2):
        (error,) = (await executor.execute(Request(query, variables), principal, "request")).errors
        assert error["message"].startswith(f"{path} has 30 items. At most 29 are allowed.")
        assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "field": path.rpartition(".")[2]}
    # nor when the estimate of a shorter list is known
    if variables:
        shorter: Any = {name: value[:9] if isinstance(value, list) else value for name, value in variables.items()}
        await executor.execute(Request(query, shorter), principal, "request")
        assert (await executor.execute(Request(query, variables), principal, "request")).errors
    else:
        assert len(api.statements) == 0


async def test_the_actual_cost_includes_the_lists(api: Api) -> None:
    response = await executed(api, f"query ($t: [String!]) {{ products(filter: {{ tags: $t }}) {COUNT} }}", t=ITEMS)
    assert response.cost is not None
    assert (response.cost.requested, response.cost.actual) == (4, 4)


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "query",
    [
        "{ products(first: NUMBER) { totalCount } }",
        '{ product(name: "a") { upstream(maxDepth: NUMBER) { totalCount } } }',
        "query ($n: Int = NUMBER) { products(first: $n) { totalCount } }",
        "{ products(asOf: NUMBER) { totalCount } }",
        "{ products(filter: { tags: [NUMBER] }) { totalCount } }",
        "{ lineageLinks(filter: { minConfidence: NUMBER }) { totalCount } }",
        "{ nodes(ids: [NUMBER]) { id } }",
        "{ products @include(if: NUMBER) { totalCount } }",
        'mutation { registerProduct(input: { name: "a", domain: "b", owner: "c", schema: { fields: [NUMBER] } }) { changed } }',
    ],
)
async def test_an_integer_of_5_000_digits_is_bad_input(api: Api, query: str, sign: str) -> None:
    response = await executed(api, query.replace("NUMBER", sign + "9" * 5_000))
    assert {it["extensions"]["code"] for it in response.errors} == {"BAD_INPUT"}


@pytest.mark.parametrize(
    ("list_", "filtered", "value"),
    [
        ("products", "tags", "core"),
        ("products", "owners", "ann"),
        ("products", "domains", "sales"),
        ("entities", "types", "PERSON"),
        ("lineageLinks", "producers", "dbt"),
    ],
)
async def test_many_values_of_a_filter_find_what_a_few_find(api: Api, list_: str, filtered: str, value: str) -> None:
    await api.put_types()
    async with api.database.transaction(1, Author("tester")) as connection:
        await entity_type.put_each(connection, [entity_type.validate_state(it, it) for it in ITEMS])
    await api.create("Ann")
    await api.create("orders", type="TABLE")
    await api.register("a", tags=["raw", "core"], owner="ann", domain="sales")
    await api.register("b", tags=["raw"], owner="bob", domain="web")
    await api.link("a", "b", producer="dbt")
    await api.link("a", "b", producer="spark")
    query = f"query ($v: [String!]) {{ {list_}(filter: {{ {filtered}: $v }}) {{ totalCount nodes {{ uid }} }} }}"
    few = (await api(query, v=[value])).data
    assert few[list_]["totalCount"] == 1
    assert (await api(query, v=[*ITEMS, value])).data == few
    assert (await api(query, v=ITEMS)).data[list_] == {"totalCount": 0, "nodes": []}
