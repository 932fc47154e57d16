"""All that is known, as somebody who knows nothing would have to be told: whole states, and ends. It is never held whole."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from db.connection import ReadConnection
from db.kind import Kind
from db.sql import load

_LINKS = text(load("export_links"))
_LINKS_AT = text(load("export_links_at"))


class AssetStretch(NamedTuple):
    """What an asset was from an instant on, and when it ended, if it was not something else next."""

    uid: UUID
    type: str | None
    key: str | None
    valid_from: datetime
    state: dict[str, Any]
    ended: datetime | None


class LinkStretch(NamedTuple):
    """What was said of a link from an instant on, and when it ended, if nothing else was said next."""

    uid: UUID
    source: UUID
    target: UUID
    producer: str | None
    valid_from: datetime
    type: str
    transformation: str | None
    confidence: float
    metadata: dict[str, Any]
    ended: datetime | None


async def assets(connection: ReadConnection, kind: Kind, as_of: datetime | None) -> AsyncIterator[AssetStretch]:
    """The stretches of the assets of a kind, one asset after the other; or those that hold at an instant."""
    async for row in connection.stream(kind.statement("export_assets"), {"instant": as_of}):
        yield AssetStretch._make(row)


async def links(connection: ReadConnection, as_of: datetime | None) -> AsyncIterator[LinkStretch]:
    """What was asserted of links, one link after the other, be its ends there or not; or the links that hold at an instant."""
    statement, parameters = (_LINKS, {}) if as_of is None else (_LINKS_AT, {"instant": as_of})
    async for row in connection.stream(statement, parameters):
        yield LinkStretch._make(row)
