"""Cost declarations: `@cost` and `@listSize`. See docs/limits.md.

An object costs 1 and a leaf nothing. The selection on the items of a list is multiplied by the length of the list.
"""

import re
from collections.abc import Callable, Collection, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

import strawberry
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.types.field import StrawberryField

from db.lineage.figures import Figures
from db.lineage.walk import Bounds, Direction

# Default cost of a mutation, which locks, looks up and writes a few rows.
WRITE_COST = 10
# Cost of a mutation that may clip or restore all links and relationships of an asset.
LIFETIME_COST = 50
# Cost of a record fetched from an external service.
FETCH_COST = 10
# The most that a scan costs: a read of all rows of some kinds that a tenant has.
MAX_SCAN_COST = 50_000
# Links that cost as much as an object where a statement reads them, and the answer does not hold them.
LINKS_PER_OBJECT = 4

# Rows that cost as much as an object where a statement reads those of a whole tenant, or of a domain.
ROWS_PER_OBJECT = 10
# Rows that cost as much as an object where a statement only counts them.
COUNTED_PER_OBJECT = 50
# Domains that a tenant is taken to have, if their number is not known.
ASSUMED_DOMAINS = 50
# Part of a search text by which the index finds candidates: its entries are three characters of a word. Any other search may read
# all rows, each of which costs 1. PostgreSQL takes other letters as parts of words only where the locale of the database does.
INDEXED_SEARCH = re.compile("[0-9A-Za-z]{3}")

# Name of the argument that searches.
SEARCH = "search"

_COST = "headwater.cost"
_SCANS = "headwater.scans"
_WALKS = "headwater.walks"
_READS_LINKS = "headwater.reads_links"
_SIZE_ARGUMENT = "headwater.size_argument"

Field = TypeVar("Field")


def cost(weight: int) -> Callable[[Field], Field]:
    """Declare the cost of a field."""
    return _declare(Cost(weight=weight), {_COST: weight})


class Walks(NamedTuple):
    """Walks that a field runs: their number and directions, and how often it reads the links among their assets."""

    number: int
    directions: tuple[Direction, ...]
    link_reads: int = 0
    # one of a single level only counts the links
    are_counts: bool = False


