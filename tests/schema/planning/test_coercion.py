"""Compiled coercion of variables equals that of graphql-core, in values and in errors."""

from random import Random
from typing import Any, cast

import pytest
from graphql import GraphQLError, OperationDefinitionNode, build_schema, parse
from graphql.execution.values import VariableValues, get_variable_values
from hypothesis import given
from hypothesis import strategies as st

from schema.planning import coercion
from schema.planning.coercion import InputCoercions, VariableCoercion

SCHEMA = build_schema("""
  scalar Any
  enum Color { RED GREEN }
  input Ref @oneOf { id: ID name: String }
  input Filter {
    and: [Filter!]
    colors: [Color!] = [RED]
    limit: Int! = 10
    name: String!
    ratio: Float
    tags: [[String]]
    ref: Ref
  }
  type Query { found(filter: Filter, refs: [Ref!]!, ids: [ID!], on: Boolean, any: [Any!]): Int }
""")
_DOCUMENT = parse("""
  query (
    $filter: Filter, $refs: [Ref!]! = [{ name: "a" }], $ids: [ID!], $on: Boolean! = true, $count: Int!, $colors: [Color]
    $any: [Any!]
  ) { __typename }
""")
OPERATION = cast(OperationDefinitionNode, _DOCUMENT.definitions[0])

# what a valid value is replaced by
FAULTS: list[Any] = [None, True, 0, 1.5, 2**40, "BLUE", [], [None], {}, {"x": 1}, {"id": "1", "name": "a"}]

REF = st.sampled_from([{"id": "1"}, {"id": 1}, {"name": "a"}])
FILTER = st.recursive(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b"])},
        optional={
            "colors": st.none() | st.lists(st.sampled_from(["RED", "GREEN"]), max_size=2),
            "limit": st.integers(0, 5),
            "ratio": st.none() | st.floats(0, 1) | st.integers(0, 1),
            "tags": st.none() | st.lists(st.lists(st.sampled_from(["a", None]), max_size=2) | st.none(), max_size=2),
            "ref": st.none() | REF,
        },
    ),
    lambda inner: st.builds(lambda it, parts: {**it, "and": parts}, inner, st.lists(inner, max_size=2)),
    max_leaves=3,
)
VALID = st.fixed_dictionaries(
    {"count": st.integers(-5, 5)},
    optional={
        "filter": FILTER | st.none(),
        "refs": st.lists(REF, max_size=2),
        "ids": st.none() | st.lists(st.sampled_from(["1", 2]), max_size=2),
        "on": st.booleans(),
        "any": st.lists(st.sampled_from([1, "a", {"b": None}]), max_size=2),
        "colors": st.lists(st.sampled_from(["RED", None]), max_size=2),
        "other": st.integers(),
    },
)


def with_fault(value: Any, random: Random) -> Any:
    """Return a copy of a value in which one part is replaced, left out or added."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        match random.randrange(4):
            case 0:
                return {it: part for it, part in value.items() if it != name}
            case 1:
                return {**value, random.choice(["x", "id", "name"]): "a"}
            case _:
                return {**value, name: with_fault(value[name], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        index = random.randrange(len(value))
        return [*value[:index], with_fault(value[index], random), *value[index + 1 :]]
    return random.choice(FAULTS)


COERCION = VariableCoercion(SCHEMA, OPERATION, InputCoercions())


def comparable(values: VariableValues | list[GraphQLError]) -> Any:
    """Return values or errors in a form in which NaN equals itself."""
    if isinstance(values, list):
        return [it.formatted for it in values]
    return repr(values.coerced), {name: repr(it.value) for name, it in values.sources.items()}


@given(VALID, st.integers())
def test_values_and_errors_are_those_of_graphql_core(valid: dict[str, Any], seed: int) -> None:
    for inputs in (valid, *(with_fault(valid, Random(f"{seed}/{number}")) for number in range(20))):
        if isinstance(inputs, dict):
            expected = get_variable_values(SCHEMA, OPERATION.variable_definitions or (), inputs, max_errors=50)
            assert comparable(COERCION.values(inputs)) == comparable(expected)


def test_valid_values_are_coerced_by_the_compiled_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coercion, "get_variable_values", lambda *_, **__: pytest.fail("graphql-core coerced the values"))
    nested = {"name": "b", "and": [{"name": "c", "tags": [["x", None], None]}], "ref": {"id": "1"}}
    found = COERCION.values({"count": 1, "filter": {"name": "a", "and": [nested]}, "ids": ["1"], "colors": ["RED", None]})
    assert isinstance(found, VariableValues)
    assert found.coerced["filter"]["and"][0]["and"][0] == {
        "colors": ["RED"],
        "limit": 10,
        "name": "c",
        "tags": [["x", None], None],
    }
    assert found.coerced["refs"] == [{"name": "a"}]


def test_a_value_that_is_nested_too_deeply_is_an_error() -> None:
    deep: dict[str, Any] = {"name": "a"}
    for _ in range(5_000):
        deep = {"name": "a", "and": [deep]}
    found = COERCION.values({"count": 1, "filter": deep})
    assert isinstance(found, list)
    assert [it.message for it in found] == ["Variable values are nested too deeply."]
