"""A small schema with every form of field, over data in which any value may be null, wrong or an exception."""

import asyncio
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import strawberry

from schema.execution.context import CostMeter
from schema.execution.federation import SubgraphSchema


class Refused(Exception):
    """A failure that a resolver reports."""


@dataclass
class Chance:
    """The data of one example. `defects` is the share of values that are null, wrong or an exception."""

    seed: int
    defects: float
    cost_meter: CostMeter = field(default_factory=CostMeter)

    def at(self, *place: object) -> random.Random:
        """Return the chance at one place of the data, which is the same for every execution."""
        return random.Random(f"{self.seed} {place}")

    def value(self, place: object, good: Any, *, wrong: Any = None) -> Any:
        chance = self.at(place)
        if chance.random() >= self.defects:
            return good
        return chance.choice([None, None, wrong, Refused(f"refused {place}")])

    def resolved(self, place: object, good: Any, *, wrong: Any = None) -> Any:
        """Return a value as a resolver does, or raise."""
        value = self.value(place, good, wrong=wrong)
        if isinstance(value, Exception):
            raise value
        return value

    def shape(self, place: tuple[object, ...]) -> Any:
        """Return one shape."""
        if len(place) % 2:
            return Circle(chance=self, place=place, name=self.attribute(place, "name", "circle"), radius=1.5, colour=red())
        return Square(
            chance=self,
            place=place,
            name=self.attribute(place, "name", "square"),
            side=self.attribute(place, "side", 3),
            inner=self.attribute(place, "inner", Circle(chance=self, place=(*place, "inner"), name="inner", radius=2.5)),
            points=self.attribute(place, "points", [[1, 2], [], [3]]),
        )

    def attribute(self, place: tuple[object, ...], name: str, good: Any) -> Any:
        """Return the value of an attribute, which is no exception."""
        value = self.value((*place, name), good, wrong="wrong")
        return None if isinstance(value, Exception) else value

    def shapes(self, place: tuple[object, ...]) -> list[Any]:
        length = self.at(place, "length").choice([0, 1, 2, 3])
        return [self.value((*place, index), self.shape((*place, index)), wrong=7) for index in range(length)]


@strawberry.enum
class Colour(Enum):
    RED = "RED"


def red() -> Colour:
    return Colour["RED"]


@strawberry.interface
class Shape:
    chance: strawberry.Private[Chance]
    place: strawberry.Private[tuple[object, ...]]
    name: str

    @classmethod
    def resolve_type(cls, shape: "Shape", *_: object) -> str:
        return type(shape).__name__

    @strawberry.field
    async def neighbours(self, info: strawberry.Info, first: int = 3) -> list[Annotated["Shape", strawberry.lazy(__name__)]]:
        await asyncio.sleep(0)
        listed: list[Any] = self.chance.resolved(
            (*self.place, "neighbours"), self.chance.shapes((*self.place, "n"))[:first], wrong=7
        )
        return listed

    @strawberry.field
    def perhaps(self, info: strawberry.Info) -> list[Annotated["Shape", strawberry.lazy(__name__)] | None] | None:
        listed: Any = self.chance.resolved((*self.place, "perhaps"), self.chance.shapes((*self.place, "p")))
        return listed  # type: ignore[no-any-return]

    @strawberry.field
    async def next(self, info: strawberry.Info) -> Annotated["Shape", strawberry.lazy(__name__)] | None:
        shape: Any = self.chance.resolved((*self.place, "next"), self.chance.shape((*self.place, 0)))
        return shape  # type: ignore[no-any-return]


@strawberry.type
class Circle(Shape):
    radius: float
    colour: Colour | None = None

    @strawberry.field
    async def area(self, info: strawberry.Info) -> float:
        return self.chance.resolved((*self.place, "area"), 7.0, wrong="wide")  # type: ignore[no-any-return]


@strawberry.type
class Square(Shape):
    side: int
    inner: "Circle | None" = None
    points: list[list[int]] = strawberry.field(default_factory=list)

    @strawberry.field
    def area(self, times: int = 1) -> float | None:
        return self.chance.resolved((*self.place, "area"), self.side * times)  # type: ignore[no-any-return]


@strawberry.type
class Query:
    @strawberry.field
    async def shapes(self, info: strawberry.Info, first: int = 3) -> list[Shape]:
        return info.context.shapes(("shapes",))[:first]  # type: ignore[no-any-return]

    @strawberry.field
    async def shape(self, info: strawberry.Info) -> Shape | None:
        return info.context.resolved("shape", info.context.shape(("shape",)))  # type: ignore[no-any-return]

    @strawberry.field
    def perhaps(self, info: strawberry.Info) -> list[Annotated["Circle | Square", strawberry.union("Either")] | None]:
        return info.context.shapes(("perhaps",))  # type: ignore[no-any-return]


schema = SubgraphSchema(query=Query, types=[Circle, Square], references={}, federation_version="2.9")
