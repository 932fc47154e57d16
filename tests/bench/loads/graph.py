"""The graph that lineage is measured on: many pipelines, fed by ordinary ones, and components that are hard to walk.

The graph is never held in memory. The links to an asset follow from its component and its number there, so that files of any
size take little memory, and a pipeline is the same however many there are beside it.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson

from db.associations.reference import link_uid
from tests.bench.versions import since

# Assets that the root of a pipeline reaches at any instant, by family of pipelines.
REACHED = {"few": 20, "many": 450, "most": 8_000}
# Depth of the walk that reaches them.
DEPTH = 10

_ORDINARY_SIZE = 110
_ENTITY_TYPES = ("TABLE", "JOB", "DASHBOARD")
_LINK_TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
_PRODUCERS = ("openlineage", "dbt", "airflow", "looker")
# Number of the first asset of each layer of a pipeline. A layer is three times as wide as the one before.
_LAYERS = [(3**depth - 1) // 2 for depth in range(DEPTH)]

# Versions at which a link is asserted (True) or deleted (False), with the weights of these timelines.
Timeline = tuple[tuple[int, bool], ...]
_PERMANENT: dict[Timeline, int] = {
    ((0, True),): 75,
    ((0, True), (1, True)): 13,
    ((0, True), (3, True)): 12,
}
_TEMPORARY: dict[Timeline, int] = {
    ((0, True),): 96,
    ((0, True), (2, True)): 20,
    ((0, True), (1, False)): 20,
    ((0, True), (3, False)): 20,
    ((0, True), (1, False), (2, True)): 17,
    ((0, True), (2, False), (4, True)): 17,
    ((3, True),): 10,
}
_MOST_CHANGES = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of pipelines by family, the size of the largest, and the sizes of the components that are hard to walk."""

    few: int = 1_000
    many: int = 100
    most: int = 10
    ordinary: int = 490
    most_reached: int = REACHED["most"]
    chain: int = 10_000
    hub: int = 100_000
    clique: int = 400
    cycle: int = 1_000
    tree: int = 11_111


WHOLE = Scale()
LARGE = Scale(few=10_000, many=1_000, most=100, ordinary=4_900)
QUICK = Scale(few=5, many=2, most=1, ordinary=1, most_reached=100, chain=60, hub=60, clique=8, cycle=20, tree=31)


class Asset(NamedTuple):
    """An asset by its component and its number there. The root has the number 0."""

    component: str
    number: int

    @property
    def uid(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"headwater-bench/{self.component}/{self.number}")


class Link(NamedTuple):
    """A link with its changes: the version of each, and the confidence, or None if the link is deleted."""

    source: Asset
    target: Asset
    producer: str | None
    type: str
    changes: tuple[tuple[int, float | None], ...]


class Component(NamedTuple):
    """A number of assets, and the links to each of them."""

    name: str
    size: int
    links_to: Callable[[Asset], Iterator[Link]]


def root_of(name: str, number: int | None = None) -> Asset:
    """Return the root of a component, or of the pipeline with this number in a family."""
    return Asset(name if number is None else f"{name}-{number}", 0)


