"""The schema: what can be asked and what can be changed, put together from the concepts."""

from functools import partial
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry.schema.config import StrawberryConfig

from db.errors import LimitExceeded
from schema.analytics import AnalyticsQueries
from schema.assets.asset import Asset
from schema.assets.domain import DomainQueries
from schema.assets.entity import Entity, EntityMutations, EntityQueries
from schema.assets.federation import resolve_reference
from schema.assets.product import Product, ProductMutations, ProductQueries
from schema.associations.lineage_link import LineageLink, LinkMutations, LinkQueries
from schema.associations.relationship import Relationship, RelationshipMutations, RelationshipQueries
from schema.execution.context import Info
from schema.execution.federation import SubgraphSchema, tagged
from schema.language.cost import list_size
from schema.language.fields import resolver
from schema.language.node_ids import AsOf, Node, read_id
from schema.language.scalars import SCALARS
from schema.language.scopes import READ
from schema.lazy import ASSET_TYPES, IDENTITY_BY_UID, find_asset
from schema.lineage.path import PathQueries
from schema.lineage.walk import LineageQueries
from schema.registries.detail_type import DetailTypeMutations, DetailTypeQueries
from schema.registries.entity_type import EntityTypeMutations, EntityTypeQueries
from schema.registries.relationship_type import RelationshipTypeMutations, RelationshipTypeQueries
from schema.temporal.changes import ChangeQueries
from schema.temporal.differences import DifferenceQueries
from schema.temporal.history import version_by_start
from schema.tenancy.api_key import ApiKeyMutations, ApiKeyQueries
from schema.tenancy.viewer import ViewerQueries

# Every subgraph knows the ids of its own things: a gateway shows no such field, and may be given one by each of them.
NOT_COMPOSED = {"inaccessible": True, "shareable": True}

# What an id may name, besides versions.
NODE_TYPES: tuple[type[Asset | LineageLink | Relationship], ...] = (*ASSET_TYPES.values(), LineageLink, Relationship)


@tagged
@strawberry.type(description="What can be asked.")
class Query(
    ProductQueries,
    EntityQueries,
    EntityTypeQueries,
    DetailTypeQueries,
    RelationshipTypeQueries,
    RelationshipQueries,
    LinkQueries,
    LineageQueries,
    PathQueries,
    DomainQueries,
    AnalyticsQueries,
    ChangeQueries,
    DifferenceQueries,
    ApiKeyQueries,
    ViewerQueries,
):
    @resolver(READ, "What an id names, at the instant it names; null: there is nothing.", **NOT_COMPOSED)
    async def node(self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]) -> Node | None:
        return await _find(info, id)

    @list_size(100, like="ids")
    @resolver(READ, "What these ids name, in their order; null where there is nothing.", **NOT_COMPOSED)
    def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="The ids.")]
    ) -> list[Node | None]:
        largest = info.context.limits.page_size
        if len(ids) > largest:
            raise LimitExceeded(f"ids has {len(ids)} entries. At most {largest} come at once.", field="ids")
        # each an awaitable of its own: the loaders gather them, and a bad one fails alone
        return [_find(info, id) for id in ids]  # type: ignore[misc]

    @resolver(READ, "The asset with this uid, whatever its kind; null: there is none at that instant.")
    async def asset(
        self, info: Info, uid: Annotated[UUID, strawberry.argument(description="Its uid.")], as_of: AsOf = None
    ) -> Asset | None:
        return await find_asset(info, uid, as_of)


@tagged
@strawberry.type(description="What can be changed. A request is atomic: all of its mutations hold, or none.")
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
    type_name, uid, instant = read_id(id)
    for node_type in NODE_TYPES:
        if type_name == node_type.__name__:
            return await node_type.find(info, uid, instant)
    if type_name == "Version" and instant is not None:
        identity = await info.context.load(IDENTITY_BY_UID, uid)
        if identity is not None:
            return await version_by_start(info, ASSET_TYPES[identity.kind], identity.asset_id, uid, instant)
    return None


schema = SubgraphSchema(
    query=Query,
    mutation=Mutation,
    types=[Product, Entity],
    references={it.__name__ if it else "Asset": partial(resolve_reference, it) for it in (None, Entity, Product)},
    config=StrawberryConfig(scalar_map=SCALARS),
    federation_version="2.9",
)
schema._schema.description = (
    "Where data came from, what it feeds, and what that looked like then. A root field takes `asOf`, an instant; all that is"
    " below it is read as it was at that instant, or now."
)
