"""Search: products and entities in one list, by names, keys, descriptions, tags and details."""

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Annotated, Any

import strawberry

from db.assets import search as searches
from db.assets.search import BOUND, SearchCounts, SearchQuery
from db.pagination import Slice
from db.registries.type_registry import TypeCode
from schema.assets.search import ranked_search
from schema.execution.connections import read
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import ROWS_PER_OBJECT, list_size, scan_cost
from schema.language.fields import batched, carried, field, resolver, single_read
from schema.language.node_ids import AsOf
from schema.language.pagination import (
    After,
    Before,
    First,
    Keyset,
    Last,
    PageArguments,
    PageInfo,
    checked_page_size,
    paged,
)
from schema.language.references import AssetKind
from schema.language.scopes import READ
from schema.lazy import LazyAsset, assets_from_rows
from schema.registries.filter_types import require_types

SEARCH_COUNTS = Batch(searches.search_counts)

# The most that a search costs: it ranks so many assets, and its facets count them.
_COST = 3 * BOUND // ROWS_PER_OBJECT
# Values of a facet that are returned unless an argument says otherwise.
_FACET_SIZE = 20


@strawberry.enum(description="How well an asset matches a search. Better matches come first.")
class SearchRank(Enum):
    EXACT = strawberry.enum_value("EXACT", description="Its name or one of its keys is the text.")
    PREFIX = strawberry.enum_value("PREFIX", description="Its name or one of its keys begins with the text.")
    WORD = strawberry.enum_value(
        "WORD", description="The text occurs in one of its values as whole words: no letter or digit adjoins it."
    )
    SUBSTRING = strawberry.enum_value("SUBSTRING", description="The text occurs in one of its values.")


def _write_cursor(self: "SearchEdge") -> str:
    return self.write_cursor()


@strawberry.type(description="An asset that a search found, with its rank.")
class SearchEdge:
    write_cursor: strawberry.Private[Callable[[], str]]
    cursor: str = field(READ, "Cursor of this item, for `after` or `before`.", resolver=_write_cursor)
    node: LazyAsset = field(READ, "The asset.")
    rank: SearchRank = field(READ, "How well it matches.")


@strawberry.federation.type(description="A value, and the number of found assets that have it.", shareable=True)
class SearchFacetValue:
    value: str = field(READ, "The value.")
    count: int = field(READ, "Number of assets.")


FacetFirst = Annotated[int, strawberry.argument(description="Maximum number of values.")]


def _facet(name: str, description: str) -> Any:
    """Declare a facet, which is counted only if it is selected."""

    async def resolve(self: "SearchFacets", info: Info, first: FacetFirst = _FACET_SIZE) -> list[SearchFacetValue] | None:
        size = checked_page_size("first", first, info.context.limits.page_size)
        counts: SearchCounts = await info.context.load(SEARCH_COUNTS, (name, size), self.query)
        return [SearchFacetValue(value=it.value, count=it.number) for it in counts.values]

    resolve.__name__ = name
    return list_size(by=("first",))(resolver(READ, f"{description} Most frequent first.")(resolve))


def _facet_count(name: str, values: str) -> Any:
    """Declare the number of values of a facet."""

    async def resolve(self: "SearchFacets", info: Info) -> int | None:
        counts: SearchCounts = await info.context.load(SEARCH_COUNTS, (name, 0), self.query)
        return counts.value_count

    resolve.__name__ = f"{name}_count"
    return resolver(READ, f"Number of different {values}, of which `{name}` lists the most frequent.")(resolve)


@strawberry.type(description="Numbers of the assets that a search found, by what they have in common.")
class SearchFacets:
    query: strawberry.Private[SearchQuery]
    kind = _facet("kind", "Kinds of assets.")
    kind_count = _facet_count("kind", "kinds")
    type = _facet("type", "Types of entities. Products count for none.")
    type_count = _facet_count("type", "types")
    domain = _facet("domain", "Domains: of products, and of the types of entities.")
    domain_count = _facet_count("domain", "domains")
    owner = _facet("owner", "Owners: of products, and of entities that have a detail with the role OWNER.")
    owner_count = _facet_count("owner", "owners")
    tag = _facet("tag", "Tags: of products, and of entities that have details with the role TAG.")
    tag_count = _facet_count("tag", "tags")
    status = _facet("status", "Statuses of products. Entities count for none.")
    status_count = _facet_count("status", "statuses")


