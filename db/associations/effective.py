"""Composed reads of effective associations, which lineage links and relationships share."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Uuid, bindparam, func, select, text

from db.filters import AS_OF, TENANT
from db.tables import asset as assets
from db.temporal.kind import AssociationKind, valid_at


def is_identity_of(kind: AssociationKind) -> ColumnElement[bool]:
    """Build the condition that joins effective rows of a kind to their identities."""
    effective, identities = kind.effective, kind.identities
    return (identities.c.tenant_id == effective.c.tenant_id) & (identities.c.id == effective.c[kind.subject])


def select_effective(kind: AssociationKind, columns: Sequence[str]) -> Select[Any]:
    """Select the associations of a kind that are effective at an instant: id, uid, these columns, the period, and the instant."""
    effective, identities = kind.effective, kind.identities
    return (
        select(
            effective.c[kind.subject],
            identities.c.uid,
            *(effective.c[column] for column in columns),
            effective.c.valid_from,
            func.nullif(effective.c.valid_to, text("'infinity'")).label("valid_to"),
            AS_OF.label("as_of"),
        )
        .join(identities, is_identity_of(kind))
        .where(effective.c.tenant_id == TENANT, valid_at(effective, AS_OF))
    )


def where_ends(statement: Select[Any], kind: AssociationKind, near: str | None, far: str | None) -> Select[Any]:
    """Filter associations by the uids of their ends, which these parameters hold. None does not filter."""
    for column, name in zip(kind.ends, (near, far), strict=True):
        if name is not None:
            is_end = assets.c.uid == bindparam(name, type_=Uuid)
            asset_id = select(assets.c.id).where(assets.c.tenant_id == TENANT, is_end).scalar_subquery()
            statement = statement.where(kind.effective.c[column] == asset_id)
    return statement