def walk_cost(*directions: Direction, count: int = 1, link_reads: int = 0) -> Callable[[Field], Field]:
    """Declare that a field runs walks in one of some directions, each of which costs the assets that it may visit. It reads the
    links among their assets so many times, too."""
    weight = count * Bounds().assets + link_reads * (Bounds().links // LINKS_PER_OBJECT)
    return _declare(Cost(weight=weight), {_WALKS: Walks(count, directions, link_reads)})


def count_cost(direction: Direction) -> Callable[[Field], Field]:
    """Declare that a field counts the assets of a walk, or to a depth of 1, of which the SDL gives the cost, only links."""
    return _declare(Cost(weight=Bounds().links // COUNTED_PER_OBJECT), {_WALKS: Walks(1, (direction,), are_counts=True)})


def links_cost(per_item_of: int = 1) -> Callable[[Field], Field]:
    """Declare that a field reads the links among the assets of the walk above it. The SDL gives the cost of one item of a page
    of a size: the links are read once for all of them."""
    return _declare(Cost(weight=Bounds().links // LINKS_PER_OBJECT // per_item_of), {_READS_LINKS: True})


class Scan(NamedTuple):
    """Rows of the tenant that a field reads, whatever it returns, by the figures that count them."""

    figures: tuple[str, ...]
    # only if it is given this argument, and one of these values of an enumeration in it, if there are some
    argument: str | None = None
    values: frozenset[str] = frozenset()
    rows_per_object: int = ROWS_PER_OBJECT
    # the most that it costs
    most: int = MAX_SCAN_COST
    # it reads rows for each object: the estimate is that of a mean object, and the cost meter counts them
    is_each: bool = False

    @property
    def is_search(self) -> bool:
        return self.argument == SEARCH

    def cost(self, figures: Figures | None, *, is_indexed: bool = True) -> int:
        """Return the cost of the scan, which is higher for a search for which the index does not help."""
        most = self.most // ROWS_PER_OBJECT if self.is_search and is_indexed else self.most
        if figures is None:
            return most
        rows: int = sum(getattr(figures, it) for it in self.figures)
        return min(most, rows // self.rows_per_object if is_indexed else rows)


def scan_cost(*figures: str, rows_per_object: int = ROWS_PER_OBJECT, most: int = MAX_SCAN_COST) -> Callable[[Field], Field]:
    """Declare that a field reads all rows that these figures count, once for all that it returns, and what that costs at most."""
    return _declare(Cost(weight=most), {_SCANS: (Scan(figures, rows_per_object=rows_per_object, most=most),)})


def domain_cost(figure: str) -> Callable[[Field], Field]:
    """Declare that a field of a domain reads as many rows as this figure says of a mean domain."""
    most = MAX_SCAN_COST // ASSUMED_DOMAINS
    return _declare(Cost(weight=most), {_SCANS: (Scan((figure,), most=most, is_each=True),)})


def scan_cost_with(argument: str, *figures: str) -> Callable[[Field], Field]:
    """Declare that a field reads all rows that these figures count if it is given an argument, which has `SCAN_WEIGHT`."""

    return _declare_scan(Scan(figures, argument))


# Description of an order that no index serves.
READS_ALL = "No index serves this order: a page sorts the whole list, and costs a tenth of all assets of the kind."


def order_cost(figure: str, *fields: str) -> Callable[[Field], Field]:
    """Declare that a list reads all rows that a figure counts if it is ordered by one of these fields. The SDL cannot express
    it."""
    return _declare_scan(Scan((figure,), "orderBy", frozenset(fields)))


# Announces the cost of a scan on the argument that leads to it.
SCAN_WEIGHT = Cost(weight=MAX_SCAN_COST)


def declared_scans(metadata: Mapping[str, Any]) -> tuple[Scan, ...]:
    """Return the scans that a field declares."""
    return cast(tuple[Scan, ...], metadata.get(_SCANS, ()))


def without_cost(declared: StrawberryField) -> StrawberryField:
    """Return a field of an interface without `@cost`, which gateways refuse there. The types that implement it keep theirs."""
    copied = copy(declared)
    copied.directives = [it for it in declared.directives if not isinstance(it, Cost)]
    copied.metadata = declared.metadata
    return copied


def list_size(
    assumed: int | None = None, *, by: Collection[str] = (), like: str | None = None, of: Collection[str] = ()
) -> Callable[[Field], Field]:
    """Declare the length of the list that a field returns, or of the lists `of` these fields of what it returns.

    The length is the largest of the arguments `by`, or the length of the list argument `like`, else the assumed one. The SDL
    cannot express `like`. An argument with a default always has a value, and composition refuses an assumed size beside it.
    """
    directive = ListSize(
        assumed_size=strawberry.UNSET if assumed is None else assumed,
        slicing_arguments=list(by) or strawberry.UNSET,
        sized_fields=list(of) or strawberry.UNSET,
        # a request without any of the arguments gets the assumed size
        require_one_slicing_argument=False if by else strawberry.UNSET,
    )
    return _declare(directive, {} if like is None else {_SIZE_ARGUMENT: like})


def declared_cost(metadata: Mapping[str, Any]) -> int | None:
    """Return the cost that a field declares; None: it declares none."""
    return metadata.get(_COST)


def declared_walks(metadata: Mapping[str, Any]) -> Walks | None:
    """Return the walks that a field declares, if any."""
    return metadata.get(_WALKS)


def reads_links(metadata: Mapping[str, Any]) -> bool:
    """True if a field declares that it reads the links of the walk above it."""
    return _READS_LINKS in metadata


def declared_size_argument(metadata: Mapping[str, Any]) -> str | None:
    """Return the list argument that has the length of the list that a field returns, if it declares one."""
    return metadata.get(_SIZE_ARGUMENT)


def _declare_scan(scan: Scan) -> Callable[[Field], Field]:
    def declare(declared: Field) -> Field:
        strawberry_field = cast(StrawberryField, declared)
        scans = (*declared_scans(strawberry_field.metadata), scan)
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, _SCANS: scans})
        return declared

    return declare


def _declare(directive: Cost | ListSize, metadata: Mapping[str, Any]) -> Callable[[Field], Field]:
    def declare(declared: Field) -> Field:
        strawberry_field = cast(StrawberryField, declared)
        strawberry_field.directives = [*strawberry_field.directives, directive]
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, **metadata})
        return declared

    return declare
