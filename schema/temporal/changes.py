"""Changes of assets: when each happened, what it changed, and who made it."""

from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.instants import write_instant
from db.temporal import changes
from db.temporal.changes import ChangeQuery, ChangeRow
from schema.execution.connections import fetch_connection, read
from schema.execution.context import Info
from schema.language.cost import SCAN_WEIGHT, list_size, scan_cost_with
from schema.language.fields import field, resolver
from schema.language.inputs import optional_input_field, provided_fields
from schema.language.node_ids import write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, PageArguments, paged
from schema.language.references import AssetKind
from schema.language.scopes import READ
from schema.lazy import ASSET_TYPES, LazyAsset
from schema.temporal.history import ACTOR, CREDENTIAL, FieldChange, field_changes


@strawberry.enum(description="Kind of a change.")
class ChangeKind(Enum):
    CREATED = strawberry.enum_value("CREATED", description="The asset was created.")
    UPDATED = strawberry.enum_value("UPDATED", description="The asset existed and changed.")
    DELETED = strawberry.enum_value("DELETED", description="The asset was deleted.")
    RESTORED = strawberry.enum_value("RESTORED", description="The asset had been deleted and was restored.")


@strawberry.type(description="A change of one asset at one instant. All writes for the same asset and instant form one change.")
class RecordedChange:
    id: strawberry.ID = field(READ, "Unique id, made of the uid and the instant.")
    cursor: str = field(READ, "Cursor of this change in its list.")
    kind: ChangeKind = field(READ, "Kind of the change.")
    uid: UUID = field(READ, "Uid of the asset.")
    asset: LazyAsset | None = field(READ, "The asset from that instant on. Null if it was deleted.")
    before: LazyAsset | None = field(READ, "The asset until that instant. Null if it did not exist.")
    at: datetime = field(READ, "Instant from which the change is valid.")
    recorded_at: datetime = field(READ, "Instant at which the change was recorded. It may be later than `at`.")
    actor: str | None = field(READ, ACTOR)
    credential: str | None = field(READ, CREDENTIAL)
    request_id: str | None = field(READ, "Id of the request that made the change.")
    fields: list[FieldChange] = list_size(10)(
        field(READ, "Fields that differ from before. For a created, deleted or restored asset: every field.")
    )


@strawberry.input(
    description="Filter of changes. A change matches if it matches every given field. An empty list matches nothing."
)
class ChangeFilter:
    kinds: list[ChangeKind] | None = optional_input_field(
        "Any of these kinds. In diff, CREATED and RESTORED select ADDED, DELETED selects REMOVED, UPDATED selects CHANGED."
    )
    assets: list[UUID] | None = optional_input_field("Any of these assets, by uid.")
    asset_kinds: list[AssetKind] | None = optional_input_field("Assets of any of these kinds.")
    actors: list[str] | None = optional_input_field(
        "Made by any of these actors. In diff: assets that any of them changed in between."
    )


From = Annotated[datetime, strawberry.argument(name="from", description="The earlier instant.")]
To = Annotated[datetime, strawberry.argument(description="The later instant.")]
Filter = Annotated[ChangeFilter | None, strawberry.argument(description="Filter.")]


@strawberry.type
class ChangeQueries:
    @scan_cost_with("filter", "changes")
    @paged
    @resolver(
        READ, "Changes of assets from one instant (inclusive) to another (exclusive), by what is recorded now, oldest first."
    )
    async def changes(
        self,
        info: Info,
        from_: From,
        to: To,
        filter: Annotated[ChangeFilter | None, strawberry.argument(description="Filter.", directives=[SCAN_WEIGHT])] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[RecordedChange]:
        query = query_of(from_, to, filter)
        keyset = Keyset(info.context.cursor_cipher, "changes", query, key=(datetime, int))
        return await fetch_connection(
            info,
            keyset,
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, changes.list_changes, query, page),
            # a change carries its cursor, so that a client can store where to continue
            nodes=lambda rows: [_change(row, keyset.cursor(changes.cursor_key(row))) for row in rows],
            cursor_key=changes.cursor_key,
            count=lambda: read(info, changes.count_changes, query),
        )


def query_of(since: datetime, until: datetime, filter: ChangeFilter | None) -> ChangeQuery:
    """Build the query of the changes between two instants."""
    if until <= since:
        raise BadInput(f"to is {write_instant(until)}. It must be after from ({write_instant(since)}).", field="to")
    parts = (provided_fields(filter) or {}).items()
    return ChangeQuery(since, until, **{name: None if part is None else tuple(part) for name, part in parts})


def _change(row: ChangeRow, cursor: str) -> RecordedChange:
    return RecordedChange(
        id=write_id("RecordedChange", row.uid, row.at),
        cursor=cursor,
        kind=ChangeKind[row.kind],
        uid=row.uid,
        asset=None if row.after is None else ASSET_TYPES[row.asset_kind].from_version(row.uid, row.after),
        before=None if row.before is None else ASSET_TYPES[row.asset_kind].from_version(row.uid, row.before),
        at=row.at,
        recorded_at=row.recorded_at,
        actor=row.actor,
        credential=row.credential,
        request_id=row.request_id,
        fields=field_changes(row.changed),
    )
