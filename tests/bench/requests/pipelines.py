"""Data of the measured requests: pipelines of products that reach a fixed number of others, and people with two details.

The data is never held in memory: the links of a pipeline follow from its name, so that a pipeline is the same however many there
are beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice, pairwise
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from tests.bench.versions import MIDDLE, since

# Assets upstream of the root of a pipeline, at any instant.
SMALL, LARGE = 20, 450
# Widths of the layers of a nested pipeline. Each asset has three direct sources in the next layer, its root has all five, so
# that four nested levels list 5 + 15 + 45 + 135 assets, some of them several times.
LAYERS = (1, 5, 12, 25, 40)
NESTED = sum(LAYERS)
# The instant of rows that read as of an instant. All products have changed since.
AS_OF = MIDDLE

_DOMAINS = 20
_PRODUCERS = ("openlineage", "dbt", "airflow")
_TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
_FIRST, _CHANGED = since(0), since(4)
# Changes of links take place one after the other, from this instant on.
LINKS_CHANGED = since(2)
# Small pipelines whose links change.
_CHANGED_PIPELINES = 50


@dataclass(frozen=True, slots=True)
class Size:
    """Numbers of pipelines by kind, of products without lineage, and of people; and what the root of a large pipeline reaches."""

    small: int
    large: int
    nested: int
    unlinked: int
    people: int
    reached: int = LARGE

    @property
    def products(self) -> int:
        return self.small * (SMALL + 1) + self.large * (self.reached + 1) + self.nested * NESTED + self.unlinked

    @property
    def links(self) -> int:
        nested = sum(1 for _ in _nested_links())
        return len(_PRODUCERS) * (self.small * SMALL + self.large * self.reached) + self.nested * nested


# 30 000 products and 75 000 links; a million and three; and as few as a test of the benchmark needs.
WHOLE = Size(small=400, large=30, nested=80, unlinked=1_430, people=5_000)
MILLION = Size(small=20_000, large=1_280, nested=30, unlinked=230, people=5_000)
QUICK = Size(small=3, large=1, nested=1, unlinked=40, people=60, reached=40)


def product_name(pipeline: str, number: int) -> str:
    """Return the name of a product of a pipeline. The root has the number 0."""
    return f"{pipeline}-{number:04}"


def product_uid(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"headwater-bench/requests/{name}")


def _pipelines(size: Size) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of assets of each pipeline."""
    for kind, count, assets in (
        ("small", size.small, SMALL + 1),
        ("large", size.large, size.reached + 1),
        ("nested", size.nested, NESTED),
    ):
        for number in range(count):
            yield f"{kind}-{number:05}", assets


def asset_lines(size: Size) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of the types, and of all products and people with both of their states."""
    yield {"kind": "entityType", "code": "PERSON", "label": "Person"}
    yield {"kind": "detailType", "code": "email", "label": "Email", "format": "email"}
    yield {"kind": "detailType", "code": "team", "label": "Team", "format": "text"}
    pipelines = chain(_pipelines(size), [("unlinked", size.unlinked)])
    names = [product_name(pipeline, number) for pipeline, assets in pipelines for number in range(assets)]
    # in random order, because real sources do not deliver a pipeline at once
    Random(0).shuffle(names)
    for version, at in ((0, _FIRST), (1, _CHANGED)):
        for number, name in enumerate(names):
            yield _product_line(name, number, version, at)
        for number in range(size.people):
            yield _person_line(number, version, at)


def _product_line(name: str, number: int, version: int, at: Any) -> dict[str, Any]:
    return {
        "kind": "product",
        "uid": product_uid(name),
        "name": name,
        "domain": f"domain_{number % _DOMAINS:02}",
        "owner": f"owner_{(number + version) % 50}@shop.example",
        "description": f"Product {name} of the benchmark, with a description about as long as people usually write.",
        "schema": {"fields": [{"name": f"column_{column}", "type": "string"} for column in range(8)]},
        "tags": ["measured", f"group-{number % 7}"],
        "version": f"1.{version}.0",
        "at": at,
    }


def _person_line(number: int, version: int, at: Any) -> dict[str, Any]:
    return {
        "kind": "entity",
        "uid": uuid5(NAMESPACE_URL, f"headwater-bench/requests/person-{number}"),
        "type": "PERSON",
        "key": str(number),
        "displayName": f"Person {number:06}",
        "details": [
            {"type": "email", "value": f"person_{number}@shop.example"},
            {"type": "team", "value": f"team {(number + version) % 500}"},
        ],
        "at": at,
    }


def link_lines(size: Size) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of all links."""
    for pipeline, assets in _pipelines(size):
        ends = _nested_links() if pipeline.startswith("nested") else _links(pipeline, assets)
        uids = [product_uid(product_name(pipeline, number)) for number in range(assets)]
        chance = Random(f"{pipeline}/confidence")
        for source, target, producer in ends:
            yield {
                "kind": "link",
                "source": {"uid": uids[source]},
                "target": {"uid": uids[target]},
                "type": chance.choice(_TYPES),
                "producer": producer,
                "confidence": chance.randrange(50, 98) / 100,
                "at": _FIRST,
            }


def link_change_lines(size: Size) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of changes of links that no walk needs: each gets another confidence, and one in three is removed."""
    at = LINKS_CHANGED
    for pipeline, assets in islice(_pipelines(size), min(size.small, _CHANGED_PIPELINES)):
        uids = [product_uid(product_name(pipeline, number)) for number in range(assets)]
        for source, target, producer in _links(pipeline, assets):
            if producer != _PRODUCERS[-1]:
                continue
            link = {"source": {"uid": uids[source]}, "target": {"uid": uids[target]}, "producer": producer}
            at += timedelta(minutes=1)
            yield {"kind": "link", **link, "type": _TYPES[0], "confidence": 0.5 + source / 100, "at": at}
            if source % 3 == 0:
                yield {"kind": "delete", "link": link, "at": at + timedelta(minutes=10, seconds=30)}


def _links(pipeline: str, assets: int) -> Iterator[tuple[int, int, str]]:
    """Yield three links from each asset of a pipeline, by the numbers of their ends: one to its parent in a tree of three
    children each, through which the root is reached, and two to any asset nearer to the root."""
    chance = Random(pipeline)
    for number in range(1, assets):
        yield number, (number - 1) // 3, _PRODUCERS[0]
        for producer in _PRODUCERS[1:]:
            yield number, chance.randrange(number), producer


def _nested_links() -> Iterator[tuple[int, int, str]]:
    start = 0
    for width, sources in pairwise(LAYERS):
        for index in range(width):
            for offset in range(5 if width == 1 else 3):
                yield start + width + (3 * index + offset) % sources, start + index, _PRODUCERS[0]
        start += width
