"""Links among the assets of walks: those that belong to a page, and the subgraph of all visited assets."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache, lru_cache
from itertools import accumulate, chain, islice
from operator import itemgetter
from typing import Any, NamedTuple, cast

from db.associations.lineage_link import LinkRow
from db.connection import ReadConnection
from db.errors import LimitExceeded
from db.lineage.walk import ALL_LINKS, Bounds, Direction, TruncationReason, Walk, WalkPage, WalkQuery, link_parameters
from db.sql import MAX_SHAPES, Statement, render, statement

# A link between two assets of a set is found among all links of one of them. This many links may be examined for each that the
# bound of links allows, because the assets of the last level may have many links to assets outside of the set. A truncated answer
# reports the bound, not this product, because the bound is what the settings hold and what an operator can raise.
EXAMINED_PER_LINK = 10

# Links of graphs that take as much memory as one with all its columns.
GRAPH_LINKS_PER_LINK = 10


_link_id: Callable[[Any], int] = itemgetter("link_id")

# Columns of a link that a page may leave out, and where the statement finds them.
_COLUMNS = {
    "as_of": "w.instant",
    "uid": "i.uid",
    "producer": "l.producer",
    "transformation": "l.transformation",
    "metadata": "l.metadata",
    "valid_from": "l.valid_from",
    "valid_to": "NULLIF(l.valid_to, 'infinity')",
}


class PageLinks(NamedTuple):
    """The links that belong to a page; with a reason, there may be more."""

    rows: list[LinkRow]
    truncation_reason: TruncationReason | None


class Subgraph(NamedTuple):
    """The links among some assets, as parallel lists; with a reason, there may be more."""

    sources: Sequence[int]
    targets: Sequence[int]
    confidences: Sequence[float]
    links: Sequence[int]
    truncation_reason: TruncationReason | None


async def links_of_pages(connection: ReadConnection, pages: Sequence[WalkPage], query: WalkQuery) -> list[PageLinks]:
    """Find the links of each page: those among the root and the visible assets whose later end is on the page."""
    return await _links_of_pages(connection, pages, query, connection.link_columns)


async def whole_links_of_pages(connection: ReadConnection, pages: Sequence[WalkPage], query: WalkQuery) -> list[PageLinks]:
    """Find the links of each page with all their columns, whatever the reader needs."""
    return await _links_of_pages(connection, pages, query, None)


async def _links_of_pages(
    connection: ReadConnection, pages: Sequence[WalkPage], query: WalkQuery, columns: frozenset[str] | None
) -> list[PageLinks]:
    sets = [[walk.root_id, *islice(chain.from_iterable(walk.visible_levels), stop)] for walk, _, stop in pages]
    instants = [page.walk.instant for page in pages]
    links: list[list[LinkRow]] = [[] for _ in pages]
    reasons: list[TruncationReason | None] = [None] * len(pages)
    # the root is the first of its set, before the asset with index 0
    page_starts = [page.start + 1 for page in pages]
    selected = _COLUMNS.keys() if columns is None else _COLUMNS.keys() & columns
    statement = _page_links_statement(query.direction, query.links == ALL_LINKS, frozenset(selected))
    # one row more than allowed shows that there are too many; each page has another one without a link
    max_rows = max(0, query.bounds.links_read - int(connection.links_read)) + len(pages) + 1
    rows = await _links_among(connection, statement, sets, instants, query, page_starts, max_rows)
    count_links(connection, len(rows) - len(pages) if len(rows) < max_rows else max_rows, query.bounds)
    for row in rows:
        index = row["ordinal"] - 1
        if row["link_id"] is None:
            reasons[index] = _truncation_reason(row, query.bounds)
        else:
            links[index].append(cast(LinkRow, row))
    limit = query.bounds.links
    return [
        PageLinks(
            sorted(rows, key=_link_id)[:limit],
            reason or (TruncationReason.LINKS if len(rows) > limit else None),
        )
        for rows, reason in zip(links, reasons, strict=True)
    ]


def subgraph_of_page(page: WalkPage, links: PageLinks) -> Subgraph | None:
    """Return the subgraph of a walk if its page holds all visited assets and its links are complete, else None."""
    walk, rows = page.walk, links.rows
    is_whole = page.start == 0 and page.stop >= walk.visible_count == walk.visited_count
    if not is_whole or links.truncation_reason is not None:
        return None
    return Subgraph(
        sources=[row["source_id"] for row in rows],
        targets=[row["target_id"] for row in rows],
        confidences=[row["confidence"] for row in rows],
        links=[row["link_id"] for row in rows],
        truncation_reason=None,
    )


async def subgraphs_of_walks(connection: ReadConnection, walks: Sequence[Walk], query: WalkQuery) -> list[Subgraph]:
    """Find the links among the root and the visited assets of each walk."""
    return await subgraphs_among(connection, [walk.asset_ids for walk in walks], [walk.instant for walk in walks], query)


async def subgraphs_among(
    connection: ReadConnection, sets: Sequence[Sequence[int]], instants: Sequence[datetime], query: WalkQuery
) -> list[Subgraph]:
    """Find the links among the assets of each set, at the instant of the set."""
    subgraphs = [Subgraph([], [], [], [], None) for _ in sets]
    statement = _subgraph_statement(query.direction, query.links == ALL_LINKS)
    for start, stop in _groups(sets, query.bounds.links * EXAMINED_PER_LINK):
        group, size = sets[start:stop], stop - start
        for row in await _links_among(connection, statement, group, instants[start:stop], query, [0] * size, size):
            count_links(connection, len(row.links or ()) / GRAPH_LINKS_PER_LINK, query.bounds)
            # an array takes a fifth of the memory of a list with its numbers
            subgraphs[start + row.ordinal - 1] = Subgraph(
                sources=array("q", row.sources or ()),
                targets=array("q", row.targets or ()),
                confidences=array("d", row.confidences or ()),
                links=array("q", row.links or ()),
                truncation_reason=_truncation_reason(row, query.bounds),
            )
    return subgraphs


def _groups(sets: Sequence[Sequence[int]], max_links: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the stop of groups of sets that one statement reads. Dense graphs of large sets need one each, so that
    not all are in memory at a time before they are counted."""
    start = links = 0
    for index, members in enumerate(sets):
        links += len(members) ** 2
        if links > max_links and index > start:
            yield start, index
            start, links = index, len(members) ** 2
    if start < len(sets):
        yield start, len(sets)


