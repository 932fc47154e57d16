"""The loaders of one operation: each gathers what is asked for in one turn of the event loop into one statement."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from aiodataloader import DataLoader

from db.assets import domain, entity, node, product
from db.assets.asset import Identity, identities
from db.associations import lineage_link, relationship
from db.connection import ReadConnection
from db.consistency.consistent_dict import ConsistentDict
from db.lineage import analytics, subgraph, walk
from db.lineage.graph import GraphMetrics, find_cycles
from db.lineage.path import best_confidences
from db.pagination import Page, Slice
from db.registries import entity_type
from db.registries.relationship_type import DirectedTypeIds, RelationshipTypes, all_relationship_types
from db.temporal import history
from db.temporal.kind import Kind
from db.tenancy import tenant
from schema.assets.asset import Asset
from schema.assets.asset_types import asset_from_row
from schema.assets.entity_detail import EntityDetail
from schema.registries.entity_type import EntityType

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# Several threads that compute would keep the event loop waiting for its turn; one does not for long.
_BESIDE = ThreadPoolExecutor(1, "headwater-graphs")


class Loader(DataLoader[Any, Any]):
    """A loader that gives each caller a future of its own: where a field fails, graphql-core cancels what stands beside it, and
    what that waited for may be awaited elsewhere too."""

    def load(self, key: Any) -> "asyncio.Future[Any]":
        found = super().load(key)
        if found.done():
            # it cannot be cancelled any more
            return found
        awaited = self.loop.create_future()

        def pass_on(found: "asyncio.Future[Any]") -> None:
            if found.cancelled():
                awaited.cancel()
                return
            error = found.exception()
            if awaited.done():
                return
            if error is None:
                awaited.set_result(found.result())
                return
            awaited.set_exception(error)
            # a field that was given up asks no more what became of it, and asyncio would complain of that
            awaited.exception()

        found.add_done_callback(pass_on)
        return awaited


Connect = Callable[[], Awaitable[ReadConnection]]


class Loaders:
    """One loader a batch function. A loader's name says what it finds and by what.

    A key is what is asked for, followed by whatever else changes the answer; keys alike in the latter share a statement.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.product_by_uid: DataLoader[tuple[UUID, datetime | None], product.ProductRow | None]
        self.product_by_name: DataLoader[tuple[str, datetime | None], product.ProductRow | None]
        self.entity_by_uid: DataLoader[tuple[UUID, datetime | None], entity.EntityRow | None]
        self.entity_by_key: DataLoader[tuple[tuple[str, str], datetime | None], entity.EntityRow | None]
        self.details_by_entity: DataLoader[tuple[tuple[int, datetime], tuple[str, ...] | None], list[EntityDetail]]
        self.entity_type_by_code: DataLoader[tuple[tuple[str, datetime, datetime | None]], EntityType]
        self.domains_then: DataLoader[tuple[datetime], list[str]]
        self.domain_by_name: DataLoader[tuple[str, datetime], str | None]
        self.owners_by_domain: DataLoader[tuple[domain.DomainAt], list[str]]
        self.products_by_domain: DataLoader[tuple[domain.DomainAt, product.ProductQuery, Page], Slice[product.ProductRow]]
        self.product_count_by_domain: DataLoader[tuple[domain.DomainAt, product.ProductQuery], int]
        self.entities_by_domain: DataLoader[tuple[domain.DomainAt, entity.EntityQuery, Page], Slice[entity.EntityRow]]
        self.entity_count_by_domain: DataLoader[tuple[domain.DomainAt, entity.EntityQuery], int]
        self.product_statistics_by_domain: DataLoader[tuple[str, datetime], analytics.ProductStatistics]
        self.crossing_links_by_domain: DataLoader[tuple[str, datetime], analytics.Crossing]
        self.link_statistics: DataLoader[tuple[datetime], analytics.LinkStatistics]
        self.unlinked_count: DataLoader[tuple[datetime, walk.Direction], int]
        self.most_linked: DataLoader[tuple[datetime, walk.Direction, int], list[analytics.Degree]]
        self.shape_of_lineage: DataLoader[tuple[datetime], GraphMetrics | None]
        self.nodes_by_id: DataLoader[tuple[tuple[tuple[int, ...], datetime, datetime | None]], Mapping[int, Asset]]
        self.uids_by_id: DataLoader[tuple[tuple[int, ...]], list[UUID]]
        self.link_by_uid: DataLoader[tuple[UUID, datetime | None], lineage_link.LinkRow | None]
        self.said_of_link: DataLoader[tuple[tuple[int, datetime]], lineage_link.LinkObservation]
        self.relationship_types: DataLoader[tuple[None], RelationshipTypes]
        self.relationship_by_uid: DataLoader[tuple[UUID, datetime | None], relationship.RelationshipRow | None]
        self.relationships_of_asset: DataLoader[
            tuple[tuple[int, datetime], DirectedTypeIds, Page], Slice[relationship.RelationshipRow]
        ]
        self.relationship_count_of_asset: DataLoader[tuple[tuple[int, datetime], DirectedTypeIds], int]
        self.related_to_asset: DataLoader[tuple[tuple[int, datetime], DirectedTypeIds, Page], Slice[int]]
        self.related_count_of_asset: DataLoader[tuple[tuple[int, datetime], DirectedTypeIds], int]
        self.walk_by_root: DataLoader[tuple[tuple[int, datetime | None], walk.WalkQuery], walk.Walk]
        self.links_of_stretch: DataLoader[tuple[walk.WalkPage, walk.WalkQuery], subgraph.PageLinks]
        self.graph_of_walk: DataLoader[tuple[walk.Walk, walk.WalkQuery], subgraph.Subgraph]
        self.cycles_of_walk: DataLoader[tuple[walk.Walk, walk.WalkQuery], list[list[int]]]
        self.trust_of_walk: DataLoader[tuple[walk.Walk, walk.WalkQuery], Mapping[int, float]]
        self.identity_by_uid: DataLoader[tuple[UUID], Identity | None]
        self.history_by_subject: DataLoader[tuple[int, Kind, Page], Slice[history.VersionRow]]
        self.history_count_by_subject: DataLoader[tuple[int, Kind], int]
        self.quotas: DataLoader[tuple[None], Mapping[str, tenant.Quota]]
        self.forget()

    def forget(self) -> None:
        """Read anew from here on: something was written."""
        self.product_by_uid = self._loader(product.products_by_uid)
        self.product_by_name = self._loader(product.products_by_name)
        self.entity_by_uid = self._loader(entity.entities_by_uid)
        self.entity_by_key = self._loader(entity.entities_by_key)
        self.details_by_entity = self._loader(entity.details_by_entity, EntityDetail.of_all)
        self.entity_type_by_code = self._loader(_entity_types_by_code)
        self.domains_then = self._loader(domain.domains_at)
        self.domain_by_name = self._loader(domain.domains_by_name)
        self.owners_by_domain = self._loader(domain.owners_by_domain)
        self.products_by_domain = self._loader(product.products_by_domain)
        self.product_count_by_domain = self._loader(product.count_products_by_domain)
        self.entities_by_domain = self._loader(entity.entities_by_domain)
        self.entity_count_by_domain = self._loader(entity.count_entities_by_domain)
        self.product_statistics_by_domain = self._loader(analytics.product_statistics)
        self.crossing_links_by_domain = self._loader(analytics.crossing_links)
        self.link_statistics = self._loader(analytics.link_statistics)
        self.unlinked_count = self._loader(analytics.count_unlinked)
        self.most_linked = self._loader(analytics.most_linked)
        self.shape_of_lineage = self._loader(analytics.graph_metrics)
        self.nodes_by_id = self._loader(_nodes_by_id)
        self.uids_by_id = self._loader(node.uids_by_id)
        self.link_by_uid = self._loader(lineage_link.links_by_uid)
        self.said_of_link = self._loader(lineage_link.link_observations)
        self.relationship_types = self._loader(_relationship_types)
        self.relationship_by_uid = self._loader(relationship.relationships_by_uid)
        self.relationships_of_asset = self._loader(relationship.relationships_of_assets)
        self.relationship_count_of_asset = self._loader(relationship.count_relationships_of_assets)
        self.related_to_asset = self._loader(relationship.related_to_assets)
        self.related_count_of_asset = self._loader(relationship.count_related)
        self.walk_by_root = self._loader(walk.run_walks)
        self.links_of_stretch = self._loader(subgraph.links_of_pages)
        self.graph_of_walk = self._loader(subgraph.subgraphs_of_walks)
        self.cycles_of_walk = self._computed(lambda graph, _: find_cycles(graph.sources, graph.targets))
        self.trust_of_walk = self._computed(lambda graph, walk: best_confidences(walk.root_id, graph, walk.query.direction))
        self.identity_by_uid = self._loader(identities)
        self.history_by_subject = self._loader(history.histories)
        self.history_count_by_subject = self._loader(history.count_histories)
        self.quotas = self._loader(_quotas)

    def let_go(self) -> None:
        """Keep nothing of what was found: whoever runs an operation is held in circles, and this would be with it."""
        for loader in vars(self).values():
            if isinstance(loader, DataLoader):
                loader.clear_all()

    def _loader(
        self, find: Callable[..., Awaitable[Sequence[Any]]], build: Callable[[Any], Any] | None = None
    ) -> "DataLoader[Any, Any]":
        """A loader of what is found, or of what is built of it: then a resolver may give the loader's future as it is."""

        async def batch(keys: list[tuple[Any, ...]]) -> list[Any]:
            connection = await self._connect()
            positions: dict[tuple[Any, ...], list[int]] = defaultdict(list)
            for position, (_, *shared) in enumerate(keys):
                positions[tuple(shared)].append(position)
            found: list[Any] = [None] * len(keys)
            for shared_part, places in positions.items():
                values = await find(connection, [keys[place][0] for place in places], *shared_part)
                for place, value in zip(places, values, strict=True):
                    found[place] = value if build is None else build(value)
            return found

        return Loader(batch)

    def _computed(self, compute: Callable[[subgraph.Subgraph, walk.Walk], Any]) -> "DataLoader[Any, Any]":
        """A loader of what is computed of each walk's graph, beside the event loop: one batch after the other."""

        async def batch(keys: list[tuple[walk.Walk, walk.WalkQuery]]) -> list[Any]:
            graphs = await asyncio.gather(*(self.graph_of_walk.load(key) for key in keys))

            def work() -> list[Any]:
                return [compute(graph, walk) for graph, (walk, _) in zip(graphs, keys, strict=True)]

            return await asyncio.get_running_loop().run_in_executor(_BESIDE, work)

        return Loader(batch)


