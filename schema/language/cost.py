"""Cost declarations: `@cost` and `@listSize`. See docs/limits.md.

An object costs 1 and a leaf nothing. The selection on the items of a list is multiplied by the length of the list.
"""

from collections.abc import Callable, Collection, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any, TypeVar, cast

import strawberry
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.types.field import StrawberryField

from db.lineage.walk import Bounds

# Default cost of a mutation, which locks, looks up and writes a few rows.
WRITE_COST = 10
# Cost of a mutation that may clip or restore all links and relationships of an asset.
LIFETIME_COST = 50
# Cost of a record fetched from an external service.
FETCH_COST = 10
# Cost of reading every lineage link, for statistics or for the shape of the graph.
GRAPH_COST = 5_000

_COST = "headwater.cost"
_WALK_COUNT = "headwater.walk_count"
_SIZE_ARGUMENT = "headwater.size_argument"

Field = TypeVar("Field")


def cost(weight: int) -> Callable[[Field], Field]:
    """Declare the cost of a field."""
    return _declare(Cost(weight=weight), {_COST: weight})


def walk_cost(count: int = 1) -> Callable[[Field], Field]:
    """Declare that a field runs a number of walks, each of which costs the assets that a walk may visit."""
    return _declare(Cost(weight=count * Bounds().assets), {_WALK_COUNT: count})


def without_cost(declared: StrawberryField) -> StrawberryField:
    """Return a field of an interface without `@cost`, which gateways refuse there. The types that implement it keep theirs."""
    copied = copy(declared)
    copied.directives = [it for it in declared.directives if not isinstance(it, Cost)]
    copied.metadata = declared.metadata
    return copied


def list_size(
    assumed: int | None = None, *, by: Collection[str] = (), like: str | None = None, of: Collection[str] = ()
) -> Callable[[Field], Field]:
    """Declare the length of the list that a field returns, or of the lists `of` these fields of what it returns.

    The length is the largest of the arguments `by`, or the length of the list argument `like`, else the assumed one. The SDL
    cannot express `like`. An argument with a default always has a value, and composition refuses an assumed size beside it.
    """
    directive = ListSize(
        assumed_size=strawberry.UNSET if assumed is None else assumed,
        slicing_arguments=list(by) or strawberry.UNSET,
        sized_fields=list(of) or strawberry.UNSET,
        # a request without any of the arguments gets the assumed size
        require_one_slicing_argument=False if by else strawberry.UNSET,
    )
    return _declare(directive, {} if like is None else {_SIZE_ARGUMENT: like})


def declared_cost(metadata: Mapping[str, Any]) -> int | None:
    """Return the cost that a field declares; None: it declares none."""
    return metadata.get(_COST)


def declared_walk_count(metadata: Mapping[str, Any]) -> int:
    """Return the number of walks that a field declares."""
    return cast(int, metadata.get(_WALK_COUNT, 0))


def declared_size_argument(metadata: Mapping[str, Any]) -> str | None:
    """Return the list argument that has the length of the list that a field returns, if it declares one."""
    return metadata.get(_SIZE_ARGUMENT)


def _declare(directive: Cost | ListSize, metadata: Mapping[str, Any]) -> Callable[[Field], Field]:
    def declare(declared: Field) -> Field:
        strawberry_field = cast(StrawberryField, declared)
        strawberry_field.directives = [*strawberry_field.directives, directive]
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, **metadata})
        return declared

    return declare
