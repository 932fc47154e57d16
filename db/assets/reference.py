"""References to assets, and the one way to resolve them to identities."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.connection import ReadConnection
from db.errors import NotFound
from db.fields import storable
from db.instants import write_instant
from db.rows import Row
from db.sql import statement
from db.temporal.kinds import PRODUCT

_RESOLVE = statement("assets/resolve_references")


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


class NameHolder(NamedTuple):
    """An asset that has or had a name or key, but not at an instant, and is not meant by it then."""

    uid: UUID
    kind: str
    # it gets the name or key later than that instant
    is_later: bool
    # its own name or primary key at that instant, if it exists and has one
    own_name: str | None

    def __str__(self) -> str:
        of_a_product = self.kind == PRODUCT.name
        noun = "name" if of_a_product else "key"
        has = f"has the {noun} later" if self.is_later else f"had the {noun} before"
        sentence = f"The {self.kind.lower()} {self.uid} {has}"
        if self.own_name is None:
            return f"{sentence}."
        return f"{sentence}, and {'is named' if of_a_product else 'has the key'} {self.own_name[:100]!r} then."


class ResolvedAsset(NamedTuple):
    """The asset that a reference means, whether it is alive at the instant, and whether it ever was until then.

    It is not `named` if it was deleted with the name or key before the instant, or begins with it later.
    """

    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    alive: bool
    ever_alive: bool
    named: bool = True
    # of a reference that means nothing: the asset that had its name or key, or has it later
    holder: NameHolder | None = None

    @property
    def is_found(self) -> bool:
        """True if the reference means an asset."""
        return bool(self.kind)

    def is_held_by_another(self, uid: UUID) -> bool:
        """Return True if an asset with another uid has the name or key at the instant, or gets it later."""
        if self.holder is not None:
            return self.holder.is_later and self.holder.uid != uid
        return self.is_found and (self.named or not self.ever_alive) and self.uid != uid

    @property
    def is_creatable(self) -> bool:
        """True if a stub may begin at the instant: the asset did not exist until then, and no other one gets its name or key."""
        return not self.ever_alive and (self.holder is None or not self.holder.is_later)


UNRESOLVED = ResolvedAsset(0, UUID(int=0), "", None, alive=False, ever_alive=False, named=False)


def missing_asset_error(
    ref: AssetRef, instant: datetime, holder: NameHolder | None = None, *, field: str, remedy: str = ""
) -> NotFound:
    """Build the error of a reference that means no asset at an instant, and name the asset that had the name or key."""
    when = f" at {write_instant(instant)}" if ref.uid is None else ""
    missing = f"There is no {ref}{when}.{remedy}"
    if holder is None:
        return NotFound(missing, field=field)
    return NotFound(f"{missing} {holder}", field=field, blind=missing)


async def resolve(
    connection: ReadConnection, refs: Sequence[AssetRef], instants: Sequence[datetime | None]
) -> list[ResolvedAsset]:
    """Resolve references as a write means them, each at its instant or now. Reads of this connection without an instant then read
    at that now.

    A name or key means the asset that has it at the instant; or the one that was deleted with it and does not exist then; or the
    one that begins with it later. An asset that exists with other names or keys then is not meant.
    """
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
        resolved[row.ordinal] = _resolved(row)
        _, instant = requested[row.ordinal - 1]
        if instant is None:
            connection.advance_now(row.instant)
    return [resolved.get(ordinals[ref_at], UNRESOLVED) for ref_at in zip(refs, instants, strict=True)]


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


def _resolved(row: Row) -> ResolvedAsset:
    if row.meant:
        return ResolvedAsset(row.id, row.uid, row.kind, row.type, row.alive, row.ever_alive, row.named)
    return UNRESOLVED._replace(holder=NameHolder(row.uid, row.kind, row.is_later, row.own_name))