def components(scale: Scale) -> list[Component]:
    """Return all components of a graph."""
    pipelines = (
        ("few", scale.few, REACHED["few"] + 1),
        ("many", scale.many, REACHED["many"] + 1),
        ("most", scale.most, scale.most_reached + 1),
        ("ordinary", scale.ordinary, _ORDINARY_SIZE),
    )
    return [
        *(
            Component(f"{name}-{number}", size, partial(_pipeline_links, size, scale.ordinary))
            for name, count, size in pipelines
            for number in range(count)
        ),
        # after the root two assets in each layer, both fed by both of the layer before
        Component("ladder", 121, _constant_links(lambda it: range(max((it - 1) // 2 * 2 - 1, 0), (it + 1) // 2 * 2 - 1))),
        Component("chain", scale.chain, _constant_links(lambda it: (it - far for far in (1, 7, 50) if it >= far))),
        Component("hub", scale.hub + 1, _constant_links(lambda it: range(min(it, 1)))),
        Component("clique", scale.clique, _constant_links(lambda it: (other for other in range(scale.clique) if other != it))),
        Component("cycle", scale.cycle, _constant_links(lambda it: ((it - 1) % scale.cycle,))),
        Component("tree", scale.tree, _constant_links(lambda it: ((it - 1) // 10,) if it else ())),
    ]


def write_assets(path: Path, scale: Scale) -> int:
    """Write a file that registers the types and all assets. Return the number of its lines."""
    types = ({"kind": "entityType", "code": it, "label": it.title()} for it in _ENTITY_TYPES)
    return _write(path, chain(types, (_asset_line(asset) for _, asset in _shuffled(components(scale)))))


def write_links(path: Path, scale: Scale) -> int:
    """Write a file of all changes of links: the first change of every link, then the second, and so on. Return the number of its
    lines."""
    everything = components(scale)
    return _write(
        path,
        (
            _link_line(link, *link.changes[index])
            for index in range(_MOST_CHANGES)
            for component, asset in _shuffled(everything)
            for link in component.links_to(asset)
            if index < len(link.changes)
        ),
    )


def _pipeline_links(size: int, ordinary: int, target: Asset) -> Iterator[Link]:
    """Yield the links to an asset of a pipeline.

    One comes from the layer before. It may change but never ends, so that a root reaches the same number of assets at any
    instant. Up to three others are temporary; some of them lead back towards the root, and some come from other pipelines.
    """
    chance = Random(f"{target.component}/{target.number}")
    (others,) = chance.choices(range(4), (25, 30, 25, 20))
    layer = bisect_right(_LAYERS, target.number) - 1
    layer_start = _LAYERS[layer]
    if layer:
        source = Asset(target.component, _skewed(chance, _LAYERS[layer - 1], layer_start))
        yield _link(chance, source, target, _PRODUCERS[0], _PERMANENT)
    for producer in _PRODUCERS[1 : 1 + others]:
        draw = chance.random()
        if draw < 0.03 and target.number + 1 < size:
            source = Asset(target.component, chance.randrange(target.number + 1, size))
        elif draw < 0.1:
            source = Asset(f"ordinary-{chance.randrange(ordinary)}", chance.randrange(_ORDINARY_SIZE))
        else:
            source = Asset(target.component, _skewed(chance, 0, layer_start))
        if source != target:
            yield _link(chance, source, target, producer, _TEMPORARY)


def _skewed(chance: Random, start: int, stop: int) -> int:
    """Return a number of the range, much more likely one of the first."""
    return start + int((stop - start) * chance.random() ** 3)


def _link(chance: Random, source: Asset, target: Asset, producer: str, timelines: dict[Timeline, int]) -> Link:
    (timeline,) = chance.choices(list(timelines), list(timelines.values()))
    percent = chance.randrange(50, 98)
    changes = tuple(
        (version, (percent + number) / 100 if asserted else None) for number, (version, asserted) in enumerate(timeline)
    )
    return Link(source, target, producer, chance.choice(_LINK_TYPES), changes)


def _constant_links(sources: Callable[[int], Iterable[int]]) -> Callable[[Asset], Iterator[Link]]:
    """Return a function that yields links from assets with these numbers in the same component. They have no producer and
    one version."""

    def links_to(target: Asset) -> Iterator[Link]:
        for number in sources(target.number):
            yield Link(Asset(target.component, number), target, None, _LINK_TYPES[0], ((0, 1.0),))

    return links_to


def _shuffled(everything: list[Component]) -> Iterator[tuple[Component, Asset]]:
    """Yield all assets with their components in random order, because real sources do not deliver pipelines in order."""
    ends = list(accumulate(it.size for it in everything))
    order = array("q", range(ends[-1]))
    Random(0).shuffle(order)
    for number in order:
        ordinal = bisect_right(ends, number)
        component = everything[ordinal]
        yield component, Asset(component.name, number - ends[ordinal] + component.size)


def _asset_line(asset: Asset) -> dict[str, Any]:
    component, number = asset
    name = f"{number:06} of {component}"
    if number % 4:
        type_ = _ENTITY_TYPES[number % 3]
        return {"kind": "entity", "uid": asset.uid, "type": type_, "displayName": name, "at": since(0)}
    family = component.partition("-")[0]
    owner = f"owner_{number % 50}@shop.example"
    return {"kind": "product", "uid": asset.uid, "name": name, "domain": family, "owner": owner, "schema": {}, "at": since(0)}


def _link_line(link: Link, version: int, confidence: float | None) -> dict[str, Any]:
    source, target, at = link.source.uid, link.target.uid, since(version)
    if confidence is None:
        return {"kind": "delete", "uid": link_uid(source, target, link.producer), "at": at}
    return {
        "kind": "link",
        "source": {"uid": source},
        "target": {"uid": target},
        "type": link.type,
        "producer": link.producer,
        "confidence": confidence,
        "at": at,
    }


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> int:
    written = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            written += 1
    return written