@strawberry.type(description="A page of the assets that a search found: best matches first, by label among equal ones.")
class SearchConnection:
    query: strawberry.Private[SearchQuery]
    rows: strawberry.Private[Slice[Any]]
    items: strawberry.Private[list[LazyAsset]]
    has_next: strawberry.Private[bool]
    has_previous: strawberry.Private[bool]
    # writes the cursor of an item, by its index
    write_cursor: strawberry.Private[Callable[[int], str]]

    @carried()
    @batched(READ, "Assets of this page with their cursors and ranks.")
    @staticmethod
    async def edges(connections: Sequence["SearchConnection"], info: Info) -> list[list[SearchEdge]]:
        return [
            [
                SearchEdge(
                    write_cursor=partial(it.write_cursor, index),
                    node=node,
                    rank=SearchRank[searches.Rank(row["rank"]).name],
                )
                for index, (node, row) in enumerate(zip(it.items, it.rows.items, strict=True))
            ]
            for it in connections
        ]

    @carried()
    @batched(READ, "Assets of this page.")
    @staticmethod
    async def nodes(connections: Sequence["SearchConnection"], info: Info) -> list[list[LazyAsset]]:
        return [it.items for it in connections]

    @resolver(READ, "Position of this page in its list.")
    def page_info(self) -> PageInfo:
        return PageInfo(
            has_next_page=self.has_next,
            has_previous_page=self.has_previous,
            write_start_cursor=partial(self.write_cursor, 0) if self.items else None,
            write_end_cursor=partial(self.write_cursor, len(self.items) - 1) if self.items else None,
        )

    @resolver(READ, "Number of assets found: of all that match if isComplete is true, else at least so many match.")
    async def total_count(self, info: Info) -> int | None:
        total = (await self._counts(info)).total
        info.context.cost_meter.counted += total
        return total

    @resolver(
        READ,
        f"True if all that match were found: fewer than {BOUND}. Else the list, totalCount and facets hold {BOUND} assets or"
        " more, first of all those whose name or one of whose keys begins with the text.",
    )
    async def is_complete(self, info: Info) -> bool | None:
        return (await self._counts(info)).is_complete

    @scan_cost("products", "entities", most=_COST)
    @resolver(READ, "Numbers of the assets found, not only of this page. Each facet is counted only if it is selected.")
    def facets(self) -> SearchFacets:
        return SearchFacets(query=self.query)

    async def _counts(self, info: Info) -> SearchCounts:
        return await info.context.load(SEARCH_COUNTS, None, self.query)


@strawberry.type
class SearchQueries:
    @scan_cost("products", "entities", most=_COST)
    # types are looked up first
    @single_read(unless="types")
    @paged
    @resolver(
        READ,
        "Products and entities at that instant whose name, keys, description, tags or details contain a text, in any case.",
    )
    async def search(
        self,
        info: Info,
        text: Annotated[
            str,
            strawberry.argument(
                description="Text to search for, of 2 to 200 characters, each of which stands for itself. Without three letters"
                " or digits in a row it is looked for only where a name or a key begins."
            ),
        ],
        kinds: Annotated[list[AssetKind] | None, strawberry.argument(description="Only these kinds.")] = None,
        types: Annotated[list[str] | None, strawberry.argument(description="Only entities of these types.")] = None,
        domains: Annotated[
            list[str] | None,
            strawberry.argument(description="Only products in these domains, and entities whose types belong to them."),
        ] = None,
        tags: Annotated[list[str] | None, strawberry.argument(description="Only assets with any of these tags.")] = None,
        owners: Annotated[list[str] | None, strawberry.argument(description="Only assets of any of these owners.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> SearchConnection:
        searched = ranked_search(text)
        await require_types(info, [("types", TypeCode(True, code)) for code in types or ()])
        query = SearchQuery(
            searched,
            _parts(None if kinds is None else [it.name for it in kinds]),
            _parts(types),
            _parts(domains),
            _parts(owners),
            _parts(tags),
            as_of,
        )
        keyset = Keyset(info.context.cursor_cipher, "search", query, key=(int, str, int))
        page = keyset.page(PageArguments(first, after, last, before), info.context.limits.page_size)
        rows = await read(info, searches.search_page, query, page)
        return SearchConnection(
            query=query,
            rows=rows,
            items=assets_from_rows(rows.items, as_of),
            has_next=page.before is not None if page.backward else rows.more,
            has_previous=rows.more if page.backward else page.after is not None,
            write_cursor=lambda index: keyset.cursor(searches.cursor_key(rows.items[index])),
        )


def _parts(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
