"""Truncations: the limit that ended a walk, or the search for the links among its assets."""

from enum import Enum

import strawberry

from db.lineage import walk as walks
from schema.language.fields import field
from schema.language.scopes import READ


@strawberry.enum(description="The limit that truncated a walk, or the links among its assets.")
class LineageTruncationReason(Enum):
    ASSETS = strawberry.enum_value("ASSETS", description="The walk visited more assets than the limit.")
    LINKS = strawberry.enum_value(
        "LINKS",
        description="The walk examined more links than the limit, or there are too many links at its assets to examine or return"
        " all.",
    )
    TIME = strawberry.enum_value(
        "TIME", description="The walk, or the search for the links among its assets, took longer than the limit."
    )


@strawberry.federation.type(
    description="A limit truncated a walk: there may be more assets or links than it returns.", shareable=True
)
class LineageTruncation:
    reason: LineageTruncationReason = field(READ, "The limit that was exceeded.")
    limit: int = field(
        READ,
        "Value of the setting that was exceeded. For links among the assets of a walk, up to ten times this number are examined.",
    )

    @classmethod
    def of(cls, truncation: walks.Truncation | None) -> "LineageTruncation | None":
        if truncation is None:
            return None
        return cls(reason=LineageTruncationReason[truncation.reason], limit=truncation.limit)
