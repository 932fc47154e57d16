"""Subjects of changes and differences: assets, lineage links and relationships, each as it was in a period."""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strawberry

from db.temporal.changes import ChangeRow
from db.temporal.differences import DifferenceRow
from db.temporal.history import VersionPeriod
from db.temporal.kind import AssociationKind, Kind
from db.temporal.kinds import ENTITY, LINK, PRODUCT, RELATIONSHIP
from schema.assets.entity import Entity
from schema.assets.product import Product
from schema.associations.association import row_in_period
from schema.associations.lineage_link import LineageLink
from schema.associations.relationship import Relationship
from schema.execution.context import Info
from schema.lazy import ASSET_TYPES, ASSETS_BY_ID, LazyAsset
from schema.registries.relationship_type import RelationshipType, registry_of

ChangeSubject = Annotated[
    Product | Entity | LineageLink | Relationship,
    strawberry.union("ChangeSubject", description="An asset, a lineage link or a relationship, as it was at one instant."),
]


@strawberry.enum(description="Kind of a subject of changes.")
class SubjectKind(Enum):
    PRODUCT = strawberry.enum_value("PRODUCT", description="A data product.")
    ENTITY = strawberry.enum_value("ENTITY", description="An entity of any type.")
    LINEAGE_LINK = strawberry.enum_value("LINEAGE_LINK", description="A lineage link.")
    RELATIONSHIP = strawberry.enum_value("RELATIONSHIP", description="A relationship of any type.")


KIND_OF_SUBJECT: dict[SubjectKind, Kind] = {
    SubjectKind.PRODUCT: PRODUCT,
    SubjectKind.ENTITY: ENTITY,
    SubjectKind.LINEAGE_LINK: LINK,
    SubjectKind.RELATIONSHIP: RELATIONSHIP,
}
SUBJECT_OF_KIND = {kind: subject for subject, kind in KIND_OF_SUBJECT.items()}

ASSETS = [SubjectKind.PRODUCT, SubjectKind.ENTITY]

Subjects = Annotated[list[SubjectKind], strawberry.argument(description="Kinds of subjects. An empty list matches nothing.")]


class SubjectPeriod(NamedTuple):
    """A subject in one period."""

    kind: Kind
    uid: UUID
    period: VersionPeriod


def subject_in(row: ChangeRow | DifferenceRow, period: VersionPeriod | None) -> SubjectPeriod | None:
    """Return the subject of a row in one of its periods; None: it does not exist then."""
    return None if period is None else SubjectPeriod(row.subject_kind, row.uid, period)


def asset_of(subject: SubjectPeriod | None) -> LazyAsset | None:
    """Build the asset of a period. It is None for a period of an association, and for none."""
    if subject is None or not subject.kind.is_asset_kind:
        return None
    return ASSET_TYPES[subject.kind.name].from_version(subject.uid, subject.period)


async def subjects_of(info: Info, subjects: Sequence[SubjectPeriod | None]) -> list[ChangeSubject | None]:
    """Build subjects of any kinds, each as it was in its period. One statement finds the ends of all associations."""
    found: list[Any] = [asset_of(it) for it in subjects]
    associations = [
        (index, it.kind, _row(it, it.kind))
        for index, it in enumerate(subjects)
        if it is not None and isinstance(it.kind, AssociationKind)
    ]
    if not associations:
        return found
    of_ends = [((row[kind.ends[0]], row[kind.ends[1]]), row.as_of, row.as_of) for _, kind, row in associations]
    ends = await info.context.load_all(ASSETS_BY_ID, of_ends)
    types = await registry_of(info) if any(kind is RELATIONSHIP for _, kind, _ in associations) else None
    for (index, kind, row), of_row in zip(associations, ends, strict=True):
        if types is None or kind is LINK:
            found[index] = LineageLink.of(row, of_row, row.as_of)
        else:
            found[index] = Relationship.of(row, RelationshipType.of(types.by_id[row.type_id]), of_row, row.as_of)
    return found


def _row(subject: SubjectPeriod, kind: AssociationKind) -> Any:
    """Build the row of an association in its period."""
    identity = {kind.subject: subject.period.subject_id, "uid": subject.uid, **(subject.period.identity or {})}
    return row_in_period(kind, identity, subject.period)
