"""All that is known, as somebody who knows nothing would have to be told: whole states, and ends. It is never held whole."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from db.connection import ReadConnection
from db.temporal.kind import AssociationKind, Kind


class AssetPeriod(NamedTuple):
    """What an asset was from an instant on, and when it ended, if it was not something else next."""

    uid: UUID
    type: str | None
    key: str | None
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


class AssociationPeriod(NamedTuple):
    """What was said of a bond between two assets from an instant on, and when it ended, if nothing else was said next. The part
    of its identity is what tells it apart from others between the two."""

    uid: UUID
    near: UUID
    far: UUID
    part: Any
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


async def assets(connection: ReadConnection, kind: Kind, as_of: datetime | None) -> AsyncIterator[AssetPeriod]:
    """The stretches of the assets of a kind, one asset after the other; or those that hold at an instant."""
    async for row in connection.stream(kind.statement("bulk/export_assets"), {"instant": as_of}):
        yield AssetPeriod._make(row)


async def associations(
    connection: ReadConnection, kind: AssociationKind, as_of: datetime | None
) -> AsyncIterator[AssociationPeriod]:
    """What was asserted of bonds, one after the other, be their ends there or not; or the bonds that hold at an instant."""
    path, parameters = ("bulk/export_associations", {}) if as_of is None else ("bulk/export_associations_at", {"instant": as_of})
    async for row in connection.stream(kind.statement(path), parameters):
        yield AssociationPeriod._make(row)
