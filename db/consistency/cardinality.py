"""Cardinality: where a type allows one join, there is one at every instant. Constraints see to it; here it is told
which two collide."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from db.connection import WriteConnection
from db.consistency.batch_conflicts import BatchConflict, BatchConflictError, ConflictSide, subject_of
from db.errors import ResolvableConflict
from db.instants import write_instant
from db.sql import statement
from db.temporal.kinds import ENTITY, RELATIONSHIP

_RELATIONSHIPS_OF_TYPE = "j.relationship_id IN (SELECT id FROM relationship WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint))"
_AMONG_RELATIONSHIPS = statement(
    "consistency/cardinality_conflicts", filters="j.relationship_id = ANY (CAST(:relationships AS bigint[]))"
)
_OF_TYPE = statement("consistency/cardinality_conflicts", filters=_RELATIONSHIPS_OF_TYPE)
_DEFER = text("SET CONSTRAINTS relationship_effective_one_origin, relationship_effective_one_related DEFERRED")
_CHECK_NOW = text("SET CONSTRAINTS relationship_effective_one_origin, relationship_effective_one_related IMMEDIATE")


@asynccontextmanager
async def deferred_cardinality_check(connection: WriteConnection, *, limited: bool, field: str) -> AsyncIterator[list[int]]:
    """What is done within to joins, whose ids are to be noted, is looked at as a whole: what collides in the end is told of. None
    can where there may be any number of them."""
    touched: list[int] = []
    if not limited:
        yield touched
        return
    await connection.execute(_DEFER)
    yield touched
    clashing = await connection.fetch(_AMONG_RELATIONSHIPS, {"relationships": touched})
    if clashing:
        raise BatchConflictError([_conflict(row, field) for row in clashing])
    # what another writer has not committed yet is waited for
    await connection.execute(_CHECK_NOW)


@asynccontextmanager
async def deferred_cardinality_check_for_type(connection: WriteConnection, type_id: int) -> AsyncIterator[None]:
    """The same for all joins of a type."""
    await connection.execute(_DEFER)
    yield
    clashing = await connection.fetch_one(_OF_TYPE, {"type": type_id})
    if clashing is not None:
        raise ResolvableConflict(
            f"{_describe(clashing)} Both are there already, so the cardinality cannot become that.", field="cardinality"
        )
    await connection.execute(_CHECK_NOW)


def _conflict(row: Any, field: str) -> BatchConflict:
    return BatchConflict(
        (
            _side(row.relationship_id, row.origin_id, row.related_id, row.valid_from, row.valid_to),
            _side(row.rival_id, row.rival_origin_id, row.rival_related_id, row.rival_from, row.rival_to),
        ),
        ResolvableConflict(_describe(row), field=field),
    )


def _side(relationship_id: int, origin_id: int, related_id: int, since: Any, until: Any) -> ConflictSide:
    """A join is there because it was said, or because an end of it is there again."""
    ends = (subject_of(ENTITY, origin_id), subject_of(ENTITY, related_id))
    return ConflictSide((subject_of(RELATIONSHIP, relationship_id), *ends), since, until)


def _describe(row: Any) -> str:
    """Which two collide, and where."""
    return (
        f"{row.type} is {row.cardinality}: from {write_instant(row.since)} on, {row.near} would be joined both with {row.far}"
        f" (relationship {row.uid}) and with {row.rival_far} (relationship {row.rival_uid})."
    )
