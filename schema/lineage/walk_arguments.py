"""Requests of walks: how far they go, which links they examine, which assets they return, and which parts are selected."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, NamedTuple

import strawberry

from db.associations.lineage_link_fields import confidence_of
from db.errors import BadInput, LimitExceeded
from db.lineage import walk as walks
from db.lineage.walk import Direction, WalkQuery
from db.registries.type_registry import TypeCode
from schema.associations.lineage_link import LineageType, parts_of
from schema.execution.context import Info, selects
from schema.language.inputs import optional_input_field, provided_fields
from schema.language.limits import Limits
from schema.language.references import AssetKind
from schema.registries.filter_types import require_types

DEFAULT_WALK_PAGE_SIZE = 100

MaxDepth = Annotated[int, strawberry.argument(description="Maximum distance from the asset, in links.")]
WalkFirst = Annotated[int, strawberry.argument(description="Maximum number of assets on the page.")]
WalkAfter = Annotated[
    str | None,
    strawberry.argument(
        description="Cursor of the same walk. The page starts after it and is read at the instant of the cursor."
    ),
]


@strawberry.input(description="Filter of the links that a walk examines. A link matches if it matches every given field.")
class LinkFilter:
    types: list[LineageType] | None = optional_input_field("Any of these types.")
    min_confidence: float | None = optional_input_field("Lowest confidence, from 0 to 1.")
    producers: list[str] | None = optional_input_field("Any of these producers.")
    seen_since: datetime | None = optional_input_field(
        "Reported at or after this instant, and not after the instant of the walk."
    )


@strawberry.input(
    description="Filter of the assets that a walk returns. An asset matches if it matches every given field. The walk"
    " continues through the others."
)
class AssetFilter:
    kinds: list[AssetKind] | None = optional_input_field("Any of these kinds.")
    domains: list[str] | None = optional_input_field(
        "Products in any of these domains, and entities whose type belongs to one of them."
    )
    entity_types: list[str] | None = optional_input_field("Entities of any of these types.")


@strawberry.input(description="Filters of a walk: which links it examines and which assets it returns.")
class LineageFilter:
    links: LinkFilter | None = optional_input_field("The walk ignores a link that does not match.")
    assets: AssetFilter | None = optional_input_field(
        "The walk continues through an asset that does not match, but does not return it."
    )


WalkFilter = Annotated[
    LineageFilter | None, strawberry.argument(description="Which links the walk examines and which assets it returns.")
]


async def walk_query(info: Info, direction: Direction, max_depth: int, filter: LineageFilter | None) -> WalkQuery:
    """Build the query of a walk. Check its arguments against the limits, and that the types exist that its filter names."""
    query = unfiltered_walk_query(info.context.limits, direction, max_depth)
    if filter is None:
        return query
    fields = provided_fields(filter)
    link_fields, asset_fields = fields.get("links") or {}, fields.get("assets") or {}
    if link_fields.get("min_confidence") is not None:
        confidence_of("minConfidence", link_fields["min_confidence"])
    await require_types(info, [("entityTypes", TypeCode(True, it)) for it in asset_fields.get("entity_types") or ()])
    return replace(query, links=walks.LinkFilter(**parts_of(link_fields)), assets=walks.AssetFilter(**parts_of(asset_fields)))


def unfiltered_walk_query(limits: Limits, direction: Direction, max_depth: int) -> WalkQuery:
    """Build the query of a walk without filters. Check its arguments against the limits."""
    limit = limits.max_walk_depth
    if max_depth < 1:
        raise BadInput(f"maxDepth is {max_depth}. It must be at least 1.", field="maxDepth")
    if max_depth > limit:
        raise LimitExceeded(f"maxDepth is {max_depth}. At most {limit} is allowed.", field="maxDepth")
    return WalkQuery(direction, max_depth, limits.walk_bounds)


class WalkParts(NamedTuple):
    """The optional parts of walks that an operation selects."""

    assets: bool
    confidences: bool
    links: bool
    edge_links: bool
    link_ends: bool
    cycles: bool

    @classmethod
    def selected(cls, info: Info) -> "WalkParts":
        """Return the parts that are selected below the walk that is being resolved."""
        return cls(
            assets=selects(info, "nodes", "edges.node"),
            confidences=selects(info, "edges.confidence"),
            links=selects(info, "links"),
            edge_links=selects(info, "edges.links"),
            link_ends=selects(info, *(f"{of}.{end}" for of in ("links", "edges.links") for end in ("source", "target"))),
            cycles=selects(info, "cycles"),
        )
