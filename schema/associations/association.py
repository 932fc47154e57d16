"""Associations: the fields that lineage links and relationships share, and the versions of their histories."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

import strawberry

from db.associations.effective import association_identities, identity_columns
from db.errors import HeadwaterError, NotFound
from db.rows import BuiltRow
from db.temporal.history import VersionPeriod
from db.temporal.kind import AssociationKind
from schema.execution.context import Info
from schema.execution.loading import Batch, Loadable
from schema.language.columns import column, reads
from schema.language.fields import batched
from schema.language.node_ids import Node
from schema.language.pagination import PageArguments
from schema.language.references import asset_ref
from schema.language.scopes import READ
from schema.lazy import resolved_assets
from schema.temporal.history import ACTOR, CREDENTIAL, HISTORY_BY_SUBJECT, history_connections, page_at, version_fields

IDENTITY_OF_ASSOCIATION = Batch(association_identities)

OfPeriod = TypeVar("OfPeriod")
Found = TypeVar("Found")


@strawberry.type
class Association(Node):
    uid: UUID = column(READ, "Stable uid.")
    valid_from: datetime = column(READ, "Start of the period in which its state was unchanged and both ends existed.")
    valid_to: datetime | None = column(READ, "End of that period. Null if it continues.")
    updated_at: datetime = column(READ, "Instant of the last change, up to the instant of this read.", "valid_from")

    kind: ClassVar[AssociationKind]
    # finds what is recorded of the periods of this kind, by their keys
    recorded: ClassVar[Loadable[Any, Any]]
    row: strawberry.Private[Any]
    # the requested instant, if any
    pinned: strawberry.Private[datetime | None]

    @property
    def subject_id(self) -> int:
        return cast(int, self.row[self.kind.subject])

    @property
    def record_key(self) -> Any:
        """Key by which the loader finds what is recorded of the period."""
        return self.subject_id, self.row["valid_from"]

    @reads("valid_from", "as_of")
    @batched(READ, "Instant from which it first existed together with both of its ends.")
    @staticmethod
    async def created_at(associations: Sequence["Association"], info: Info) -> list[datetime]:
        return [it.created_at for it in await records_of(info, associations)]

    @reads("valid_from", "as_of")
    @batched(READ, "Instant at which the change was recorded from which this state is valid. It may be later than validFrom.")
    @staticmethod
    async def recorded_at(associations: Sequence["Association"], info: Info) -> list[datetime]:
        return [it.recorded_at for it in await records_of(info, associations)]

    @reads("valid_from", "as_of")
    @batched(READ, f"{ACTOR} If the period begins with that of an end, the change is that of the end.")
    @staticmethod
    async def actor(associations: Sequence["Association"], info: Info) -> list[str | None]:
        return [it.actor for it in await records_of(info, associations)]

    @reads("valid_from", "as_of")
    @batched(READ, CREDENTIAL)
    @staticmethod
    async def credential(associations: Sequence["Association"], info: Info) -> list[str | None]:
        return [it.credential for it in await records_of(info, associations)]


async def found_by_reference(
    info: Info,
    find: Callable[[Info, UUID, datetime | None], Awaitable[Found]],
    uid: UUID | HeadwaterError,
    as_of: datetime | None,
) -> Found | None:
    """Return the association that a reference has been resolved to, or None if it names nothing. Raise any other error."""
    if isinstance(uid, NotFound):
        return None
    if isinstance(uid, HeadwaterError):
        raise uid
    return await find(info, uid, as_of)


async def uids_of_ends(info: Info, filter: Mapping[str, Any], ends: Sequence[str], as_of: datetime | None) -> dict[str, UUID]:
    """Return the uids of the assets that a filter names by these fields. Raise NotFound that names a field if there is none."""
    refs = {it: asset_ref(filter[it]) for it in ends if filter.get(it) is not None}
    return {name: asset.uid for name, asset in (await resolved_assets(info, refs, as_of)).items()} if refs else {}


async def records_of(info: Info, associations: Sequence[Association]) -> Sequence[Any]:
    """Load what is recorded of the periods of associations of one kind."""
    return await info.context.load_all(associations[0].recorded, [it.record_key for it in associations])


async def association_histories(
    info: Info, associations: Sequence[Association], version_type: type[Any], arguments: PageArguments
) -> list[Any]:
    """Fetch a page of the history of each association. The associations are of one kind."""
    return await history_connections(
        info,
        associations[0].kind,
        associations,
        arguments,
        subject_id=lambda it: it.subject_id,
        nodes=lambda it, periods: [_version(it.kind, version_type, it.row, period) for period in periods],
    )


async def association_version(
    info: Info, kind: AssociationKind, version_type: type[OfPeriod], uid: UUID, start: datetime | None
) -> OfPeriod | None:
    """Return the version of the association with a uid that starts at an instant."""
    if start is None or (identity := await info.context.load(IDENTITY_OF_ASSOCIATION, uid, kind)) is None:
        return None
    periods = await info.context.load(HISTORY_BY_SUBJECT, identity[kind.subject], kind, page_at(start))
    return _version(kind, version_type, identity, periods.items[0]) if periods.items else None


async def each_in_its_period(built: Sequence[Awaitable[list[OfPeriod]]]) -> list[OfPeriod]:
    """Return the association of each version, all of them loaded together."""
    return list(chain.from_iterable(await asyncio.gather(*built)))


def row_in_period(kind: AssociationKind, identity: Mapping[str, Any], period: VersionPeriod) -> Any:
    """Build the row that an association has in a period of its history."""
    return BuiltRow(
        {name: identity[name] for name in identity_columns(kind)},
        as_of=period.as_of,
        valid_from=period.valid_from,
        valid_to=period.valid_to,
        **period.state,
    )


def _version(kind: AssociationKind, version_type: type[Any], identity: Mapping[str, Any], period: VersionPeriod) -> Any:
    """Build a version of an association, with the row that the association has in its period."""
    row = row_in_period(kind, identity, period)
    return version_type(row=row, **version_fields(version_type.__name__, row.uid, cast(Any, period)))
