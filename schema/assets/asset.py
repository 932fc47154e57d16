"""What every node of the graph has, whatever its kind."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import strawberry

from db.lineage.walk import Direction
from db.temporal.history import VersionPeriod
from db.temporal.kind import Kind
from schema.associations.relationship import BOTH, Relationship, Types, related_connection, relationships_of_asset
from schema.associations.relationship import Direction as Side
from schema.execution.context import Info
from schema.language.cost import list_size, walk_cost
from schema.language.node_ids import AsOf, Node
from schema.language.pagination import After, Before, Connection, First, Last, paged
from schema.language.scopes import READ, field, resolver
from schema.lineage.walk import LineageConnection, MaxDepth, WalkAfter, WalkFilter, WalkFirst, walk_connection
from schema.temporal.history import Version, version_connection


@strawberry.federation.interface(
    keys=["id", "uid"], description="A product or an entity, as it was at one instant: what lineage and joins lead from and to."
)
class Asset(Node):
    uid: UUID = field(READ, "Stable across time, whatever changes about it.")
    label: str = field(READ, "What to call it: a product's name, an entity's display name.")
    as_of: datetime = field(READ, "The instant this reading is of.")
    valid_from: datetime = field(READ, "Since when it has been like this.")
    valid_to: datetime | None = field(READ, "Until when it was like this; null: still so.")
    created_at: datetime = field(READ, "When it first came to be.")
    updated_at: datetime = field(READ, "When it last changed, as of this reading.")

    kind: ClassVar[Kind]
    asset_id: strawberry.Private[int]
    pinned: strawberry.Private[datetime | None]

    @classmethod
    def resolve_type(cls, asset: "Asset", *_: object) -> str:
        """Which type of asset it is, as its class is called."""
        return type(asset).__name__

    @classmethod
    def of(cls, row: Any, pinned: datetime | None) -> "Asset":
        """Build the asset from its row; `pinned` is the requested instant, if any."""
        raise TypeError(f"{cls.__name__} does not say how it is built")

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "Asset | None":
        """The asset of this kind with a uid, at the instant that was asked for, else now."""
        raise TypeError(f"{cls.__name__} does not say how it is found")

    @classmethod
    def from_version(cls, uid: UUID, version: VersionPeriod) -> "Asset":
        """The asset as one stretch of its history has it."""
        raise TypeError(f"{cls.__name__} does not say how it is read from its history")

    @walk_cost()
    @list_size(by=("first",), of=("edges", "nodes", "links"))
    @resolver(READ, "All that feeds it, directly or through others; null: that could not be found out, and an error says why.")
    async def upstream(
        self,
        info: Info,
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
        first: WalkFirst = 100,
        after: WalkAfter = None,
        as_of: AsOf = None,
    ) -> LineageConnection | None:
        return await walk_connection(info, self, Direction.UPSTREAM, max_depth, filter, first, after, as_of)

    @walk_cost()
    @list_size(by=("first",), of=("edges", "nodes", "links"))
    @resolver(READ, "All that it feeds, directly or through others; null: that could not be found out, and an error says why.")
    async def downstream(
        self,
        info: Info,
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
        first: WalkFirst = 100,
        after: WalkAfter = None,
        as_of: AsOf = None,
    ) -> LineageConnection | None:
        return await walk_connection(info, self, Direction.DOWNSTREAM, max_depth, filter, first, after, as_of)

    @paged
    @resolver(READ, "The joins that it stands at either end of, in order of their type.")
    async def relationships(
        self,
        info: Info,
        types: Types = None,
        direction: Side = BOTH,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Relationship]:
        return await relationships_of_asset(
            info, self, types, direction, first=first, after=after, last=last, before=before, as_of=as_of
        )

    @paged
    @resolver(READ, "What it is joined with under a key, from whichever end that is the key; each asset once.")
    async def related(
        self,
        info: Info,
        key: Annotated[
            str,
            strawberry.argument(
                description="What the join is called, seen from here: a key, or with its ends, such as `PRODUCT steward PERSON`."
            ),
        ],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> "Connection[Asset]":
        return await related_connection(info, self, key, first=first, after=after, last=last, before=before, as_of=as_of)

    @paged
    @resolver(
        READ,
        "Everything it ever was, oldest first, and what changed at each step: the whole history, whenever it was read.",
    )
    async def history(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Version]:
        return await version_connection(info, self, first=first, after=after, last=last, before=before)
