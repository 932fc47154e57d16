"""Fast completion of lists has the same result as graphql-core, errors included."""

import asyncio
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult, execute, parse
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from graph_api.graphiql.examples import EXAMPLES
from schema.execution import executor, plain
from schema.execution.federation import SubgraphSchema
from schema.execution.plain import PlainSelections
from tests.builders import Api

GOLDEN = Path(__file__).parents[2] / "golden"


@strawberry.enum
class Colour(Enum):
    RED = "RED"


@strawberry.interface
class Shape:
    name: str

    @classmethod
    def resolve_type(cls, shape: "Shape", *_: object) -> str:
        return type(shape).__name__


@strawberry.type
class Circle(Shape):
    radius: float
    colour: Colour | None = None


@strawberry.type
class Square(Shape):
    side: int
    inner: "Circle | None" = None
    points: list[list[int]] = strawberry.field(default_factory=list)

    @strawberry.field
    def area(self, times: int = 1) -> int:
        return self.side * self.side * times


@dataclass
class Root:
    shapes: list[Any]


def red() -> Colour:
    return Colour["RED"]


VALID = [
    Circle(name="c", radius=1.5, colour=red()),
    Square(name="s", side=2, inner=Circle(name="i", radius=1), points=[[1, 2], [], [3]]),
]
INVALID = {
    "null in a non-null field": Circle(name=None, radius=1),  # type: ignore[arg-type]
    "not a number": Square(name="s", side="two"),  # type: ignore[arg-type]
    "number too large": Square(name="s", side=2**40),
    "unknown enum value": Circle(name="c", radius=1, colour="BLUE"),  # type: ignore[arg-type]
    "nested null": Square(name="s", side=1, inner=Circle(name="i", radius=None)),  # type: ignore[arg-type]
    "null in a list": Square(name="s", side=1, points=[[1, None]]),  # type: ignore[list-item]
    "not a list": Square(name="s", side=1, points=7),  # type: ignore[arg-type]
    "null item": None,
    "item of another type": 5,
}


@strawberry.type
class Query:
    @strawberry.field
    def shapes(self, info: strawberry.Info) -> list[Shape]:
        return info.context.shapes  # type: ignore[no-any-return]

    @strawberry.field
    def perhaps(self, info: strawberry.Info) -> list[Shape | None]:
        return info.context.shapes  # type: ignore[no-any-return]


schema = SubgraphSchema(query=Query, types=[Circle, Square], references={}, federation_version="2.9")

SELECTIONS = [
    "{ name }",
    "{ __typename alias: name name }",
    "{ ... on Circle { radius colour } ... on Square { side points inner { __typename radius } } }",
    "{ ...both } fragment both on Shape { name ... on Square { inner { ...both } } }",
    "{ name ... on Square { area double: area(times: 2) } }",
    "{ name @skip(if: true) ... on Circle @include(if: false) { radius } __typename }",
]


def run(query: str, root: Root, context: type[Any]) -> ExecutionResult:
    async def executed() -> ExecutionResult:
        result = execute(schema._schema, parse(query), context_value=root, executor_class=context)
        return result if isinstance(result, ExecutionResult) else await result

    return asyncio.run(executed())


@pytest.mark.parametrize("shapes", [VALID, *([*VALID, it] for it in INVALID.values())], ids=["valid", *INVALID])
@pytest.mark.parametrize("field", ["shapes", "perhaps"])
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("chunk_size", [1, plain.CHUNK_SIZE], ids=["in chunks", "at once"])
def test_the_result_equals_that_of_graphql_core(
    shapes: list[Any], field: str, selection: str, chunk_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "CHUNK_SIZE", chunk_size)
    selected, fragment, rest = selection.partition("fragment")
    query = f"{{ {field} {selected} }} {fragment}{rest}"
    fast, general = (run(query, Root(shapes), it) for it in (PlainSelections, StrawberryGraphQLCoreExecutionContext))
    assert fast.data == general.data
    assert [str(it) for it in fast.errors or ()] == [str(it) for it in general.errors or ()]


def test_a_valid_list_is_not_completed_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("graphql-core completed an item")

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "complete_list_item_value", refuse)
    query = "{ shapes { name ... on Square { points inner { radius } } } }"
    result = run(query, Root(VALID), PlainSelections)
    assert result.errors is None
    assert result.data is not None
    assert result.data["shapes"][1] == {"name": "s", "points": [[1, 2], [], [3]], "inner": {"radius": 1.0}}


DOCUMENTS = {it.stem: it.read_text() for it in sorted(GOLDEN.glob("*.graphql"))} | {it.name: it.query for it in EXAMPLES}
QUERIES = {name: query for name, query in DOCUMENTS.items() if "mutation" not in query}


async def test_the_results_of_golden_and_example_queries_equal_those_of_graphql_core(
    demo_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = {name: (await demo_api(query)).body for name, query in QUERIES.items()}
    monkeypatch.setattr(executor, "PlainSelections", StrawberryGraphQLCoreExecutionContext)
    general = {name: (await demo_api(query)).body for name, query in QUERIES.items()}
    for name in QUERIES:
        assert fast[name].get("errors") == general[name].get("errors")
        assert without_instants(fast[name]["data"]) == without_instants(general[name]["data"])


def without_instants(value: Any) -> Any:
    """Return a result without cursors of walks, which contain the instant of the walk."""
    if isinstance(value, dict):
        return {
            name: without_instants(part)
            for name, part in value.items()
            if name not in ("cursor", "endCursor", "startCursor", "asOf")
        }
    return [without_instants(it) for it in value] if isinstance(value, list) else value
