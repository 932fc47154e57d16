"""Lists that are completed at once come out as graphql-core completes them, errors included."""

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

GOLDEN = Path(__file__).parent.parent / "golden"


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
class World:
    shapes: list[Any]


def red() -> Colour:
    return Colour["RED"]


SOUND = [
    Circle(name="c", radius=1.5, colour=red()),
    Square(name="s", side=2, inner=Circle(name="i", radius=1), points=[[1, 2], [], [3]]),
]
FAULTY = {
    "null where there may be none": Circle(name=None, radius=1),  # type: ignore[arg-type]
    "no number": Square(name="s", side="two"),  # type: ignore[arg-type]
    "too large a number": Square(name="s", side=2**40),
    "no such value": Circle(name="c", radius=1, colour="BLUE"),  # type: ignore[arg-type]
    "null deep within": Square(name="s", side=1, inner=Circle(name="i", radius=None)),  # type: ignore[arg-type]
    "null in a list": Square(name="s", side=1, points=[[1, None]]),  # type: ignore[list-item]
    "no list": Square(name="s", side=1, points=7),  # type: ignore[arg-type]
    "null itself": None,
    "a stranger": 5,
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


def run(query: str, world: World, context: type[Any]) -> ExecutionResult:
    async def executed() -> ExecutionResult:
        result = execute(schema._schema, parse(query), context_value=world, executor_class=context)
        return result if isinstance(result, ExecutionResult) else await result

    return asyncio.run(executed())


@pytest.mark.parametrize("shapes", [SOUND, *([*SOUND, it] for it in FAULTY.values())], ids=["sound", *FAULTY])
@pytest.mark.parametrize("field", ["shapes", "perhaps"])
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("at_once", [1, plain.CHUNK_SIZE], ids=["with pauses", "at once"])
def test_what_comes_out_is_the_same_either_way(
    shapes: list[Any], field: str, selection: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "CHUNK_SIZE", at_once)
    selected, fragment, rest = selection.partition("fragment")
    query = f"{{ {field} {selected} }} {fragment}{rest}"
    plainly, usually = (run(query, World(shapes), it) for it in (PlainSelections, StrawberryGraphQLCoreExecutionContext))
    assert plainly.data == usually.data
    assert [str(it) for it in plainly.errors or ()] == [str(it) for it in usually.errors or ()]


def test_a_sound_list_is_completed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an item was completed by itself")

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "complete_list_item_value", refuse)
    query = "{ shapes { name ... on Square { points inner { radius } } } }"
    result = run(query, World(SOUND), PlainSelections)
    assert result.errors is None
    assert result.data is not None
    assert result.data["shapes"][1] == {"name": "s", "points": [[1, 2], [], [3]], "inner": {"radius": 1.0}}


ASKED = {it.stem: it.read_text() for it in sorted(GOLDEN.glob("*.graphql"))} | {it.name: it.query for it in EXAMPLES}
QUERIES = {name: query for name, query in ASKED.items() if "mutation" not in query}


async def test_all_that_the_demo_answers_is_the_same_either_way(demo_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    plainly = {name: (await demo_api(query)).body for name, query in QUERIES.items()}
    monkeypatch.setattr(executor, "PlainSelections", StrawberryGraphQLCoreExecutionContext)
    usually = {name: (await demo_api(query)).body for name, query in QUERIES.items()}
    for name in QUERIES:
        assert plainly[name].get("errors") == usually[name].get("errors")
        assert without_now(plainly[name]["data"]) == without_now(usually[name]["data"])


def without_now(value: Any) -> Any:
    """But for cursors of walks, which pin the instant of each."""
    if isinstance(value, dict):
        return {
            name: without_now(part) for name, part in value.items() if name not in ("cursor", "endCursor", "startCursor", "asOf")
        }
    return [without_now(it) for it in value] if isinstance(value, list) else value