async def _entity_types_by_code(
    connection: ReadConnection, readings: Sequence[tuple[str, datetime, datetime | None]]
) -> list[EntityType | None]:
    """Types of what was read at instants of its own: one statement, for types are not versioned."""
    rows = await entity_type.entity_types_by_code(connection, [code for code, _, _ in readings])
    return [
        None if row is None else EntityType.of(row, as_of, pinned) for row, (_, as_of, pinned) in zip(rows, readings, strict=True)
    ]


async def _relationship_types(connection: ReadConnection, asked: Sequence[None]) -> list[RelationshipTypes]:
    """The whole registry: it is small."""
    return [await all_relationship_types(connection)] * len(asked)


async def _quotas(connection: ReadConnection, asked: Sequence[None]) -> list[Mapping[str, tenant.Quota]]:
    """All quotas of the tenant: there are few."""
    return [await tenant.quotas(connection)] * len(asked)


async def _nodes_by_id(
    connection: ReadConnection, sets: Sequence[tuple[tuple[int, ...], datetime, datetime | None]]
) -> list[ConsistentDict[int, Asset]]:
    """Sets of assets, whatever their kinds, each set at an instant: one statement for all of them."""
    readings = list(dict.fromkeys((it, instant) for ids, instant, _ in sets for it in ids))
    rows = dict(zip(readings, await node.nodes_by_id(connection, readings), strict=True))
    # of one reading that is pinned, and of one that is not, the ids differ
    nodes: dict[tuple[int, datetime, datetime | None], Asset] = {}
    for ids, instant, pinned in sets:
        for it in ids:
            row = rows[it, instant]
            if row is not None and (it, instant, pinned) not in nodes:
                nodes[it, instant, pinned] = asset_from_row(row, pinned)
    return [
        ConsistentDict({it: nodes[it, instant, pinned] for it in ids if (it, instant, pinned) in nodes})
        for ids, instant, pinned in sets
    ]
