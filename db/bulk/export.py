"""Export: the whole history as states and ends, from which an empty tenant can be loaded. Rows are streamed."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from db.connection import ReadConnection
from db.temporal.kind import AssociationKind, Kind


class AssetPeriod(NamedTuple):
    """State of an asset from an instant, and its end if no other period follows at once."""

    uid: UUID
    type: str | None
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


class AssociationPeriod(NamedTuple):
    """State of an association from an instant, and its end if it was deleted next. The discriminator tells it apart from others
    between the same ends: the producer of a link, the type of a relationship."""

    uid: UUID
    near: UUID
    far: UUID
    discriminator: Any
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


async def assets(connection: ReadConnection, kind: Kind, as_of: datetime | None) -> AsyncIterator[AssetPeriod]:
    """Yield the version periods of the assets of a kind, asset by asset, or those valid at an instant."""
    async for row in connection.stream(kind.statement("bulk/export_assets"), {"instant": as_of}):
        yield AssetPeriod(**row)


async def associations(
    connection: ReadConnection, kind: AssociationKind, as_of: datetime | None
) -> AsyncIterator[AssociationPeriod]:
    """Yield the assertions of the associations of a kind, association by association, whether or not both ends exist; or the
    associations effective at an instant."""
    path, parameters = ("bulk/export_associations", {}) if as_of is None else ("bulk/export_associations_at", {"instant": as_of})
    async for row in connection.stream(kind.statement(path), parameters):
        yield AssociationPeriod(**row)
