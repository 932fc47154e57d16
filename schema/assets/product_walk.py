"""A product and the walk from it, fetched with one statement where an operation selects just that."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from graphql.execution.values import VariableValues

from db.fields import refuse_unstorable
from db.lineage.first_page import WalkRoot, first_page_from_product
from db.lineage.walk import Direction
from schema.assets.product import PRODUCT_BY_NAME
from schema.execution.context import Context
from schema.language.pagination import checked_page_size
from schema.lineage.walk import FIRST_PAGE_OF_WALK
from schema.lineage.walk_arguments import walk_query
from schema.planning.plan import FieldPlan, ObjectPlan, Prefetch, Resolver

_DIRECTIONS = {"upstream": Direction.UPSTREAM, "downstream": Direction.DOWNSTREAM}
# Arguments of a walk that the statement takes.
_WALK_ARGUMENTS = {"maxDepth", "first"}
# Fields of a walk that need no more than its assets.
_WALK_FIELDS = {"nodes", "edges", "totalCount", "byDepth", "pageInfo", "truncated", "__typename"}
_EDGE_FIELDS = {"node", "depth", "cursor", "__typename"}


def product_walk_prefetch(root: ObjectPlan) -> Prefetch | None:
    """Return the prefetch of an operation that selects one product by name, and one walk from it with the assets of a page."""
    fields = [it for it in root.fields if it.constant is None]
    if len(fields) != 1:
        return None
    product = fields[0]
    if product.parent_name != "Query" or product.name != "product" or product.resolver is None:
        return None
    selected = product.value.object
    # all that may take further statements
    walks = [it for it in selected.fields if it.is_async] if selected else []
    if len(walks) != 1 or walks[0].resolver is None or walks[0].name not in _DIRECTIONS or not _is_plain_walk(walks[0]):
        return None
    return _prefetch(product.resolver, walks[0].resolver, _DIRECTIONS[walks[0].name])


def _is_plain_walk(walk: FieldPlan) -> bool:
    """True if a walk has no filter, cursor or instant, and selects nothing that takes further statements."""
    given = {it.name.value for it in walk.nodes[0].arguments or ()}
    connection = walk.value.object
    if connection is None or not given <= _WALK_ARGUMENTS or not {it.name for it in connection.fields} <= _WALK_FIELDS:
        return False
    for field in connection.fields:
        if field.name == "nodes" and field.value.is_async:
            return False
        if field.name == "edges":
            edge = field.value.item.object if field.value.item else None
            if edge is None or edge.is_async or not {it.name for it in edge.fields} <= _EDGE_FIELDS:
                return False
    return any(it.name in ("nodes", "edges") for it in connection.fields)


def _prefetch(product: Resolver, walk: Resolver, direction: Direction) -> Prefetch:
    async def prefetch(context: Context, variables: VariableValues) -> None:
        arguments, walk_arguments = product.arguments.values(variables), walk.arguments.values(variables)
        name: str = arguments["name"]
        pinned: datetime | None = arguments.get("as_of")
        first = checked_page_size("first", walk_arguments["first"], context.limits.walk_page_size)
        query = walk_query(context.limits, direction, walk_arguments["max_depth"], None)
        refuse_unstorable("name", name)
        found = await first_page_from_product(await context.transaction.reader(), name, pinned, query, first)
        if found is None:
            context.prime(PRODUCT_BY_NAME, name, pinned, value=None)
            return
        row, page = found
        context.prime(PRODUCT_BY_NAME, name, pinned, value=row)
        # edges without their nodes need no assets
        for size in (0, first):
            context.prime(FIRST_PAGE_OF_WALK, WalkRoot(row.asset_id, pinned, size), query, value=page)

    return prefetch


PREFETCHES: tuple[Callable[[ObjectPlan], Any], ...] = (product_walk_prefetch,)
