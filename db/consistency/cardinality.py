"""Cardinality of relationships: where a type allows one, there is at most one at every instant.

Exclusion constraints guarantee it. A writer defers them, writes, and calls a check, which names the two relationships of each
conflict and then enforces the constraints.
"""

from typing import Any

from db.connection import WriteConnection
from db.consistency.batch_conflicts import BatchConflict, subject_of
from db.errors import ResolvableConflict
from db.instants import write_instant
from db.sql import statement, text
from db.temporal.kinds import ENTITY, RELATIONSHIP

_CONFLICTS_AMONG = statement(
    "consistency/cardinality_conflicts",
    filters="checked.relationship_id = ANY (CAST(:relationships AS bigint[]))",
    limit="",
)
_CONFLICTS_OF_TYPE = statement(
    "consistency/cardinality_conflicts",
    filters="checked.relationship_id IN (SELECT id FROM relationship"
    " WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint))",
    limit="LIMIT 1",
)
_DEFER = text("SET CONSTRAINTS relationship_effective_one_origin, relationship_effective_one_related DEFERRED")
_ENFORCE = text("SET CONSTRAINTS relationship_effective_one_origin, relationship_effective_one_related IMMEDIATE")


async def defer_cardinality(connection: WriteConnection) -> None:
    """Allow violations of cardinality until the next check or the end of the transaction."""
    await connection.execute(_DEFER)


async def check_cardinality(connection: WriteConnection, relationship_ids: list[int], *, field: str) -> list[BatchConflict]:
    """Return the conflicts of these relationships with others; if there are none, enforce the deferred constraints."""
    rows = await connection.fetch(_CONFLICTS_AMONG, {"relationships": relationship_ids})
    if not rows:
        # waits for other writers whose relationships are not committed yet
        await connection.execute(_ENFORCE)
    return [_conflict(row, field) for row in rows]


async def check_cardinality_of_type(connection: WriteConnection, type_id: int) -> ResolvableConflict | None:
    """Return the first conflict among the relationships of a type; if there is none, enforce the deferred constraints."""
    row = await connection.fetch_one(_CONFLICTS_OF_TYPE, {"type": type_id})
    if row is None:
        await connection.execute(_ENFORCE)
        return None
    return ResolvableConflict(
        f"{_describe(row)} Both exist already, so the cardinality cannot change to this.",
        field="cardinality",
        blind="Relationships of the type exist that violate this cardinality.",
    )


def _conflict(row: Any, field: str) -> BatchConflict:
    """Build a conflict. It depends on both relationships, and on the ends of both, of which they share one."""
    relationships = (subject_of(RELATIONSHIP, row.relationship_id), subject_of(RELATIONSHIP, row.rival_id))
    # of several entries that create a stub, one may be the statement of the relationship, which then loses alone
    ends = (subject_of(ENTITY, asset_id) for asset_id in (row.far_id, row.rival_far_id, row.near_id))
    blind = "The cardinality of the type allows one relationship where there would be two. End the other one first."
    error = ResolvableConflict(_describe(row), field=field, blind=blind)
    return BatchConflict((*relationships, *ends), row.since, row.until, error)


def _describe(row: Any) -> str:
    return (
        f"{row.type} is {row.cardinality}: from {write_instant(row.since)} on, {row.near} would be related both to {row.far}"
        f" (relationship {row.uid}) and to {row.rival_far} (relationship {row.rival_uid})."
    )
