"""Arguments of a plan: what a run leaves for later ones does not change their values."""

from itertools import permutations
from typing import Any, cast

import pytest
from graphql import GraphQLError, OperationDefinitionNode, parse
from graphql.execution.values import VariableValues

from schema.planning.plan import Arguments
from schema.planning.planner import Planner
from schema.root import schema

PLANNER = Planner(schema)
QUERY = """
  query ($first: Int, $search: String, $owner: String) {
    products(first: $first, search: $search, orderBy: { field: NAME, direction: DESC }, filter: {FILTER}) { nodes { name } }
  }
"""
MUTATION = 'mutation { registerProduct(input: { name: "a", domain: "b", owner: "c", schema: { fields: [] } }) { changed } }'


def arguments_of(text: str) -> Arguments:
    """Return the arguments of the root field of an operation, which have not been used yet."""
    document = parse(text)
    (field,) = PLANNER.plan(cast(OperationDefinitionNode, document.definitions[0]), document, {}).root.fields
    assert field.resolver is not None
    return field.resolver.arguments


def values_of(arguments: Arguments, **variables: Any) -> Any:
    try:
        return arguments.values(VariableValues({}, variables))
    except GraphQLError as error:
        return error.message


@pytest.mark.parametrize("filter_", ["null", '{ owners: ["a"] }', "{ owners: [$owner] }"])
def test_values_of_a_run_do_not_depend_on_earlier_runs(filter_: str) -> None:
    text = QUERY.replace("{FILTER}", filter_)
    runs: list[dict[str, Any]] = [
        {"first": 3, "search": "a", "owner": "x"},
        {"first": 4, "search": "b", "owner": "y"},
        {"first": None, "search": "c"},
        {"first": 5},
        {},
    ]
    expected = [values_of(arguments_of(text), **run) for run in runs]
    assert expected[0] != expected[1]
    for order in permutations(range(len(runs))):
        arguments = arguments_of(text)
        assert [values_of(arguments, **runs[index]) for index in order] == [expected[index] for index in order]


def test_null_for_an_argument_that_may_not_be_null_is_an_error_in_each_run() -> None:
    arguments = arguments_of("query ($name: String) { domain(name: $name) { name } }")
    for _ in range(2):
        assert values_of(arguments, name="a")["name"] == "a"
        assert "name" in values_of(arguments, name=None)
        assert "name" in values_of(arguments)


def test_mutations_share_no_constant() -> None:
    arguments = arguments_of(MUTATION)
    first, second = values_of(arguments), values_of(arguments)
    assert first == second
    assert first["input"].schema is not second["input"].schema
