"""A product and the walk from it, fetched with one statement where an operation selects just that."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from graphql.execution.values import VariableValues

from db.consistency.consistent_dict import ConsistentDict
from db.fields import refuse_unstorable
from db.lineage.product_walk import walk_from_product
from db.lineage.walk import Direction
from schema.assets.product import PRODUCT_BY_NAME
from schema.execution.context import Context
from schema.execution.planned import Prefetch
from schema.language.pagination import checked_page_size
from schema.lazy import ASSETS_BY_ID, asset_from_row
from schema.lineage.walk import WALK_BY_ROOT, walk_query
from schema.planning.plan import FieldPlan, ObjectPlan, Resolver

_DIRECTIONS = {"upstream": Direction.UPSTREAM, "downstream": Direction.DOWNSTREAM}
# Arguments of a walk that the statement takes.
_WALK_ARGUMENTS = {"maxDepth", "first"}
# Fields of a walk that need no more than its assets.
_WALK_FIELDS = {"nodes", "edges", "totalCount", "byDepth", "pageInfo", "__typename"}
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
        found = await walk_from_product(await context.transaction.reader(), name, pinned, query, first)
        context.prime(PRODUCT_BY_NAME, name, pinned, value=None if found is None else found.product)
        if found is None:
            return
        root_id, walked = found.walk.root_id, found.walk
        context.prime(WALK_BY_ROOT, (root_id, pinned), query, value=walked)
        ids = [step.asset_id for step in walked.steps(0, first)]
        assets = ConsistentDict({it: asset_from_row(found.assets[it], pinned) for it in ids})
        context.prime(ASSETS_BY_ID, (tuple(sorted(ids)), walked.instant, pinned), value=assets)

    return prefetch


PREFETCHES: tuple[Callable[[ObjectPlan], Any], ...] = (product_walk_prefetch,)
