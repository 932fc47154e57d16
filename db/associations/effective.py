"""Composed reads of effective associations, which lineage links and relationships share."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, bindparam, func, select, text

from db.connection import ReadConnection
from db.filters import AS_OF, TENANT, any_of, distinct
from db.sql import Statement, compose
from db.tables import asset as assets
from db.temporal.kind import AssociationKind, valid_at


def identity_columns(kind: AssociationKind) -> tuple[str, ...]:
    """List the columns of the row of an association that do not change: its id, its uid, its ends and its discriminator."""
    return kind.subject, "uid", *kind.ends, next(iter(kind.parts))


@cache
def _identities_statement(kind: AssociationKind) -> Statement:
    columns = kind.identities.c
    subject, *others = identity_columns(kind)
    by_uid = select(columns.id.label(subject), *(columns[name] for name in others))
    return compose(by_uid.where(columns.tenant_id == TENANT, columns.uid == any_of("uids", Uuid)))


async def association_identities(
    connection: ReadConnection, uids: Sequence[UUID], kind: AssociationKind
) -> list[Mapping[str, Any] | None]:
    """Find the identities of associations by uid, in the order of the uids, whether or not they were ever effective. An unknown
    uid has None."""
    rows = await connection.fetch(_identities_statement(kind), {"uids": distinct(uids)})
    found = {row.uid: cast(Mapping[str, Any], row) for row in rows}
    return [found.get(uid) for uid in uids]


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
