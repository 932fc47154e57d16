"""References to assets, and the one way to resolve them to identities."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.connection import ReadConnection
from db.errors import NotFound
from db.fields import storable
from db.instants import write_instant
from db.sql import statement

_RESOLVE = statement("assets/resolve_references")
_DELETED_PRODUCTS = statement("assets/deleted_products")


class AssetRef(NamedTuple):
    """Reference to an asset by uid, by product name, or by entity type and key.

    A key without an entity type belongs to an end of a relationship, whose type says what it is the key of.
    """

    uid: UUID | None = None
    product: str | None = None
    type: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        if self.uid is not None:
            return f"asset with the uid {self.uid}"
        if self.product is not None:
            return f"product named {self.product[:100]!r}"
        return f"{(self.type or 'asset')[:100]} with the key {(self.key or '')[:100]!r}"


def missing_asset_error(ref: AssetRef, instant: datetime, *, field: str, remedy: str = "") -> NotFound:
    """Build the error of a reference that names no asset at an instant."""
    when = f" at {write_instant(instant)}" if ref.uid is None else ""
    return NotFound(f"There is no {ref}{when}.{remedy}", field=field)


class ResolvedAsset(NamedTuple):
    """The asset that a reference means, whether it is alive at the instant, and whether it ever was until then.

    It is not `named` if it had the key before the instant or has it later, and no entity has the key at the instant.
    """

    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    alive: bool
    ever_alive: bool
    named: bool = True


UNRESOLVED = ResolvedAsset(0, UUID(int=0), "", None, alive=False, ever_alive=False)


async def resolve(
    connection: ReadConnection, refs: Sequence[AssetRef], instants: Sequence[datetime | None]
) -> list[ResolvedAsset]:
    """Resolve references, each at its instant or now. Reads of this connection without an instant then read at that now."""
    if None in instants:
        await connection.ensure_now()
    ordinals: dict[tuple[AssetRef, datetime | None], int] = {}
    for ref_at in zip(refs, instants, strict=True):
        ordinals.setdefault(ref_at, len(ordinals) + 1)
    requested = list(ordinals)
    rows = await connection.fetch(
        _RESOLVE,
        {
            "uids": [ref.uid for ref, _ in requested],
            "products": [storable(ref.product) for ref, _ in requested],
            "types": [storable(ref.type) for ref, _ in requested],
            "keys": [storable(ref.key) for ref, _ in requested],
            "instants": [instant for _, instant in requested],
            "now": connection.now_if_read,
        },
    )
    resolved: dict[int, ResolvedAsset] = {}
    for row in rows:
        resolved[row.ordinal] = ResolvedAsset(row.id, row.uid, row.kind, row.type, row.alive, row.ever_alive, row.named)
        _, instant = requested[row.ordinal - 1]
        if instant is None:
            connection.advance_now(row.instant)
    return [resolved.get(ordinals[ref_at], UNRESOLVED) for ref_at in zip(refs, instants, strict=True)]


async def resolve_deleted(
    connection: ReadConnection, refs: Sequence[AssetRef], instants: Sequence[datetime | None]
) -> list[ResolvedAsset]:
    """Resolve references, each at its instant or now. A name that means nothing then means the product deleted with it."""
    resolved = await resolve(connection, refs, instants)
    names = [index for index, ref in enumerate(refs) if ref.product is not None and resolved[index] is UNRESOLVED]
    if names:
        parameters = {
            "products": [storable(refs[it].product) for it in names],
            "instants": [instants[it] or connection.now for it in names],
        }
        for row in await connection.fetch(_DELETED_PRODUCTS, {**parameters, "or_deleted": True}):
            resolved[names[row.ordinal - 1]] = ResolvedAsset(row.id, row.uid, row.kind, None, alive=False, ever_alive=True)
    return resolved


async def resolve_for_reading(
    connection: ReadConnection, refs: Sequence[tuple[AssetRef, datetime | None]]
) -> list[ResolvedAsset]:
    """Resolve references, each at its instant or at the now of the connection.

    A name or key means the asset that has it then, and none that had it before or has it later.
    """
    instants = [await connection.instant(instant) for _, instant in refs]
    resolved = await resolve(connection, [ref for ref, _ in refs], instants)
    return [it if it.named else UNRESOLVED for it in resolved]


async def resolve_in_windows(
    connection: ReadConnection, refs: Sequence[tuple[AssetRef, datetime, datetime]]
) -> list[ResolvedAsset]:
    """Resolve references, each in the window between its first and its last instant.

    A name or key means the asset that has it at the last instant, or else at the first. The asset is alive if it is at either.
    """
    readings = [(ref, last) for ref, _, last in refs] + [(ref, first) for ref, first, _ in refs]
    resolved = await resolve_for_reading(connection, readings)
    both = zip(resolved[: len(refs)], resolved[len(refs) :], strict=True)
    return [at_last if at_last.alive or not at_first.alive else at_first for at_last, at_first in both]
