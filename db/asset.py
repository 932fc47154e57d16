"""The identity of what lives in the graph. It is given once and never changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import Uuid, select, text

from db.connection import ReadConnection, WriteConnection
from db.errors import Conflict, NotFound
from db.sql import any_of, load
from db.tables import asset as assets
from db.temporal import Kind

_ADD = text(load("add_asset"))
_LOCK = text(load("lock_assets"))


@dataclass(frozen=True, slots=True)
class Identity:
    """What a uid stands for: it never changes."""

    asset_id: int
    kind: str


async def lock(connection: WriteConnection, kind: Kind, uid: UUID, *, field: str) -> int:
    """Find an asset of a kind by its uid and keep other writers off it until the transaction ends."""
    found = await _lock(connection, [uid])
    if uid not in found or found[uid].kind != kind.name:
        raise NotFound(f"There is no {kind.name.lower()} with the uid {uid}.", field=field)
    return found[uid].asset_id


async def identities(connection: ReadConnection, uids: Sequence[UUID]) -> list[Identity | None]:
    """Which assets these uids name."""
    rows = await connection.fetch(
        select(assets).where(assets.c.tenant_id == connection.tenant_id, assets.c.uid == any_of(uids, Uuid))
    )
    found = {row.uid: Identity(row.id, row.kind) for row in rows}
    return [found.get(uid) for uid in uids]


async def add_or_lock(connection: WriteConnection, kind: Kind, uid: UUID | None) -> int:
    """Give a uid its identity, or lock the one it has. A uid that another kind bears is refused."""
    wanted = uid or uuid4()
    added = await connection.fetch_one(_ADD, {"uid": wanted, "kind": kind.name})
    if added is not None:
        return int(added.id)
    identity = (await _lock(connection, [wanted]))[wanted]
    if identity.kind != kind.name:
        raise Conflict(f"The uid {wanted} belongs to another kind of asset ({identity.kind.lower()}).", field="uid")
    return identity.asset_id


async def _lock(connection: WriteConnection, uids: Sequence[UUID]) -> dict[UUID, Identity]:
    rows = await connection.fetch(_LOCK, {"uids": list(uids)})
    return {row.uid: Identity(row.id, row.kind) for row in rows}
