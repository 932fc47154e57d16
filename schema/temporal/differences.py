"""Differences: what the world is at one instant and was not at an earlier one."""

from enum import Enum
from uuid import UUID

import strawberry

from db.temporal import differences
from db.temporal.differences import DifferenceRow
from db.temporal.history import VersionPeriod
from schema.execution.context import Info
from schema.language.cost import list_size
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, paged
from schema.language.scopes import READ, field, resolver
from schema.lazy import ASSET_TYPES, LazyAsset
from schema.temporal.changes import Filter, From, To, query_of
from schema.temporal.history import FieldChange, field_changes


@strawberry.enum(description="How an asset differs between two instants.")
class DifferenceKind(Enum):
    ADDED = strawberry.enum_value("ADDED", description="It was not there at the earlier one.")
    REMOVED = strawberry.enum_value("REMOVED", description="It is not there at the later one.")
    CHANGED = strawberry.enum_value("CHANGED", description="It is there at both, and not the same.")


@strawberry.type(description="An asset that is not the same at two instants, whatever happened in between.")
class Difference:
    kind: DifferenceKind = field(READ, "How it differs.")
    uid: UUID = field(READ, "What differs.")
    before: LazyAsset | None = field(READ, "The asset as it was at the earlier instant; null: it was not there.")
    after: LazyAsset | None = field(READ, "The asset as it is at the later instant; null: it is not there.")
    fields: list[FieldChange] = list_size(10)(
        field(READ, "What is different. Where it is on one side only: every field there is.")
    )


@strawberry.type
class DifferenceQueries:
    @paged
    @resolver(
        READ,
        "What is different at one instant from what it was at an earlier one. What changed and changed back is not."
        " They always come in the same order, which means nothing.",
    )
    async def diff(
        self,
        info: Info,
        from_: From,
        to: To,
        filter: Filter = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Difference]:
        query = query_of(from_, to, filter)
        keyset = Keyset("diff", query, key=(int,))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        connection = await info.context.transaction.reader()
        return keyset.connection(
            page,
            await differences.list_differences(connection, query, page),
            node=_difference,
            place=differences.cursor_key,
            count=lambda: differences.count_differences(connection, query),
        )


def _difference(row: DifferenceRow) -> Difference:
    return Difference(
        kind=DifferenceKind[row.kind],
        uid=row.uid,
        before=_asset(row, row.before),
        after=_asset(row, row.after),
        fields=field_changes(row.changed),
    )


def _asset(row: DifferenceRow, stretch: VersionPeriod | None) -> LazyAsset | None:
    return None if stretch is None else ASSET_TYPES[row.asset_kind].from_version(row.uid, stretch)
