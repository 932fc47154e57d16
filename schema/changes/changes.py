"""Changes of assets, lineage links and relationships: when each happened, what it changed, and who made it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from db.temporal import changes
from db.temporal.changes import ChangeRow
from schema.changes.change_filter import ChangeFilter, ChangeKind, From, To, query_of
from schema.changes.subjects import (
    ASSETS,
    SUBJECT_OF_KIND,
    ChangeSubject,
    SubjectKind,
    Subjects,
    asset_of,
    subject_in,
    subjects_of,
)
from schema.execution.connections import fetch_connection, read
from schema.execution.context import Info
from schema.language.cost import SCAN_WEIGHT, list_size, scan_cost_with
from schema.language.fields import batched, field, resolver
from schema.language.node_ids import write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, PageArguments, paged
from schema.language.scopes import READ
from schema.lazy import LazyAsset
from schema.temporal.history import ACTOR, CREDENTIAL, FieldChange, field_changes


@strawberry.type(
    description="A change of one subject at one instant. All writes for the same subject and instant form one change."
)
class RecordedChange:
    id: strawberry.ID = field(READ, "Unique id, made of the uid and the instant.")
    kind: ChangeKind = field(READ, "Kind of the change.")
    subject_kind: SubjectKind = field(READ, "Kind of the subject.")
    uid: UUID = field(READ, "Uid of the subject.")
    asset: LazyAsset | None = field(
        READ, "The asset from that instant on. Null if it was deleted, and if the subject is no asset."
    )
    before: LazyAsset | None = field(
        READ, "The asset until that instant. Null if it did not exist, and if the subject is no asset."
    )
    at: datetime = field(READ, "Instant from which the change is valid.")
    recorded_at: datetime = field(READ, "Instant at which the change was recorded. It may be later than `at`.")
    actor: str | None = field(READ, ACTOR)
    credential: str | None = field(READ, CREDENTIAL)
    request_id: str | None = field(READ, "Id of the request that made the change.")
    row: strawberry.Private[ChangeRow]
    keyset: strawberry.Private[Keyset]

    @batched(READ, "Cursor of this change in its list, from which a client may continue later.")
    @staticmethod
    async def cursor(recorded: Sequence["RecordedChange"], info: Info) -> list[str]:
        return [it.keyset.cursor(changes.cursor_key(it.row)) for it in recorded]

    @list_size(10)
    @batched(READ, "Fields that differ from before. For a created, deleted or restored subject: every field.")
    @staticmethod
    async def fields(recorded: Sequence["RecordedChange"], info: Info) -> list[list[FieldChange]]:
        return [field_changes(it.row.changed) for it in recorded]

    @batched(READ, "The subject from that instant on. Null if it was deleted.")
    @staticmethod
    async def subject(recorded: Sequence["RecordedChange"], info: Info) -> list[ChangeSubject | None]:
        return await subjects_of(info, [subject_in(it.row, it.row.after) for it in recorded])

    @batched(READ, "The subject until that instant. Null if it did not exist.")
    @staticmethod
    async def subject_before(recorded: Sequence["RecordedChange"], info: Info) -> list[ChangeSubject | None]:
        return await subjects_of(info, [subject_in(it.row, it.row.before) for it in recorded])


@strawberry.type
class ChangeQueries:
    @scan_cost_with("filter", "changes", "links")
    @paged
    @resolver(
        READ,
        "Changes from one instant (inclusive) to another (exclusive), by what is recorded now, oldest first. A lineage link or a"
        " relationship ends with each of its ends, and returns with it; the author is then that of the end.",
    )
    async def changes(
        self,
        info: Info,
        from_: From,
        to: To,
        subjects: Subjects = ASSETS,
        filter: Annotated[ChangeFilter | None, strawberry.argument(description="Filter.", directives=[SCAN_WEIGHT])] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[RecordedChange]:
        query = await query_of(info, from_, to, subjects, filter)
        keyset = Keyset(info.context.cursor_cipher, "changes", query, key=(datetime, int, int))
        return await fetch_connection(
            info,
            keyset,
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, changes.list_changes, query, page),
            nodes=lambda rows: [_change(row, keyset) for row in rows],
            cursor_key=changes.cursor_key,
            count=lambda: read(info, changes.count_changes, query),
        )


def _change(row: ChangeRow, keyset: Keyset) -> RecordedChange:
    return RecordedChange(
        id=write_id("RecordedChange", row.uid, row.at),
        kind=ChangeKind[row.kind],
        subject_kind=SUBJECT_OF_KIND[row.subject_kind],
        uid=row.uid,
        asset=asset_of(subject_in(row, row.after)),
        before=asset_of(subject_in(row, row.before)),
        at=row.at,
        recorded_at=row.recorded_at,
        actor=row.actor,
        credential=row.credential,
        request_id=row.request_id,
        row=row,
        keyset=keyset,
    )
