"""GraphQL's recursion of types, declared once.

An asset has lineage, relationships and a history, and each of these leads to assets again; an entity type has a domain, which has
entities. Modules below the types of assets name them by the lazy types here and build them through the registry here, so that
imports run in one direction. Asset types register themselves with `asset_type`, and the domain type with `domain_type`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import strawberry

from db.assets.asset import identities
from db.assets.node import NodeRow, nodes_by_id, nodes_by_uid
from db.assets.reference import AssetRef, ResolvedAsset, missing_asset_error, resolve_for_reading, resolve_in_windows
from db.connection import ReadConnection
from db.consistency.consistent_dict import ConsistentDict
from schema.execution.context import Info
from schema.execution.loading import Batch, Loadable
from schema.language.columns import backed_by_row

if TYPE_CHECKING:
    from schema.assets.asset import Asset
    from schema.assets.domain import Domain

LazyAsset = Annotated["Asset", strawberry.lazy("schema.assets.asset")]
LazyDomain = Annotated["Domain", strawberry.lazy("schema.assets.domain")]

AssetType = TypeVar("AssetType", bound="type[Asset]")
DomainType = TypeVar("DomainType", bound="type[Domain]")

# The GraphQL type of each kind of asset, by the name of the kind.
ASSET_TYPES: dict[str, "type[Asset]"] = {}
_DOMAIN_TYPES: list["type[Domain]"] = []


def asset_type(type_: AssetType) -> AssetType:
    """Register the decorated class as the type of a kind of asset."""
    ASSET_TYPES[type_.kind.name] = type_
    return backed_by_row(type_)


def domain_type(type_: DomainType) -> DomainType:
    """Register the decorated class as the type of domains."""
    _DOMAIN_TYPES.append(type_)
    return type_


def domain_at(name: str, as_of: datetime, pinned: datetime | None) -> LazyDomain:
    """Build a domain as it is at an instant; `pinned` is the requested instant, if any."""
    (type_,) = _DOMAIN_TYPES
    return type_(name=name, as_of=as_of, pinned=pinned)


def asset_from_row(row: NodeRow, pinned: datetime | None) -> LazyAsset:
    """Build an asset of any kind from its row; `pinned` is the requested instant, if any."""
    (asset,) = assets_from_rows([row], pinned)
    return asset


def assets_from_rows(rows: Iterable[NodeRow], pinned: datetime | None) -> list[LazyAsset]:
    """Build assets of any kinds from their rows; `pinned` is the requested instant, if any."""
    assets = []
    for row in rows:
        type_ = ASSET_TYPES[row["kind"]]
        # a constructor would take longer than all else that is done for an asset
        asset = type_.__new__(type_)
        asset.row, asset.pinned = row, pinned
        assets.append(asset)
    return assets


class AssetKey(NamedTuple):
    """A key by which a loader finds an asset of one type, or the uid of an asset of any type, at the requested instant or else
    now."""

    type: "type[Asset] | None"
    by: Loadable[Any, Any, datetime | None] | None
    key: Any
    pinned: datetime | None


async def find_assets(info: Info, keys: Sequence[AssetKey | Exception | None], *, are_all: bool = False) -> list[Any]:
    """Return the asset with each key, or None. Loaders find those of one type and form together. An exception stays as it is, and
    that of a loader is the error of its keys.

    With `are_all`, a field reads no other assets; if its keys have one type and form, one statement finds them.
    """
    found: list[Any] = [it if isinstance(it, Exception) else None for it in keys]
    indexes: defaultdict[tuple[Any, Any, datetime | None], list[int]] = defaultdict(list)
    for index, it in enumerate(keys):
        if isinstance(it, AssetKey):
            indexes[it.type, it.by or NODE_BY_UID, it.pinned].append(index)
    if are_all and len(indexes) == 1:
        info.context.read_once()
    groups = await asyncio.gather(
        *(info.context.load_all(by, [keys[it].key for it in group], pinned) for (_, by, pinned), group in indexes.items()),  # type: ignore[union-attr]
        return_exceptions=True,
    )
    for ((type_, _, pinned), group), rows in zip(indexes.items(), groups, strict=True):
        values: Sequence[Any] = [rows] * len(group) if isinstance(rows, BaseException) else rows
        for index, row in zip(group, values, strict=True):
            if row is None or isinstance(row, BaseException):
                found[index] = row
            else:
                found[index] = asset_from_row(row, pinned) if type_ is None else type_.of(row, pinned)
    return found


async def assets_by_id(info: Info, ids: Collection[int], instant: datetime, pinned: datetime | None) -> Mapping[int, LazyAsset]:
    """Return the assets with these ids that exist at an instant, by id."""
    return await info.context.load(ASSETS_BY_ID, (tuple(sorted(ids)), instant, pinned)) if ids else {}


async def resolved_assets(info: Info, refs: Mapping[str, AssetRef], as_of: datetime | None) -> dict[str, ResolvedAsset]:
    """Resolve references by the names of their fields, at the requested instant or else now. Raise NotFound that names a field if
    there is no such asset."""
    resolved = await info.context.load_all(REFERENCE, [(ref, as_of) for ref in refs.values()])
    for (field, ref), asset in zip(refs.items(), resolved, strict=True):
        if not asset.is_found:
            connection = await info.context.transaction.reader()
            raise missing_asset_error(ref, await connection.instant(as_of), field=field)
    return dict(zip(refs, resolved, strict=True))


async def ends_of(
    info: Info,
    pairs: Sequence[tuple[int, int]],
    instant: datetime,
    pinned: datetime | None,
    known: Mapping[int, LazyAsset] | None = None,
) -> Mapping[int, LazyAsset]:
    """Return the assets at both ends of associations that are effective at an instant. Those in `known` are not read again."""
    ends = known or {}
    missing = {asset_id for pair in pairs for asset_id in pair if asset_id not in ends}
    if not missing:
        return ends
    return ConsistentDict({**ends, **await assets_by_id(info, missing, instant, pinned)})


async def _assets_by_id(
    connection: ReadConnection, sets: Sequence[tuple[tuple[int, ...], datetime, datetime | None]]
) -> list[Mapping[int, LazyAsset]]:
    """Build sets of assets of any kind, each set at its instant, with one statement for all sets."""
    readings = list(dict.fromkeys((asset_id, instant) for ids, instant, _ in sets for asset_id in ids))
    rows = dict(zip(readings, await nodes_by_id(connection, readings), strict=True))
    # a pinned reading and one that is not give the same row different ids
    assets: dict[tuple[int, datetime, datetime | None], LazyAsset] = {}
    for ids, instant, pinned in sets:
        for asset_id in ids:
            row = rows[asset_id, instant]
            if row is not None and (asset_id, instant, pinned) not in assets:
                assets[asset_id, instant, pinned] = asset_from_row(row, pinned)
    return [
        ConsistentDict({it: assets[it, instant, pinned] for it in ids if (it, instant, pinned) in assets})
        for ids, instant, pinned in sets
    ]


IDENTITY_BY_UID = Batch(identities)
NODE_BY_UID = Batch(nodes_by_uid)
REFERENCE = Batch(resolve_for_reading)
REFERENCE_IN_WINDOW = Batch(resolve_in_windows)
ASSETS_BY_ID = Batch(_assets_by_id, is_last=True)
