"""The history of an asset: its versions, and what changed from one to the next."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from db.pagination import Page
from db.temporal.history import Changed, VersionRow, count_histories, histories
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import list_size
from schema.language.node_ids import Node, write_id
from schema.language.pagination import Connection, Keyset
from schema.language.scopes import READ, field
from schema.lazy import LazyAsset

HISTORY_BY_SUBJECT = Batch(histories)
HISTORY_COUNT_BY_SUBJECT = Batch(count_histories)

MICROSECOND = timedelta(microseconds=1)


@strawberry.federation.type(description="How one field differs from what it was before.", shareable=True)
class FieldChange:
    name: str = field(READ, "The field that changed.", name="field")
    before: JSON | None = field(READ, "What it was; null where there was nothing.")
    after: JSON | None = field(READ, "What it became.")


@strawberry.type(description="One stretch of an asset's history in which nothing about it changed.")
class Version(Node):
    id: strawberry.ID = field(READ, "Names this stretch, by when it began, whenever it is read.")
    asset: LazyAsset = field(READ, "The asset as it was in this stretch.")
    valid_from: datetime = field(READ, "When this stretch began.")
    valid_to: datetime | None = field(READ, "When it ended; null: it has not.")
    is_current: bool = field(READ, "Whether it has no end.")
    changed: list[FieldChange] = list_size(10)(
        field(READ, "What differs from before. At the beginning: every field that was given.")
    )
    recorded_at: datetime = field(READ, "When this was written down, which may be long after it came to hold.")
    actor: str | None = field(READ, "Who said so.")


def version_of(asset_type: type[LazyAsset], uid: UUID, row: VersionRow) -> Version:
    """A version of an asset, out of its row."""
    return Version(
        id=write_id("Version", uid, row.valid_from),
        asset=asset_type.from_version(uid, row),
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        is_current=row.valid_to is None,
        changed=field_changes(row.changed),
        recorded_at=row.recorded_at,
        actor=row.actor,
    )


def field_changes(changed: Sequence[Changed]) -> list[FieldChange]:
    """What changed, by the names that the API gives to fields; what follows a dot is the code of a detail type."""
    described = []
    for name, before, after in changed:
        field_name, dot, code = name.partition(".")
        described.append(FieldChange(name=to_camel_case(field_name) + dot + code, before=before, after=after))
    return described


async def version_connection(
    info: Info, asset: LazyAsset, *, first: int | None, after: str | None, last: int | None, before: str | None
) -> Connection[Version]:
    """A page of an asset's history."""
    keyset = Keyset("history", asset.uid, key=(datetime,))
    page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
    rows = await info.context.load(HISTORY_BY_SUBJECT, asset.asset_id, asset.kind, page)
    return keyset.connection(
        page,
        rows,
        node=lambda row: version_of(type(asset), asset.uid, row),
        place=lambda row: (row.valid_from,),
        count=lambda: info.context.load(HISTORY_COUNT_BY_SUBJECT, asset.asset_id, asset.kind),
    )


async def version_by_start(info: Info, asset_type: type[LazyAsset], asset_id: int, uid: UUID, start: datetime) -> Version | None:
    """The version of an asset that began at an instant."""
    page = Page(1, after=(start - MICROSECOND,), before=(start + MICROSECOND,))
    found = await info.context.load(HISTORY_BY_SUBJECT, asset_id, asset_type.kind, page)
    return version_of(asset_type, uid, found.items[0]) if found.items else None
