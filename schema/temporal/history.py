"""The history of an asset: its versions, and what changed from one to the next."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from db.pagination import Page
from db.temporal.history import Changed, VersionRow, count_histories, histories
from schema.execution.connections import fetch_connections
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import list_size
from schema.language.fields import field
from schema.language.node_ids import Node, write_id
from schema.language.pagination import Keyset, PageArguments
from schema.language.scopes import READ
from schema.lazy import LazyAsset

HISTORY_BY_SUBJECT = Batch(histories)
HISTORY_COUNT_BY_SUBJECT = Batch(count_histories)

ACTOR = "Actor who made the change: the label of an API key, or the subject of a token."
CREDENTIAL = (
    "Credential with which it was made: the prefix of an API key, `token`, `none` on a service that requires none, or `command"
    " line`. Null if it was recorded before credentials were."
)

MICROSECOND = timedelta(microseconds=1)


@strawberry.federation.type(description="A change of one field.", shareable=True)
class FieldChange:
    name: str = field(READ, "Name of the field.", name="field")
    before: JSON | None = field(READ, "Previous value. Null if there was none.")
    after: JSON | None = field(READ, "New value.")


@strawberry.type(description="A period in the history of an asset in which its state did not change.")
class AssetVersion(Node):
    id: strawberry.ID = field(READ, "Id of this version, made of the uid and its start.")
    asset: LazyAsset = field(READ, "The asset in this period.")
    valid_from: datetime = field(READ, "Start of the period.")
    valid_to: datetime | None = field(READ, "End of the period. Null if it continues.")
    is_current: bool = field(READ, "True if the period has no end.")
    changed: list[FieldChange] = list_size(10)(
        field(READ, "Fields that differ from the previous version. For the first version: every field.")
    )
    recorded_at: datetime = field(READ, "Instant at which this state was recorded. It may be later than validFrom.")
    actor: str | None = field(READ, ACTOR)
    credential: str | None = field(READ, CREDENTIAL)


def version_of(asset_type: type[LazyAsset], uid: UUID, row: VersionRow) -> AssetVersion:
    """Build a version of an asset from its row."""
    return AssetVersion(
        id=write_id("AssetVersion", uid, row.valid_from),
        asset=asset_type.from_version(uid, row),
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        is_current=row.valid_to is None,
        changed=field_changes(row.changed),
        recorded_at=row.recorded_at,
        actor=row.actor,
        credential=row.credential,
    )


def field_changes(changed: Sequence[Changed]) -> list[FieldChange]:
    """Convert changed fields to their names in the API. A part after a dot is the code of a detail type."""
    described = []
    for name, before, after in changed:
        field_name, dot, code = name.partition(".")
        described.append(FieldChange(name=to_camel_case(field_name) + dot + code, before=before, after=after))
    return described


async def version_connections(info: Info, assets: Sequence[LazyAsset], arguments: PageArguments) -> list[Any]:
    """Fetch a page of the history of each asset. The assets are of one kind."""
    kind, cipher = assets[0].kind, info.context.cursor_cipher
    return await fetch_connections(
        info,
        assets,
        arguments,
        keyset=lambda asset: Keyset(cipher, "history", asset.uid, key=(datetime,)),
        fetch=lambda of, page: info.context.load_all(HISTORY_BY_SUBJECT, [asset.asset_id for asset in of], kind, page),
        nodes=lambda asset, rows: [version_of(type(asset), asset.uid, row) for row in rows],
        cursor_key=lambda _, row: (row.valid_from,),
        count=lambda asset: info.context.load(HISTORY_COUNT_BY_SUBJECT, asset.asset_id, kind),
    )


async def version_by_start(
    info: Info, asset_type: type[LazyAsset], asset_id: int, uid: UUID, start: datetime
) -> AssetVersion | None:
    """Return the version of an asset that starts at an instant."""
    page = Page(1, after=(start - MICROSECOND,), before=(start + MICROSECOND,))
    versions = await info.context.load(HISTORY_BY_SUBJECT, asset_id, asset_type.kind, page)
    return version_of(asset_type, uid, versions.items[0]) if versions.items else None
