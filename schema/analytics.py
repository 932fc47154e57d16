"""Analytics: statistics of domains and of the graph of all lineage links, at an instant."""

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
from schema.language.cost import LINKS_PER_OBJECT, list_size, scan_cost
from schema.language.fields import field, resolver
from schema.language.node_ids import AsOf
from schema.language.pagination import checked_page_size
from schema.language.scopes import READ
from schema.lazy import assets_by_id

# Decimal digits of an average that do not depend on the order in which its values are added.
AVERAGE_DIGITS = 12

PRODUCT_STATISTICS_BY_DOMAIN = Batch(analytics.product_statistics)
CROSSING_LINKS_BY_DOMAIN = Batch(analytics.crossing_links)
LINK_STATISTICS = Batch(analytics.link_statistics)
UNLINKED_COUNT = Batch(analytics.count_unlinked)
MOST_LINKED = Batch(analytics.most_linked)
GRAPH_METRICS = Batch(analytics.graph_metrics)

Most = Annotated[int, strawberry.argument(description="Maximum number of assets.")]


@strawberry.federation.type(description="Number of products with a status.", shareable=True)
class ProductStatusCount:
    status: ProductStatus = field(READ, "Status of the products.")
    count: int = field(READ, "Number of products.")


@strawberry.federation.type(description="Number of lineage links of a type.", shareable=True)
class LineageTypeCount:
    type: LineageType = field(READ, "Type of the links.")
    count: int = field(READ, "Number of links.")


@strawberry.type(description="An asset and the number of its direct neighbours in one direction.")
class AssetDegree:
    asset: Asset = field(READ, "The asset.")
    degree: int = field(
        READ, "Number of direct neighbours in that direction. Each asset counts once, whatever the number of links."
    )


@strawberry.type(description="Statistics of a domain.")
class DomainStats:
    domain: Domain = field(READ, "The domain.")

    @resolver(READ, "Number of products in the domain.")
    async def products(self, info: Info) -> int:
        return (await self._products(info)).products

    @list_size(3)
    @resolver(READ, "Number of products by status. A status without products is left out.")
    async def by_status(self, info: Info) -> list[ProductStatusCount]:
        counts = (await self._products(info)).by_status
        return [ProductStatusCount(status=it, count=counts[it.name]) for it in ProductStatus if it.name in counts]

    @resolver(READ, "Number of entities whose type belongs to the domain.")
    def entities(self, info: Info) -> int:
        return info.context.load(ENTITY_COUNT_BY_DOMAIN, self.domain.key, EntityQuery())  # type: ignore[return-value]

    @resolver(READ, "Number of lineage links into the domain: to one of its assets, from an asset of another domain or of none.")
    async def inbound_links(self, info: Info) -> int:
        return (await self._crossing(info)).inbound

    @resolver(
        READ, "Number of lineage links out of the domain: from one of its assets, to an asset of another domain or of none."
    )
    async def outbound_links(self, info: Info) -> int:
        return (await self._crossing(info)).outbound

    @resolver(READ, "Number of distinct owners of its products.")
    async def owners(self, info: Info) -> int:
        return (await self._products(info)).owners

    async def _products(self, info: Info) -> ProductStatistics:
        return await info.context.load(PRODUCT_STATISTICS_BY_DOMAIN, self.domain.name, self.domain.as_of)

    async def _crossing(self, info: Info) -> Crossing:
        return await info.context.load(CROSSING_LINKS_BY_DOMAIN, self.domain.name, self.domain.as_of)


