"""All that is known, as somebody who knows nothing would have to be told: whole states, and ends. It is never held whole."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from db.connection import ReadConnection
from db.kind import Bond, Kind


class AssetStretch(NamedTuple):
    """What an asset was from an instant on, and when it ended, if it was not something else next."""

    uid: UUID
    type: str | None
    key: str | None
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


class BondStretch(NamedTuple):
    """What was said of a bond between two assets from an instant on, and when it ended, if nothing else was said next. The part
    of its identity is what tells it apart from others between the two."""

    uid: UUID
    near: UUID
    far: UUID
    part: Any
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


async def assets(connection: ReadConnection, kind: Kind, as_of: datetime | None) -> AsyncIterator[AssetStretch]:
    """The stretches of the assets of a kind, one asset after the other; or those that hold at an instant."""
    async for row in connection.stream(kind.statement("export_assets"), {"instant": as_of}):
        yield AssetStretch._make(row)


async def bonds(connection: ReadConnection, kind: Bond, as_of: datetime | None) -> AsyncIterator[BondStretch]:
    """What was asserted of bonds, one after the other, be their ends there or not; or the bonds that hold at an instant."""
    name, parameters = ("export_bonds", {}) if as_of is None else ("export_bonds_at", {"instant": as_of})
    async for row in connection.stream(kind.statement(name), parameters):
        yield BondStretch._make(row)
