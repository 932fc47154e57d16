"""Analytics: what there is at an instant, counted by domain, and what the graph of all lineage looks like."""

from datetime import datetime
from typing import Annotated

import strawberry

from db.assets.entity_query import EntityQuery
from db.lineage import analytics
from db.lineage.analytics import Crossing, ProductStatistics
from db.lineage.graph import GraphMetrics
from db.lineage.walk import Direction
from schema.assets.asset import Asset
from schema.assets.domain import DOMAINS_AT, ENTITY_COUNT_BY_DOMAIN, Domain
from schema.assets.product import ProductStatus
from schema.associations.lineage_link import LineageType
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import GRAPH_WEIGHT, cost, list_size
from schema.language.node_ids import AsOf
from schema.language.pagination import page_size
from schema.language.scopes import READ, field, resolver
from schema.lazy import assets_by_id

PRODUCT_STATISTICS_BY_DOMAIN = Batch(analytics.product_statistics)
CROSSING_LINKS_BY_DOMAIN = Batch(analytics.crossing_links)
LINK_STATISTICS = Batch(analytics.link_statistics)
UNLINKED_COUNT = Batch(analytics.count_unlinked)
MOST_LINKED = Batch(analytics.most_linked)
GRAPH_METRICS = Batch(analytics.graph_metrics)

Most = Annotated[int, strawberry.argument(description="How many to give.")]


@strawberry.federation.type(description="How many products have a status.", shareable=True)
class StatusCount:
    status: ProductStatus = field(READ, "The status.")
    count: int = field(READ, "How many have it.")


@strawberry.federation.type(description="How many links are of a type.", shareable=True)
class TypeCount:
    type: LineageType = field(READ, "The type.")
    count: int = field(READ, "How many are of it.")


@strawberry.type(description="An asset, and how many others it is linked to on one side.")
class AssetDegree:
    asset: Asset = field(READ, "The asset.")
    degree: int = field(READ, "How many assets there are on that side of it, each counted once, however many links lead there.")


@strawberry.type(description="A domain in numbers.")
class DomainStats:
    domain: Domain = field(READ, "The domain.")

    @resolver(READ, "How many products are in it.")
    async def products(self, info: Info) -> int:
        return (await self._products(info)).products

    @list_size(3)
    @resolver(READ, "How many of them have each status that occurs.")
    async def by_status(self, info: Info) -> list[StatusCount]:
        counts = (await self._products(info)).by_status
        return [StatusCount(status=it, count=counts[it.name]) for it in ProductStatus if it.name in counts]

    @resolver(READ, "How many entities there are of the types that belong to it.")
    def entities(self, info: Info) -> int:
        return info.context.load(ENTITY_COUNT_BY_DOMAIN, self.domain.reading, EntityQuery())  # type: ignore[return-value]

    @resolver(READ, "How many lineage links lead into it: to one of its assets, from one of another domain or of none.")
    async def inbound_links(self, info: Info) -> int:
        return (await self._crossing(info)).inbound

    @resolver(READ, "How many lineage links lead out of it: from one of its assets, to one of another domain or of none.")
    async def outbound_links(self, info: Info) -> int:
        return (await self._crossing(info)).outbound

    @resolver(READ, "How many different owners its products have.")
    async def owners(self, info: Info) -> int:
        return (await self._products(info)).owners

    async def _products(self, info: Info) -> ProductStatistics:
        return await info.context.load(PRODUCT_STATISTICS_BY_DOMAIN, self.domain.name, self.domain.as_of)

    async def _crossing(self, info: Info) -> Crossing:
        return await info.context.load(CROSSING_LINKS_BY_DOMAIN, self.domain.name, self.domain.as_of)


