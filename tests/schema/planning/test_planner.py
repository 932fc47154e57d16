"""The planner: what a plan shares, and what cannot be planned."""

import random
from typing import Any

import pytest
from graphql import DocumentNode, OperationDefinitionNode, parse

from schema.planning import shaping
from schema.planning.plan import ObjectPlan
from schema.planning.planner import NotPlannable, Planner
from schema.root import schema
from tests.builders import Api, product_fields

PLANNER = Planner(schema)


def plan_of(text: str) -> ObjectPlan:
    document: DocumentNode = parse(text)
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    return PLANNER.plan(operation, document, {}).root


def objects_of(plan: ObjectPlan, found: dict[int, ObjectPlan]) -> dict[int, ObjectPlan]:
    """Return all objects of a plan, each once."""
    if id(plan) not in found:
        found[id(plan)] = plan
        for field in plan.fields:
            value: Any = field.value
            while value.item is not None:
                value = value.item
            for below in (value.object, *(value.objects or {}).values()):
                if below is not None:
                    objects_of(below, found)
    return found


def test_a_plan_grows_with_its_document_and_not_with_the_types_of_its_interfaces() -> None:
    """An asset is a product or an entity, so each level has two plans of assets. They share what is below."""
    sizes = []
    for levels in (1, 2, 6):
        text = '{ product(name: "x") ' + "{ upstream { nodes " * levels + "{ label }" + " } }" * levels + " }"
        sizes.append(len(objects_of(plan_of(text), {})))
    assert sizes == [2 + 3 * 1, 2 + 3 * 2, 2 + 3 * 6]


@pytest.mark.parametrize(
    "text", ["{ __schema { types { name } } }", '{ __type(name: "Query") { name } product(name: "x") { uid } }']
)
def test_introspection_is_not_planned(text: str) -> None:
    with pytest.raises(NotPlannable):
        plan_of(text)


async def test_each_set_of_conditions_has_a_plan(api: Api) -> None:
    document = "query ($x: Boolean!, $y: Boolean!) { a: __typename @include(if: $x) b: __typename @skip(if: $y) }"
    for _ in range(2):
        for included in (True, False):
            for skipped in (True, False):
                data = (await api(document, x=included, y=skipped)).data
                assert list(data) == ["a"] * included + ["b"] * (not skipped)


async def test_an_operation_of_which_all_is_skipped_has_no_data(api: Api) -> None:
    query = 'query ($x: Boolean!) { product(name: "a") @include(if: $x) { name upstream { nodes { label } } } }'
    assert (await api(query, x=False)).data == {}
    assert (await api(query, x=True)).data == {"product": None}


async def test_null_for_a_directive_is_an_error(api: Api) -> None:
    response = await api('query ($x: Boolean = true) { product(name: "a") @include(if: $x) { name } }', x=None)
    assert response.body.get("data") is None
    assert [it["extensions"]["code"] for it in response.errors] == ["BAD_INPUT"]


async def test_mutations_after_one_that_failed_are_not_run(api: Api) -> None:
    api.statements.clear()
    response = await api(
        """mutation ($fields: RegisterProductInput!) {
          bad: updateProduct(input: { product: { name: "absent" }, owner: "x" }) { changed }
          good: registerProduct(input: $fields) { changed }
        }""",
        fields=product_fields("orders"),
    )
    assert response.body["data"] is None
    assert [it["path"] for it in response.errors] == [["bad"]]
    assert not [it for it in api.statements.executed if "INSERT INTO asset" in it]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are compiled from now on, with nothing compiled so far."""
    sources: list[str] = []

    def noting_compile(text: str, *rest: Any) -> Any:
        sources.append(text)
        return compile(text, *rest)

    shaping._compile.cache_clear()
    monkeypatch.setattr(shaping, "compile", noting_compile, raising=False)
    return sources


def test_generated_code_contains_no_text_of_the_document(compiled: list[str]) -> None:
    alias = f"a{random.randrange(10**9)}"
    plan_of(f'{{ {alias}: product(name: "{alias}") {{ {alias}: name }} }}')
    assert compiled
    assert not [it for it in compiled if alias in it or "name" in it]


def test_objects_with_the_same_kinds_of_fields_share_generated_code(compiled: list[str]) -> None:
    plan_of('{ product(name: "x") { name owner } }')
    count = len(compiled)
    plan_of('{ renamed: product(name: "y") { owner domain: name } other: product(name: "z") { a: name b: owner } }')
    # the root has one field more
    assert len(compiled) == count + 1
