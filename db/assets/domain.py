"""Domains: the parts of an organisation that own data. Which there are at an instant, and what is found in each."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BigInteger, ColumnElement, DateTime, Select, Text, func, literal_column, select, text

from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.sql import statement

T = TypeVar("T")

_DOMAINS = statement("assets/domains")
_OWNERS = statement("assets/owners_by_domain")


class DomainAt(NamedTuple):
    """A domain as it is asked about, at an instant of its own."""

    domain: str
    instant: datetime


# The domain that is asked about and its instant, inside a statement of what is found in each.
DOMAIN = literal_column("asked.domain", Text)
INSTANT = literal_column("asked.instant", DateTime(timezone=True))

_PLACE = literal_column("asked.place", BigInteger)
_ASKED = text(
    "unnest(CAST(:domains AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (domain, instant, place)"
)


async def domains_at(connection: ReadConnection, instants: Sequence[datetime]) -> list[list[str]]:
    """The names of all domains that there are at instants, in order."""
    rows = [await connection.fetch(_DOMAINS, {"names": None, "instant": it}) for it in instants]
    return [[row.name for row in them] for them in rows]


async def domains_by_name(connection: ReadConnection, names: Sequence[str], instant: datetime) -> list[str | None]:
    """Which of these domains there are."""
    rows = await connection.fetch(_DOMAINS, {"names": list(names), "instant": instant})
    found = {row.name for row in rows}
    return [name if name in found else None for name in names]


async def owners_by_domain(connection: ReadConnection, readings: Sequence[DomainAt]) -> list[list[str]]:
    """Who answers for the products of each domain, in order."""
    found: list[list[str]] = [[] for _ in readings]
    for row in await connection.fetch(_OWNERS, _parameters(readings)):
        found[row.place - 1].append(row.owner)
    return found


async def page_of_each(
    connection: ReadConnection,
    readings: Sequence[DomainAt],
    within: Select[Any],
    page: Page,
    keys: Sequence[ColumnElement[Any]],
    build: Callable[..., T],
) -> list[Slice[T]]:
    """A page of what a statement finds in each domain, in the order of keys that it selects."""
    found = page.apply(within, *keys).lateral("found")
    order = page.order(*(found.c[str(key.key)] for key in keys))
    statement = select(_PLACE, found).select_from(_ASKED, found).order_by(_PLACE, *order)
    rows: list[list[Any]] = [[] for _ in readings]
    for row in await connection.fetch(statement, _parameters(readings)):
        rows[row[0] - 1].append(row[1:])
    return [page.slice(them, partial(build, instant=it.instant)) for it, them in zip(readings, rows, strict=True)]


async def count_of_each(connection: ReadConnection, readings: Sequence[DomainAt], within: Select[Any]) -> list[int]:
    """How much a statement finds in each domain."""
    counting = select(_PLACE.label("place"), func.count().label("number"))
    statement = counting.select_from(_ASKED, within.lateral("found")).group_by(_PLACE)
    counts = {row.place: row.number for row in await connection.fetch(statement, _parameters(readings))}
    return [counts.get(place, 0) for place in range(1, len(readings) + 1)]


def _parameters(readings: Sequence[DomainAt]) -> dict[str, Any]:
    return {"domains": [it.domain for it in readings], "instants": [it.instant for it in readings]}
