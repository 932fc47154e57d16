"""References to lineage links and relationships."""

from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.assets.reference import AssetRef


class LinkEnds(NamedTuple):
    """The ends of a lineage link, and its producer."""

    source: AssetRef
    target: AssetRef
    producer: str | None = None
    # true: the only link there is between the ends, whatever its producer
    any_producer: bool = False


class RelationshipEnds(NamedTuple):
    """The type of a relationship by key or code, and its ends."""

    type: str
    origin: AssetRef
    related: AssetRef


# A link or a relationship, by uid or by its ends.
LinkRef: TypeAlias = UUID | LinkEnds
RelationshipRef: TypeAlias = UUID | RelationshipEnds
