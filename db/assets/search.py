"""Search: products and entities in one list, by names, keys, descriptions, tags and details, as they were at an instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from db.assets.node import node_fields
from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.sql import MAX_SHAPES, Statement, statement
from db.temporal.kinds import ASSET_KINDS

# A search ranks so many assets whose names begin with its text, and so many by their keys, and examines twice as many of all that
# match. So a common word among many assets takes no longer. A search that finds fewer has found all.
BOUND = 2_000

_COUNTS = statement("assets/search_counts")


class Rank(IntEnum):
    """Rank of a match, best first: see docs/search.md."""

    EXACT = 1
    PREFIX = 2
    WORD = 3
    SUBSTRING = 4


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A text to search for, and filters. A filter that is None admits every asset; an empty one admits none.

    Cursors carry a digest of its repr: do not rename its parts.
    """

    text: str
    kinds: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    as_of: datetime | None = None


class Counted(NamedTuple):
    """A value of a facet, and the number of assets that have it."""

    value: str
    number: int


class SearchCounts(NamedTuple):
    """The number of assets that a search found, if these are all that match, and of a facet its values and their number."""

    total: int
    is_complete: bool
    values: list[Counted]
    value_count: int


def cursor_key(row: Any) -> tuple[Any, ...]:
    """Return the values by which a found asset sorts. A cursor holds them."""
    return (row["rank"], row["sorted_label"], row["asset_id"])


async def search_page(connection: ReadConnection, query: SearchQuery, page: Page) -> Slice[Any]:
    """Fetch a page of the assets that a search finds: rows of assets with a rank."""
    cursors = {f"{name}_{number}": None for name in ("after", "before") for number in range(3)}
    rows = await connection.fetch(
        _page_statement(page.direction, connection.asset_fields),
        {**cursors, **page.parameters, **_parameters(connection, query)},
    )
    return page.slice(rows, lambda row: row)


async def search_counts(
    connection: ReadConnection, facets: Sequence[tuple[str, int] | None], query: SearchQuery
) -> list[SearchCounts]:
    """Count the assets that a search finds by each facet, whose name comes with the most values to return; None: only in all."""
    wanted = [it for it in facets if it is not None]
    limit = max((size for _, size in wanted), default=0) or 1
    parameters = {"facets": [name for name, _ in wanted], "limit": limit, **_parameters(connection, query)}
    values: dict[str, list[Counted]] = {name: [] for name in ("total", *(name for name, _ in wanted))}
    value_counts: dict[str, int] = {}
    total = 0
    for row in await connection.fetch(_COUNTS, parameters):
        if row.value is None:
            total = row.number
        else:
            values[row.facet].append(Counted(row.value, row.number))
            value_counts[row.facet] = row.value_count
    return [
        SearchCounts(total, total < BOUND, values[name][:size], value_counts.get(name, 0))
        for name, size in (it or ("total", 0) for it in facets)
    ]


def _parameters(connection: ReadConnection, query: SearchQuery) -> dict[str, Any]:
    return {
        "text": query.text,
        "as_of": query.as_of or connection.now_if_read,
        "kinds": [it.name for it in ASSET_KINDS] if query.kinds is None else query.kinds,
        "bound": BOUND,
        "types": query.types,
        "domains": query.domains,
        "owners": query.owners,
        "tags": query.tags,
    }


@lru_cache(MAX_SHAPES)
def _page_statement(direction: str, fields: frozenset[str] | None) -> Statement:
    return statement("assets/search_page", direction=direction, **node_fields(fields))
