"""The schema: the queries and mutations of all concepts, and the fields that read any object by its id."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import strawberry
from strawberry.schema.config import StrawberryConfig

from schema.analytics import AnalyticsQueries
from schema.assets.domain import Domain, DomainQueries
from schema.assets.entity import Entity, EntityMutations, EntityQueries
from schema.assets.federation import REFERENCES
from schema.assets.lookup import AssetQueries
from schema.assets.product import Product, ProductMutations, ProductQueries
from schema.assets.product_walks import PREFETCHES
from schema.associations.lineage_link import LineageLink, LineageLinkVersion, LinkMutations, LinkQueries
from schema.associations.relationship import Relationship, RelationshipMutations, RelationshipQueries, RelationshipVersion
from schema.changes.changes import ChangeQueries
from schema.changes.differences import DifferenceQueries
from schema.execution.context import Info
from schema.execution.federation import SubgraphSchema, tagged
from schema.language.cost import list_size
from schema.language.fields import resolver
from schema.language.limits import check_entries
from schema.language.node_ids import Node, read_id
from schema.language.scalars import SCALARS
from schema.language.scopes import READ
from schema.lazy import ASSET_TYPES
from schema.lineage.between import LineageBetweenQueries
from schema.lineage.diff import LineageDiffQueries
from schema.lineage.path import PathQueries
from schema.registries.detail_type import DetailTypeMutations, DetailTypeQueries
from schema.registries.entity_type import EntityTypeMutations, EntityTypeQueries
from schema.registries.relationship_type import RelationshipTypeMutations, RelationshipTypeQueries
from schema.search import SearchQueries
from schema.temporal.history import AssetVersion
from schema.tenancy.api_key import ApiKeyMutations, ApiKeyQueries
from schema.tenancy.viewer import ViewerQueries

# Each subgraph resolves only its own ids, so a gateway hides these fields, and several subgraphs may define them.
NOT_COMPOSED = {"inaccessible": True, "shareable": True}

# The types that an id may name.
NODE_TYPES: Sequence[type[Any]] = (
    *ASSET_TYPES.values(),
    LineageLink,
    Relationship,
    Domain,
    AssetVersion,
    LineageLinkVersion,
    RelationshipVersion,
)


@tagged
@strawberry.type(description="Queries.")
class Query(
    ProductQueries,
    EntityQueries,
    EntityTypeQueries,
    DetailTypeQueries,
    RelationshipTypeQueries,
    RelationshipQueries,
    LinkQueries,
    LineageDiffQueries,
    LineageBetweenQueries,
    PathQueries,
    DomainQueries,
    AnalyticsQueries,
    SearchQueries,
    ChangeQueries,
    DifferenceQueries,
    ApiKeyQueries,
    ViewerQueries,
    AssetQueries,
):
    @resolver(READ, "The object with this id, at the instant of the id. Null if there is none.", **NOT_COMPOSED)
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Id of the object.")]
    ) -> Node | None:
        return await _find(info, id)

    @list_size(100, like="ids")
    @resolver(READ, "The objects with these ids, in the same order. Null for each id without an object.", **NOT_COMPOSED)
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="Ids of the objects.")]
    ) -> list[Node | None]:
        check_entries("ids", ids, info.context.limits.page_size)
        # started together, so that the loaders batch them; an invalid id fails without the others
        return await asyncio.gather(*(_find(info, id) for id in ids), return_exceptions=True)  # type: ignore[return-value]


@tagged
@strawberry.type(description="Mutations. A request is atomic: all of its mutations are committed, or none.")
class Mutation(
    ProductMutations,
    EntityMutations,
    EntityTypeMutations,
    DetailTypeMutations,
    RelationshipTypeMutations,
    RelationshipMutations,
    LinkMutations,
    ApiKeyMutations,
):
    pass


async def _find(info: Info, id: str) -> Node | None:
    type_name, key, instant = read_id(id)
    for node_type in NODE_TYPES:
        if type_name == node_type.__name__:
            found: Node | None = await node_type.find(info, key, instant)
            return found
    return None


schema = SubgraphSchema(
    query=Query,
    mutation=Mutation,
    types=[Product, Entity],
    prefetches=PREFETCHES,
    references=REFERENCES,
    config=StrawberryConfig(scalar_map=SCALARS),
    federation_version="2.9",
)
schema._schema.description = (
    "Data lineage: where data comes from and what it feeds, now and at any earlier instant. Root fields take `asOf`, an instant;"
    " everything below is read as it was at that instant. Without it, the current state is read."
)