def count_links(connection: ReadConnection, links: float, bounds: Bounds) -> None:
    """Count links that were read. Raise LimitExceeded if the connection has read more than allowed."""
    connection.links_read += links
    if connection.links_read > bounds.links_read:
        raise LimitExceeded(
            f"The operation reads more than {bounds.links_read} links among the assets of its walks. A link that is read for"
            f" cycles or confidences counts a tenth. Walk from fewer assets at once, walk fewer levels, or filter the walks."
        )


async def _links_among(
    connection: ReadConnection,
    statement: Statement,
    sets: Sequence[Sequence[int]],
    instants: Sequence[datetime],
    query: WalkQuery,
    page_starts: Sequence[int],
    max_rows: int,
) -> Sequence[Any]:
    """Run `links_among.sql`. The assets of a set from its page start on are on the page."""
    # subscripts begin with 1
    lasts = list(accumulate(map(len, sets)))
    firsts = [last - len(asset_ids) + 1 for last, asset_ids in zip(lasts, sets, strict=True)]
    return await connection.fetch(
        statement,
        {
            "members": list(chain.from_iterable(sets)),
            "firsts": firsts,
            "page_starts": [first + page_start for first, page_start in zip(firsts, page_starts, strict=True)],
            "lasts": lasts,
            "instants": list(instants),
            "links": query.bounds.links,
            "max_examined": query.bounds.links * EXAMINED_PER_LINK,
            "max_rows": max_rows,
            "time": timedelta(milliseconds=query.bounds.milliseconds),
            **link_parameters(query.links),
        },
    )


def _truncation_reason(row: Any, bounds: Bounds) -> TruncationReason | None:
    """Return the bound that ended the examination of links, if one did. That of links is multiplied by `EXAMINED_PER_LINK`."""
    if row.timed_out:
        return TruncationReason.TIME
    return TruncationReason.LINKS if row.examined > bounds.links * EXAMINED_PER_LINK else None


@lru_cache(MAX_SHAPES)
def _page_links_statement(direction: Direction, all_links: bool, columns: frozenset[str]) -> Statement:
    selected = [name for name in _COLUMNS if name in columns]
    return _links_statement(
        direction,
        all_links,
        render(
            "lineage/_links_on_page",
            {
                "columns": "".join(f", {_COLUMNS[name]} AS {name}" for name in selected),
                "nulls": ", NULL" * len(selected),
                "joins": (render("lineage/_link_rows") if columns - {"as_of", "uid"} else "")
                + (render("lineage/_link_uids") if "uid" in columns else ""),
            },
        ),
    )


@cache
def _subgraph_statement(direction: Direction, all_links: bool) -> Statement:
    return _links_statement(direction, all_links, render("lineage/_links_as_graph"))


def _links_statement(direction: Direction, all_links: bool, result: str) -> Statement:
    near, far = direction.ends
    return statement(
        "lineage/links_among",
        near=near,
        far=far,
        result=result,
        link_filter="" if all_links else render("lineage/_link_filter", {"instant": "w.instant"}),
    )
