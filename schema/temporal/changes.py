"""Changes: when assets became different, how, and who said so."""

from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.temporal import changes
from db.temporal.changes import ChangeQuery, ChangeRow
from schema.execution.context import Info
from schema.language.asset_refs import AssetKind
from schema.language.cost import list_size
from schema.language.inputs import optional_input_field, provided_fields
from schema.language.node_ids import write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, paged
from schema.language.scopes import READ, field, resolver
from schema.lazy import ASSET_TYPES, LazyAsset
from schema.temporal.history import FieldChange, field_changes


@strawberry.enum(description="What a change does.")
class ChangeKind(Enum):
    CREATED = strawberry.enum_value("CREATED", description="It came to be.")
    UPDATED = strawberry.enum_value("UPDATED", description="It was there before, and became different.")
    DELETED = strawberry.enum_value("DELETED", description="It ended.")
    RESTORED = strawberry.enum_value("RESTORED", description="It had ended, and is there again.")


@strawberry.type(description="An instant at which an asset became different: all that was said of that instant is one change.")
class Change:
    id: strawberry.ID = field(READ, "Tells it apart from every other change. It is made of the uid and the instant.")
    cursor: str = field(READ, "The place of this change in its list.")
    kind: ChangeKind = field(READ, "What it does.")
    uid: UUID = field(READ, "What changed.")
    asset: LazyAsset | None = field(READ, "The asset as it is from that instant on; null: it ended.")
    before: LazyAsset | None = field(READ, "The asset as it was until then; null: it was not there.")
    at: datetime = field(READ, "From when on it holds.")
    recorded_at: datetime = field(READ, "When it was written down, which may be long after it came to hold.")
    actor: str | None = field(READ, "Who said so.")
    request_id: str | None = field(READ, "In which request.")
    fields: list[FieldChange] = list_size(10)(
        field(READ, "What differs from before. Where it begins or ends: every field there is.")
    )


@strawberry.input(description="Which changes: those that match every part given. An empty list matches nothing.")
class ChangeFilter:
    kinds: list[ChangeKind] | None = optional_input_field(
        "Of any of these kinds. In diff, CREATED and RESTORED are what was added, DELETED what was removed, UPDATED what changed."
    )
    assets: list[UUID] | None = optional_input_field("Of any of these assets, by uid.")
    asset_kinds: list[AssetKind] | None = optional_input_field("Of assets of any of these kinds.")
    actors: list[str] | None = optional_input_field(
        "Said by any of these. In diff: of assets of which any of these said anything in between."
    )


From = Annotated[datetime, strawberry.argument(name="from", description="The earlier instant.")]
To = Annotated[datetime, strawberry.argument(description="The later instant.")]
Filter = Annotated[ChangeFilter | None, strawberry.argument(description="Which of them.")]


@strawberry.type
class ChangeQueries:
    @paged
    @resolver(READ, "How assets changed from one instant on and before another, by all that is known now; oldest first.")
    async def changes(
        self,
        info: Info,
        from_: From,
        to: To,
        filter: Filter = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Change]:
        query = query_of(from_, to, filter)
        keyset = Keyset("changes", query, key=(datetime, int))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        connection = await info.context.transaction.reader()
        return keyset.connection(
            page,
            await changes.list_changes(connection, query, page),
            # a change bears its cursor itself, for whoever goes on from it
            node=lambda row: _change(row, keyset.cursor(changes.cursor_key(row))),
            place=changes.cursor_key,
            count=lambda: changes.count_changes(connection, query),
        )


def query_of(since: datetime, until: datetime, filter: ChangeFilter | None) -> ChangeQuery:
    """What is asked about the time between two instants."""
    if until <= since:
        raise BadInput("to has to lie after from.", field="to")
    parts = (provided_fields(filter) or {}).items()
    return ChangeQuery(since, until, **{name: None if part is None else tuple(part) for name, part in parts})


def _change(row: ChangeRow, cursor: str) -> Change:
    return Change(
        id=write_id("Change", row.uid, row.at),
        cursor=cursor,
        kind=ChangeKind[row.kind],
        uid=row.uid,
        asset=None if row.after is None else ASSET_TYPES[row.asset_kind].from_version(row.uid, row.after),
        before=None if row.before is None else ASSET_TYPES[row.asset_kind].from_version(row.uid, row.before),
        at=row.at,
        recorded_at=row.recorded_at,
        actor=row.actor,
        request_id=row.request_id,
        fields=field_changes(row.changed),
    )
