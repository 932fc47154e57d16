"""Differences of lineage: how a walk from an asset differs between two instants."""

import asyncio
from datetime import datetime
from enum import Enum
from itertools import chain
from typing import Annotated, NamedTuple

import strawberry

from db.associations.lineage_link import LinkRow, content_of
from db.errors import BadInput
from db.instants import write_instant
from db.lineage import walk as walks
from db.lineage.walk import Direction, WalkPage, WalkQuery
from schema.associations.lineage_link import LineageLink, links_of
from schema.execution.context import Info
from schema.language.cost import list_size, walk_cost
from schema.language.fields import field, resolver
from schema.language.inputs import provided_fields
from schema.language.references import AssetRef, asset_ref
from schema.language.scopes import READ
from schema.lazy import REFERENCE_IN_WINDOW, LazyAsset, assets_by_id
from schema.lineage.truncation import LineageTruncation
from schema.lineage.walk import WHOLE_LINKS_OF_PAGE, load_walk
from schema.lineage.walk_arguments import MaxDepth, WalkFilter, walk_query


@strawberry.enum(description="Direction of a walk.")
class LineageDirection(Enum):
    UPSTREAM = strawberry.enum_value("UPSTREAM", description="From an asset to its sources.")
    DOWNSTREAM = strawberry.enum_value("DOWNSTREAM", description="From an asset to its targets.")


@strawberry.type(description="A lineage link that is effective at two instants and differs between them.")
class LineageLinkChange:
    before: LineageLink = field(READ, "The link at the earlier instant.")
    after: LineageLink = field(READ, "The link at the later instant.")


# Assumed size of a difference. It is rarely larger, and not known before the operation runs.
list_of_differences = list_size(100)


@strawberry.type(description="Difference of a walk from one asset between two instants.")
class LineageDiff:
    from_: datetime = field(READ, "The earlier instant.", name="from")
    to: datetime = field(READ, "The later instant.")
    added_assets: list[LazyAsset] = list_of_differences(
        field(READ, "Assets that the walk returns at the later instant only, as they are then.")
    )
    removed_assets: list[LazyAsset] = list_of_differences(
        field(READ, "Assets that the walk returns at the earlier instant only, as they were then.")
    )
    added_links: list[LineageLink] = list_of_differences(
        field(READ, "Links among the root and the returned assets that exist at the later instant only.")
    )
    removed_links: list[LineageLink] = list_of_differences(
        field(READ, "Links among the root and the returned assets that exist at the earlier instant only.")
    )
    changed_links: list[LineageLinkChange] = list_of_differences(
        field(READ, "Links that are effective at both instants and differ.")
    )
    truncated: LineageTruncation | None = field(
        READ,
        "The limit that truncated one of the walks, or the links of one, so that some differences may be missing or wrong. Null"
        " if the result is exact.",
    )


@strawberry.type
class LineageDiffQueries:
    @walk_cost(*Direction, count=2, link_reads=2)
    @resolver(READ, "Compare the walk from an asset at two instants. Null if the asset exists at neither.")
    async def lineage_diff(
        self,
        info: Info,
        of: Annotated[
            AssetRef,
            strawberry.argument(
                description="The asset to walk from. A name or key means the asset that has it at the later instant, or else at"
                " the earlier."
            ),
        ],
        direction: Annotated[LineageDirection, strawberry.argument(description="Direction of the walk.")],
        from_: Annotated[datetime, strawberry.argument(name="from", description="The earlier instant.")],
        to: Annotated[datetime | None, strawberry.argument(description="The later instant. Defaults to now.")] = None,
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
    ) -> LineageDiff | None:
        until = await (await info.context.transaction.reader()).instant(to)
        if until <= from_:
            raise BadInput(f"to is {write_instant(until)}. It must be after from ({write_instant(from_)}).", field="to")
        query = await walk_query(info, Direction(direction.name), max_depth, filter)
        ref = asset_ref(provided_fields(of))
        found = await info.context.load(REFERENCE_IN_WINDOW, (ref, from_, until))
        if not found.alive:
            return None
        root = found.asset_id
        before, after = await asyncio.gather(*(_walk_snapshot(info, root, instant, query) for instant in (from_, until)))
        removed = await assets_by_id(info, before.assets - after.assets, from_, from_)
        added = await assets_by_id(info, after.assets - before.assets, until, to)
        links_before = {it.row.link_id: it for it in await links_of(info, list(before.links.values()), from_, removed)}
        links_after = {it.row.link_id: it for it in await links_of(info, list(after.links.values()), to, added)}
        return LineageDiff(
            from_=from_,
            to=until,
            added_assets=[added[it] for it in sorted(added)],
            removed_assets=[removed[it] for it in sorted(removed)],
            added_links=[it for link_id, it in links_after.items() if link_id not in links_before],
            removed_links=[it for link_id, it in links_before.items() if link_id not in links_after],
            changed_links=[
                LineageLinkChange(before=it, after=links_after[link_id])
                for link_id, it in links_before.items()
                if link_id in links_after and content_of(before.links[link_id]) != content_of(after.links[link_id])
            ],
            truncated=LineageTruncation.of(before.truncated or after.truncated),
        )


class _WalkSnapshot(NamedTuple):
    """The visible assets of a walk, the links among them, and what truncated either."""

    assets: set[int]
    links: dict[int, LinkRow]
    truncated: walks.Truncation | None


async def _walk_snapshot(info: Info, root: int, instant: datetime, query: WalkQuery) -> _WalkSnapshot:
    walk = await load_walk(info, root, instant, query)
    links = await info.context.load(WHOLE_LINKS_OF_PAGE, WalkPage(walk, 0, walk.visible_count), query)
    info.context.cost_meter.links[WHOLE_LINKS_OF_PAGE, walk] = len(links.rows)
    truncation = None if links.truncation_reason is None else walks.Truncation.of(links.truncation_reason, query.bounds)
    return _WalkSnapshot(
        set(chain.from_iterable(walk.visible_levels)), {it.link_id: it for it in links.rows}, walk.truncation or truncation
    )
