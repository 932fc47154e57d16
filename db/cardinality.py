"""Cardinality: where a type allows one join, there is one at every instant. Constraints see to it; here it is told
which two collide."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from db.connection import WriteConnection
from db.errors import Contested
from db.instants import write_instant
from db.kinds import ENTITY, RELATIONSHIP
from db.quarrel import Quarrel, Quarrels, Side, subject_of
from db.sql import load

_CLASHING = load("clashing_joins")
_JOINS_OF_TYPE = (
    "j.relation_id IN (SELECT id FROM relation WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint))"
)
_OF_JOINS = text(_CLASHING.replace("{narrowed}", "j.relation_id = ANY (CAST(:relations AS bigint[]))"))
_OF_TYPE = text(_CLASHING.replace("{narrowed}", _JOINS_OF_TYPE) + "LIMIT 1")
_LATER = text("SET CONSTRAINTS relationship_one_origin, relationship_one_related DEFERRED")
_NOW = text("SET CONSTRAINTS relationship_one_origin, relationship_one_related IMMEDIATE")


@asynccontextmanager
async def kept_among(connection: WriteConnection, *, limited: bool, field: str) -> AsyncIterator[list[int]]:
    """What is done within to joins, whose ids are to be noted, is looked at as a whole: what collides in the end is told of. None
    can where there may be any number of them."""
    touched: list[int] = []
    if not limited:
        yield touched
        return
    await connection.execute(_LATER)
    yield touched
    clashing = await connection.fetch(_OF_JOINS, {"relations": touched})
    if clashing:
        raise Quarrels([_quarrel(row, field) for row in clashing])
    # what another writer has not committed yet is waited for
    await connection.execute(_NOW)


@asynccontextmanager
async def kept_in_type(connection: WriteConnection, type_id: int) -> AsyncIterator[None]:
    """The same for all joins of a type."""
    await connection.execute(_LATER)
    yield
    clashing = await connection.fetch_one(_OF_TYPE, {"type": type_id})
    if clashing is not None:
        raise Contested(f"{_told(clashing)} Both are there already, so the cardinality cannot become that.", field="cardinality")
    await connection.execute(_NOW)


def _quarrel(row: Any, field: str) -> Quarrel:
    return Quarrel(
        (
            _side(row.relation_id, row.origin_id, row.related_id, row.valid_from, row.valid_to),
            _side(row.rival_id, row.rival_origin_id, row.rival_related_id, row.rival_from, row.rival_to),
        ),
        Contested(_told(row), field=field),
    )


def _side(relation_id: int, origin_id: int, related_id: int, since: Any, until: Any) -> Side:
    """A join is there because it was said, or because an end of it is there again."""
    ends = (subject_of(ENTITY, origin_id), subject_of(ENTITY, related_id))
    return Side((subject_of(RELATIONSHIP, relation_id), *ends), since, until)


def _told(row: Any) -> str:
    """Which two collide, and where."""
    return (
        f"{row.type} is {row.cardinality}: from {write_instant(row.since)} on, {row.near} would be joined both with {row.far}"
        f" (relationship {row.uid}) and with {row.rival_far} (relationship {row.rival_uid})."
    )