@strawberry.type(description="Statistics of the graph of all lineage links.")
class LineageStats:
    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @resolver(READ, "Number of links. Links of several producers between the same two assets count separately.")
    async def links(self, info: Info) -> int:
        return (await info.context.load(LINK_STATISTICS, self.as_of)).links

    @list_size(3)
    @resolver(READ, "Number of links by type. A type without links is left out.")
    async def by_type(self, info: Info) -> list[LineageTypeCount]:
        counts = (await info.context.load(LINK_STATISTICS, self.as_of)).by_type
        return [LineageTypeCount(type=it, count=counts[it.name]) for it in LineageType if it.name in counts]

    @resolver(READ, "Average confidence, from 0 to 1. Null if there are no links.")
    async def average_confidence(self, info: Info) -> float | None:
        average = (await info.context.load(LINK_STATISTICS, self.as_of)).average_confidence
        # the last digits depend on the order in which PostgreSQL adds the confidences
        return None if average is None else round(average, AVERAGE_DIGITS)

    @resolver(READ, "Number of assets without upstream links.")
    def assets_without_upstream(self, info: Info) -> int:
        return info.context.load(UNLINKED_COUNT, self.as_of, Direction.UPSTREAM)  # type: ignore[return-value]

    @resolver(READ, "Number of assets without downstream links.")
    def assets_without_downstream(self, info: Info) -> int:
        return info.context.load(UNLINKED_COUNT, self.as_of, Direction.DOWNSTREAM)  # type: ignore[return-value]

    @list_size(by=("first",))
    @resolver(READ, "Assets with the most direct upstream neighbours, most first.")
    async def most_upstream(self, info: Info, first: Most = 10) -> list[AssetDegree]:
        return await self._most(info, Direction.UPSTREAM, first)

    @list_size(by=("first",))
    @resolver(READ, "Assets with the most direct downstream neighbours, most first.")
    async def most_downstream(self, info: Info, first: Most = 10) -> list[AssetDegree]:
        return await self._most(info, Direction.DOWNSTREAM, first)

    @scan_cost("links", rows_per_object=LINKS_PER_OBJECT)
    @resolver(
        READ,
        "Length of the longest path, in links. The assets of a cycle count as one. Null if the computation exceeded its"
        " time limit.",
    )
    async def longest_path(self, info: Info) -> int | None:
        metrics = await self._metrics(info)
        return None if metrics is None else metrics.longest_path

    @scan_cost("links", rows_per_object=LINKS_PER_OBJECT)
    @resolver(
        READ,
        "Number of cycles: strongly connected components of more than one asset. Null if the computation exceeded its"
        " time limit.",
    )
    async def cycles(self, info: Info) -> int | None:
        metrics = await self._metrics(info)
        return None if metrics is None else metrics.cycles

    async def _metrics(self, info: Info) -> GraphMetrics | None:
        return await info.context.load(GRAPH_METRICS, self.as_of)

    async def _most(self, info: Info, direction: Direction, first: int) -> list[AssetDegree]:
        size = checked_page_size("first", first, info.context.limits.page_size)
        degrees = await info.context.load(MOST_LINKED, self.as_of, direction, size)
        assets = await assets_by_id(info, {it.asset_id for it in degrees}, self.as_of, self.pinned)
        return [AssetDegree(asset=assets[it.asset_id], degree=it.degree) for it in degrees]


@strawberry.type(description="Statistics at one instant.")
class Analytics:
    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @scan_cost("products", "links")
    @list_size(50)
    @resolver(READ, "Statistics of each domain, in order of the name.")
    async def domains(self, info: Info) -> list[DomainStats]:
        names = await info.context.load(DOMAINS_AT, self.as_of)
        return [DomainStats(domain=Domain(name=it, as_of=self.as_of, pinned=self.pinned)) for it in names]

    @scan_cost("links", rows_per_object=LINKS_PER_OBJECT)
    @resolver(READ, "Statistics of all lineage links.")
    def lineage(self) -> LineageStats:
        return LineageStats(as_of=self.as_of, pinned=self.pinned)


@strawberry.type
class AnalyticsQueries:
    @resolver(READ, "Statistics at an instant. Only selected statistics are computed.")
    async def analytics(self, info: Info, as_of: AsOf = None) -> Analytics | None:
        connection = await info.context.transaction.reader()
        return Analytics(as_of=await connection.instant(as_of), pinned=as_of)