@strawberry.type(description="The graph of all lineage in numbers.")
class LineageStats:
    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @resolver(READ, "How many links there are; several producers' between the same two assets are several.")
    async def links(self, info: Info) -> int:
        return (await info.context.load(LINK_STATISTICS, self.as_of)).links

    @list_size(3)
    @resolver(READ, "How many of them are of each type that occurs.")
    async def by_type(self, info: Info) -> list[TypeCount]:
        counts = (await info.context.load(LINK_STATISTICS, self.as_of)).by_type
        return [TypeCount(type=it, count=counts[it.name]) for it in LineageType if it.name in counts]

    @resolver(READ, "How sure they are on average, from 0 to 1; null: there are none.")
    async def average_confidence(self, info: Info) -> float | None:
        return (await info.context.load(LINK_STATISTICS, self.as_of)).average_confidence

    @resolver(READ, "How many assets nothing feeds.")
    def assets_without_upstream(self, info: Info) -> int:
        return info.context.load(UNLINKED_COUNT, self.as_of, Direction.UPSTREAM)  # type: ignore[return-value]

    @resolver(READ, "How many assets feed nothing.")
    def assets_without_downstream(self, info: Info) -> int:
        return info.context.load(UNLINKED_COUNT, self.as_of, Direction.DOWNSTREAM)  # type: ignore[return-value]

    @list_size(by=("first",))
    @resolver(READ, "The assets that the greatest numbers of others feed directly, the largest first.")
    async def most_upstream(self, info: Info, first: Most = 10) -> list[AssetDegree]:
        return await self._most(info, Direction.UPSTREAM, first)

    @list_size(by=("first",))
    @resolver(READ, "The assets that feed the greatest numbers of others directly, the largest first.")
    async def most_downstream(self, info: Info, first: Most = 10) -> list[AssetDegree]:
        return await self._most(info, Direction.DOWNSTREAM, first)

    @cost(GRAPH_WEIGHT)
    @resolver(
        READ,
        "How many links the longest chain has, where assets that feed each other in circles count as one; null: it would take too"
        " long to find out.",
    )
    async def longest_path(self, info: Info) -> int | None:
        found = await self._shape(info)
        return None if found is None else found.longest_path

    @cost(GRAPH_WEIGHT)
    @resolver(
        READ,
        "How many groups of assets feed each other in circles: strongly connected components of more than one asset; null: it"
        " would take too long to find out.",
    )
    async def cycles(self, info: Info) -> int | None:
        found = await self._shape(info)
        return None if found is None else found.cycles

    async def _shape(self, info: Info) -> GraphMetrics | None:
        info.context.cost_meter.visited += GRAPH_WEIGHT
        return await info.context.load(GRAPH_METRICS, self.as_of)

    async def _most(self, info: Info, direction: Direction, first: int) -> list[AssetDegree]:
        size = page_size("first", first, info.context.limits.page_size)
        found = await info.context.load(MOST_LINKED, self.as_of, direction, size)
        nodes = await assets_by_id(info, {it.asset_id for it in found}, self.as_of, self.pinned)
        return [AssetDegree(asset=nodes[it.asset_id], degree=it.degree) for it in found]


@strawberry.type(description="What there is at one instant, in numbers.")
class Analytics:
    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @list_size(50)
    @resolver(READ, "Each domain that there is, in order of the name.")
    async def domains(self, info: Info) -> list[DomainStats]:
        names = await info.context.load(DOMAINS_AT, self.as_of)
        return [DomainStats(domain=Domain(name=it, as_of=self.as_of, pinned=self.pinned)) for it in names]

    @cost(GRAPH_WEIGHT)
    @resolver(READ, "What feeds what, all of it.")
    def lineage(self, info: Info) -> LineageStats:
        info.context.cost_meter.visited += GRAPH_WEIGHT - 1
        return LineageStats(as_of=self.as_of, pinned=self.pinned)


@strawberry.type
class AnalyticsQueries:
    @resolver(READ, "What there is at that instant, in numbers. What is not asked for is not counted.")
    async def analytics(self, info: Info, as_of: AsOf = None) -> Analytics | None:
        connection = await info.context.transaction.reader()
        return Analytics(as_of=as_of or connection.now, pinned=as_of)
