"""Assets: the fields that products and entities share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self, cast
from uuid import UUID

import strawberry

from db.assets.asset_fields import DOWNSTREAM_COUNT, UPSTREAM_COUNT
from db.lineage.walk import Direction
from db.temporal.history import VersionPeriod
from db.temporal.kind import Kind
from schema.associations.relationship import BOTH, AssetEnd, Relationship, Types, related_connections, relationships_of_assets
from schema.execution.context import Info
from schema.execution.loading import Loadable
from schema.language.columns import column, reads
from schema.language.cost import count_cost, list_size, walk_cost
from schema.language.fields import batched, carried
from schema.language.node_ids import AsOf, Node
from schema.language.pagination import After, Before, Connection, First, Last, PageArguments, paged
from schema.language.references import AssetKind
from schema.language.scopes import READ
from schema.lazy import LazyDomain
from schema.lineage.counts import lineage_counts
from schema.lineage.walk import LineageConnection, walk_connections
from schema.lineage.walk_arguments import DEFAULT_WALK_PAGE_SIZE, MaxDepth, WalkAfter, WalkFilter, WalkFirst
from schema.temporal.history import AssetVersion, asset_histories

COUNT = (
    "Number of assets that {}, directly or through others within maxDepth links. Null if there are too many to count; then an"
    " error says so."
)
LABEL = "Name to display: the name of a product, the display name of an entity."
TYPE_LABEL = "Display name of the type: `Product`, or the label of the type of an entity."
ASSET_KEY = "Key by which users name the asset: the name of a product, the key of an entity in the system that it comes from."
DESCRIPTION = "Content and purpose of the asset. That of an entity is its detail with the role `DESCRIPTION`."
DOMAIN = "Domain that owns the asset: that of a product, or that of the type of an entity."
OWNER = "Owner of the asset. That of an entity is its detail with the role `OWNER`."
URL = "Address of a page about the asset: the detail of an entity with the role `URL`. Null for a product."
TAGS = "Tags of the asset. Those of an entity are its details with the role `TAG`."


@strawberry.federation.interface(
    keys=["id", "uid"],
    description="A product or an entity, as it was at one instant. Lineage links and relationships connect assets.",
)
class Asset(Node):
    uid: UUID = column(READ, "Stable uid. It never changes.")
    asset_kind: AssetKind = column(READ, "Kind of the asset.", "kind", name="kind")
    label: str = column(READ, LABEL)
    type_label: str = column(READ, TYPE_LABEL)
    key: str | None = column(READ, ASSET_KEY)
    description: str | None = column(READ, DESCRIPTION)
    domain: LazyDomain | None = column(READ, DOMAIN)
    owner: str | None = column(READ, OWNER)
    url: str | None = column(READ, URL)
    tags: list[str] = column(READ, TAGS)
    as_of: datetime = column(READ, "Instant at which the asset was read.")
    valid_from: datetime = column(READ, "Start of the period in which the asset did not change.")
    valid_to: datetime | None = column(READ, "End of that period. Null if it continues.")
    created_at: datetime = column(READ, "Instant at which the asset was first created.")
    updated_at: datetime = column(READ, "Instant of the last change, up to the instant of this read.", "valid_from")

    kind: ClassVar[Kind]
    # finds the rows of this kind
    by_uid: ClassVar[Loadable[Any, UUID, datetime | None]]
    row: strawberry.Private[Any]
    # the requested instant, if any
    pinned: strawberry.Private[datetime | None]

    @property
    def asset_id(self) -> int:
        return cast(int, self.row["asset_id"])

    @classmethod
    def resolve_type(cls, asset: "Asset", *_: object) -> str:
        """Return the name of the GraphQL type of an asset."""
        return type(asset).__name__

    @classmethod
    def of(cls, row: Any, pinned: datetime | None) -> Self:
        """Return the asset of a row; `pinned` is the requested instant, if any."""
        asset = cls.__new__(cls)
        asset.row = row
        asset.pinned = pinned
        return asset

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> Self | None:
        """Return the asset of this kind with a uid, at the requested instant or else now."""
        row = await info.context.load(cls.by_uid, uid, pinned)
        return None if row is None else cls.of(row, pinned)

    @classmethod
    def from_version(cls, uid: UUID, version: VersionPeriod) -> "Asset":
        """Build the asset from a period of its history."""
        raise TypeError(f"{cls.__name__} does not implement from_version()")

    @walk_cost(Direction.UPSTREAM)
    @list_size(by=("first",), of=("edges", "nodes", "links"))
    @batched(READ, "Assets that feed it, directly or through others. Null if the walk failed; then an error says why.")
    @staticmethod
    async def upstream(
        assets: Sequence["Asset"],
        info: Info,
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
        first: WalkFirst = DEFAULT_WALK_PAGE_SIZE,
        after: WalkAfter = None,
        as_of: AsOf = None,
    ) -> list[LineageConnection | None]:
        return await walk_connections(info, assets, Direction.UPSTREAM, max_depth, filter, first, after, as_of)

    @walk_cost(Direction.DOWNSTREAM)
    @list_size(by=("first",), of=("edges", "nodes", "links"))
    @batched(READ, "Assets that it feeds, directly or through others. Null if the walk failed; then an error says why.")
    @staticmethod
    async def downstream(
        assets: Sequence["Asset"],
        info: Info,
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
        first: WalkFirst = DEFAULT_WALK_PAGE_SIZE,
        after: WalkAfter = None,
        as_of: AsOf = None,
    ) -> list[LineageConnection | None]:
        return await walk_connections(info, assets, Direction.DOWNSTREAM, max_depth, filter, first, after, as_of)

    @count_cost(Direction.UPSTREAM)
    @carried(UPSTREAM_COUNT, unless="maxDepth")
    @batched(READ, COUNT.format("feed it"))
    @staticmethod
    async def upstream_count(assets: Sequence["Asset"], info: Info, max_depth: MaxDepth = 1) -> list[int | None]:
        return await lineage_counts(info, assets, Direction.UPSTREAM, max_depth)

    @count_cost(Direction.DOWNSTREAM)
    @carried(DOWNSTREAM_COUNT, unless="maxDepth")
    @batched(READ, COUNT.format("it feeds"))
    @staticmethod
    async def downstream_count(assets: Sequence["Asset"], info: Info, max_depth: MaxDepth = 1) -> list[int | None]:
        return await lineage_counts(info, assets, Direction.DOWNSTREAM, max_depth)

    @reads("as_of")
    @paged
    @batched(READ, "Relationships of the asset, in order of their type.")
    @staticmethod
    async def relationships(
        assets: Sequence["Asset"],
        info: Info,
        types: Types = None,
        direction: AssetEnd = BOTH,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> list[Connection[Relationship]]:
        return await relationships_of_assets(info, assets, types, direction, PageArguments(first, after, last, before), as_of)

    @reads("as_of")
    @paged
    @batched(READ, "Assets that are related to it under a key, seen from either end. Each asset comes once.")
    @staticmethod
    async def related(
        assets: Sequence["Asset"],
        info: Info,
        key: Annotated[
            str,
            strawberry.argument(
                description="Key of the relationship, seen from this asset, or the key with its ends, such as `PRODUCT"
                " steward PERSON`."
            ),
        ],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> list["Connection[Asset]"]:
        return await related_connections(info, assets, key, PageArguments(first, after, last, before), as_of)

    @paged
    @batched(
        READ,
        "All versions of the asset, oldest first, each with what changed. The history does not depend on asOf.",
    )
    @staticmethod
    async def history(
        assets: Sequence["Asset"], info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> list[Connection[AssetVersion]]:
        return await asset_histories(info, assets, PageArguments(first, after, last, before))
