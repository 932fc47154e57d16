"""Differences of assets, lineage links and relationships between two instants."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry

from db.connection import ReadConnection
from db.temporal import differences
from db.temporal.differences import DifferenceRow
from schema.changes.change_filter import Filter, From, query_of
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
from schema.language.cost import list_size, scan_cost
from schema.language.fields import batched, field, resolver
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, PageArguments, paged
from schema.language.scopes import READ
from schema.lazy import LazyAsset
from schema.temporal.history import FieldChange, field_changes


@strawberry.enum(description="Kind of a difference between two instants.")
class DifferenceKind(Enum):
    ADDED = strawberry.enum_value("ADDED", description="The subject exists at the later instant only.")
    REMOVED = strawberry.enum_value("REMOVED", description="The subject exists at the earlier instant only.")
    CHANGED = strawberry.enum_value("CHANGED", description="The subject exists at both instants and differs.")


@strawberry.type(description="A subject that differs between two instants.")
class RecordedDifference:
    kind: DifferenceKind = field(READ, "Kind of the difference.")
    subject_kind: SubjectKind = field(READ, "Kind of the subject.")
    uid: UUID = field(READ, "Uid of the subject.")
    before: LazyAsset | None = field(
        READ, "The asset at the earlier instant. Null if it did not exist, and if the subject is no asset."
    )
    after: LazyAsset | None = field(
        READ, "The asset at the later instant. Null if it does not exist, and if the subject is no asset."
    )
    row: strawberry.Private[DifferenceRow]

    @list_size(10)
    @batched(READ, "Fields that differ. If the subject exists at one instant only: every field.")
    @staticmethod
    async def fields(recorded: Sequence["RecordedDifference"], info: Info) -> list[list[FieldChange]]:
        return [field_changes(it.row.changed) for it in recorded]

    @batched(READ, "The subject at the later instant. Null if it does not exist.")
    @staticmethod
    async def subject(recorded: Sequence["RecordedDifference"], info: Info) -> list[ChangeSubject | None]:
        return await subjects_of(info, [subject_in(it.row, it.row.after) for it in recorded])

    @batched(READ, "The subject at the earlier instant. Null if it did not exist.")
    @staticmethod
    async def subject_before(recorded: Sequence["RecordedDifference"], info: Info) -> list[ChangeSubject | None]:
        return await subjects_of(info, [subject_in(it.row, it.row.before) for it in recorded])


@strawberry.type
class DifferenceQueries:
    @scan_cost("changes", "products", "entities", "links")
    @paged
    @resolver(
        READ,
        "Subjects that differ between two instants. One that changed and changed back does not differ. The order is fixed, but"
        " has no meaning.",
    )
    async def diff(
        self,
        info: Info,
        from_: From,
        to: Annotated[datetime | None, strawberry.argument(description="The later instant. Defaults to now.")] = None,
        subjects: Subjects = ASSETS,
        filter: Filter = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[RecordedDifference]:
        until = await read(info, ReadConnection.instant, to)
        query = await query_of(info, from_, until, subjects, filter, of_states=True)
        return await fetch_connection(
            info,
            # without `to`, each page ends at its own now
            Keyset(info.context.cursor_cipher, "diff", to, replace(query, until=query.since), key=(int, int)),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, differences.list_differences, query, page),
            nodes=lambda rows: [_difference(row) for row in rows],
            cursor_key=differences.cursor_key,
            count=lambda: read(info, differences.count_differences, query),
        )


def _difference(row: DifferenceRow) -> RecordedDifference:
    return RecordedDifference(
        kind=DifferenceKind[row.kind],
        subject_kind=SUBJECT_OF_KIND[row.subject_kind],
        uid=row.uid,
        before=asset_of(subject_in(row, row.before)),
        after=asset_of(subject_in(row, row.after)),
        row=row,
    )
