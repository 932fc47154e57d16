"""The identity of what lives in the graph. It is given once and never changes."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import text

from db.connection import WriteConnection
from db.errors import Conflict, NotFound
from db.sql import load
from db.temporal import Kind

_ADD = text(load("add_asset"))
_LOCK = text(load("lock_assets"))


async def lock(connection: WriteConnection, kind: Kind, uid: UUID, *, field: str) -> int:
    """Find an asset of a kind by its uid and keep other writers off it until the transaction ends."""
    found = await _lock(connection, [uid])
    if uid not in found or found[uid][1] != kind.name:
        raise NotFound(f"There is no {kind.name.lower()} with the uid {uid}.", field=field)
    return found[uid][0]


async def add_or_lock(connection: WriteConnection, kind: Kind, uid: UUID | None) -> int:
    """Give a uid its identity, or lock the one it has. A uid that another kind bears is refused."""
    wanted = uid or uuid4()
    added = await connection.fetch_one(_ADD, {"uid": wanted, "kind": kind.name})
    if added is not None:
        return int(added.id)
    asset_id, its_kind = (await _lock(connection, [wanted]))[wanted]
    if its_kind != kind.name:
        raise Conflict(f"The uid {wanted} belongs to another kind of asset ({its_kind.lower()}).", field="uid")
    return asset_id


async def _lock(connection: WriteConnection, uids: Sequence[UUID]) -> dict[UUID, tuple[int, str]]:
    rows = await connection.fetch(_LOCK, {"uids": list(uids)})
    return {row.uid: (row.id, row.kind) for row in rows}
