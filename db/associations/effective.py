"""Composed reads of effective associations, which lineage links and relationships share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, text

from db.filters import TENANT
from db.tables import asset as assets
from db.temporal.kind import AssociationKind, valid_at


def is_identity_of(kind: AssociationKind) -> ColumnElement[bool]:
    """Build the condition that joins effective rows of a kind to their identities."""
    effective, identities = kind.effective, kind.identities
    return (identities.c.tenant_id == effective.c.tenant_id) & (identities.c.id == effective.c[kind.subject])


def select_effective(kind: AssociationKind, columns: Sequence[str], instant: datetime) -> Select[Any]:
    """Select the associations of a kind that are effective at an instant: id, uid, these columns, and the period."""
    effective, identities = kind.effective, kind.identities
    return (
        select(
            effective.c[kind.subject],
            identities.c.uid,
            *(effective.c[column] for column in columns),
            effective.c.valid_from,
            func.nullif(effective.c.valid_to, text("'infinity'")).label("valid_to"),
        )
        .join(identities, is_identity_of(kind))
        .where(effective.c.tenant_id == TENANT, valid_at(effective, instant))
    )


def where_ends(statement: Select[Any], kind: AssociationKind, near: UUID | None, far: UUID | None) -> Select[Any]:
    """Filter associations by the uids of their ends. None does not filter."""
    for column, uid in zip(kind.ends, (near, far), strict=True):
        if uid is not None:
            asset_id = select(assets.c.id).where(assets.c.tenant_id == TENANT, assets.c.uid == uid).scalar_subquery()
            statement = statement.where(kind.effective.c[column] == asset_id)
    return statement
