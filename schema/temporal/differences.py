"""Differences of assets between two instants."""

from enum import Enum
from uuid import UUID

import strawberry

from db.temporal import differences
from db.temporal.differences import DifferenceRow
from db.temporal.history import VersionPeriod
from schema.execution.connections import fetch_connection, read
from schema.execution.context import Info
from schema.language.cost import list_size, scan_cost
from schema.language.fields import field, resolver
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, PageArguments, paged
from schema.language.scopes import READ
from schema.lazy import ASSET_TYPES, LazyAsset
from schema.temporal.changes import Filter, From, To, query_of
from schema.temporal.history import FieldChange, field_changes


@strawberry.enum(description="Kind of a difference between two instants.")
class DifferenceKind(Enum):
    ADDED = strawberry.enum_value("ADDED", description="The asset exists at the later instant only.")
    REMOVED = strawberry.enum_value("REMOVED", description="The asset exists at the earlier instant only.")
    CHANGED = strawberry.enum_value("CHANGED", description="The asset exists at both instants and differs.")


@strawberry.type(description="An asset that differs between two instants.")
class RecordedDifference:
    kind: DifferenceKind = field(READ, "Kind of the difference.")
    uid: UUID = field(READ, "Uid of the asset.")
    before: LazyAsset | None = field(READ, "The asset at the earlier instant. Null if it did not exist.")
    after: LazyAsset | None = field(READ, "The asset at the later instant. Null if it does not exist.")
    fields: list[FieldChange] = list_size(10)(
        field(READ, "Fields that differ. If the asset exists at one instant only: every field.")
    )


@strawberry.type
class DifferenceQueries:
    @scan_cost("changes", "products", "entities")
    @paged
    @resolver(
        READ,
        "Assets that differ between two instants. An asset that changed and changed back does not differ. The order is fixed, but"
        " has no meaning.",
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
    ) -> Connection[RecordedDifference]:
        query = query_of(from_, to, filter)
        return await fetch_connection(
            info,
            Keyset(info.context.cursor_cipher, "diff", query, key=(int,)),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, differences.list_differences, query, page),
            nodes=lambda rows: [_difference(row) for row in rows],
            cursor_key=differences.cursor_key,
            count=lambda: read(info, differences.count_differences, query),
        )


def _difference(row: DifferenceRow) -> RecordedDifference:
    return RecordedDifference(
        kind=DifferenceKind[row.kind],
        uid=row.uid,
        before=_asset(row, row.before),
        after=_asset(row, row.after),
        fields=field_changes(row.changed),
    )


def _asset(row: DifferenceRow, period: VersionPeriod | None) -> LazyAsset | None:
    return None if period is None else ASSET_TYPES[row.asset_kind].from_version(row.uid, period)
