"""A product, the walk from it, the walks from what this finds, and so on, fetched with one statement where an operation selects
just that."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from graphql.execution.values import VariableValues

from db.fields import refuse_unstorable
from db.lineage.first_page import WalkRoot
from db.lineage.product_walks import Step, walks_from_product
from db.lineage.walk import Direction
from schema.assets.product import PRODUCT_BY_NAME
from schema.execution.context import Context
from schema.language.pagination import checked_page_size
from schema.lineage.walk import FIRST_PAGE_OF_WALK
from schema.lineage.walk_arguments import unfiltered_walk_query
from schema.planning.plan import FieldPlan, ObjectPlan, Prefetch, Resolver

_DIRECTIONS = {"upstream": Direction.UPSTREAM, "downstream": Direction.DOWNSTREAM}
# Arguments of a walk that the statement takes.
_WALK_ARGUMENTS = {"maxDepth", "first"}
# Fields of a walk that need no more than its assets.
_WALK_FIELDS = {"nodes", "edges", "totalCount", "byDepth", "pageInfo", "truncated", "__typename"}
_EDGE_FIELDS = {"node", "depth", "cursor", "__typename"}
# Nested walks of one statement. Each number of them has statements of its own, which a connection keeps.
_MOST_STEPS = 4


class _Walk(NamedTuple):
    """A selected walk."""

    resolver: Resolver
    direction: Direction
    has_assets: bool


def product_walks_prefetch(root: ObjectPlan) -> Prefetch | None:
    """Return the prefetch of an operation that selects one product by name, and one walk from it with the assets of a page. It
    may also select one walk from these assets, and so on."""
    fields = [it for it in root.fields if it.constant is None]
    if len(fields) != 1:
        return None
    product = fields[0]
    if product.parent_name != "Query" or product.name != "product" or product.resolver is None or product.value.object is None:
        return None
    walks: list[_Walk] = []
    assets = [product.value.object]
    # all that may take further statements: the same walk of one or several types of assets
    while waiting := [field for it in assets for field in it.fields if field.value.is_async or _reads(field)]:
        walk = waiting[0]
        if len(walks) == _MOST_STEPS or not all(_is_same(it, walk) for it in waiting):
            return None
        if walk.resolver is None or walk.name not in _DIRECTIONS or not _is_plain_walk(walk):
            return None
        assets = [asset for it in waiting for asset in _assets_of(it)]
        walks.append(_Walk(walk.resolver, _DIRECTIONS[walk.name], bool(assets)))
    return _prefetch(product.resolver, walks) if walks else None


def _reads(field: FieldPlan) -> bool:
    return field.resolver is not None and field.resolver.reads


def _is_same(walk: FieldPlan, other: FieldPlan) -> bool:
    """True if two types of assets have a walk by the same fields of the document."""
    return [id(it) for it in walk.nodes] == [id(it) for it in other.nodes]


def _is_plain_walk(walk: FieldPlan) -> bool:
    """True if a walk has no filter, cursor or instant, and selects assets and nothing else that takes further statements."""
    given = {it.name.value for it in walk.nodes[0].arguments or ()}
    connection = walk.value.object
    if connection is None or not given <= _WALK_ARGUMENTS or not {it.name for it in connection.fields} <= _WALK_FIELDS:
        return False
    edges = [edge for it in connection.fields if it.name == "edges" for edge in _objects_of(it)]
    has_assets = any(it.name in ("nodes", "edges") for it in connection.fields)
    return has_assets and all({field.name for field in it.fields} <= _EDGE_FIELDS for it in edges)


def _assets_of(walk: FieldPlan) -> Iterator[ObjectPlan]:
    """Yield the plans of the assets that a walk selects, by their types."""
    for field in chain.from_iterable(it.fields for it in _objects_of(walk)):
        if field.name == "nodes":
            yield from _objects_of(field)
        elif field.name == "edges":
            yield from (
                asset for edge in _objects_of(field) for node in edge.fields if node.name == "node" for asset in _objects_of(node)
            )


def _objects_of(field: FieldPlan) -> Collection[ObjectPlan]:
    """Return the plans of the objects of a field, or of the items of its list."""
    value = field.value.item or field.value
    if value.objects is not None:
        return value.objects.values()
    return () if value.object is None else (value.object,)


def _prefetch(product: Resolver, walks: Sequence[_Walk]) -> Prefetch:
    async def prefetch(context: Context, variables: VariableValues) -> bool:
        limits, arguments = context.limits, product.arguments.values(variables)
        name: str | None = arguments.get("name")
        if name is None or arguments.get("uid") is not None:
            return False
        pinned: datetime | None = arguments.get("as_of")
        steps = []
        for walk in walks:
            given = walk.resolver.arguments.values(variables)
            first = checked_page_size("first", given["first"], limits.walk_page_size)
            steps.append(Step(unfiltered_walk_query(limits, walk.direction, given["max_depth"]), first))
        if any(it.query.max_depth > 1 for it in steps[1:]):
            # they would walk again from most assets that the step before has found
            return False
        refuse_unstorable("name", name)
        found = await walks_from_product(await context.transaction.reader(), name, pinned, steps)
        context.prime(PRODUCT_BY_NAME, name, pinned, value=None if found is None else found.product)
        if found is not None:
            # of two equal walks, the earlier one had more time
            for walk, step, pages in reversed(list(zip(walks, steps, found.steps, strict=True))):
                # edges without their nodes need no assets
                for size in (step.size,) if walk.has_assets else (step.size, 0):
                    primed = {WalkRoot(root, pinned, size): page for root, page in pages.items()}
                    context.prime_all(FIRST_PAGE_OF_WALK, primed, step.query)
        return True

    return prefetch


PREFETCHES: tuple[Callable[[ObjectPlan], Any], ...] = (product_walks_prefetch,)
