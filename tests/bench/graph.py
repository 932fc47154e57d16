"""The graph that lineage is measured on: many pipelines, of which the ordinary ones feed the others too, and graphs that hurt.

Nothing of it is kept. What leads to an asset follows from its component and its place there, so that files of any size take
little memory, and a pipeline is the same however many there are beside it.
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

from db.associations.lineage_link import link_uid
from tests.bench.versions import since

# How many assets the roots of pipelines reach now and at any instant, by the name of these.
REACHED = {"few": 20, "many": 450, "most": 8_000}
# How deep a walk from such a root has to go for that.
DEPTH = 10

_ORDINARY = 110
_ENTITY_TYPES = ("TABLE", "JOB", "DASHBOARD")
_LINK_TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
_PRODUCERS = ("openlineage", "dbt", "airflow", "looker")
# Where the layers of a pipeline begin: each is three times as wide as the one before.
_LAYERS = [(3**depth - 1) // 2 for depth in range(DEPTH)]

# What is said of a link, with how often it is that: from which versions on it is so, or no longer.
Tale = tuple[tuple[int, bool], ...]
_STAYS: dict[Tale, int] = {
    ((0, True),): 75,
    ((0, True), (1, True)): 13,
    ((0, True), (3, True)): 12,
}
_COMES_AND_GOES: dict[Tale, int] = {
    ((0, True),): 96,
    ((0, True), (2, True)): 20,
    ((0, True), (1, False)): 20,
    ((0, True), (3, False)): 20,
    ((0, True), (1, False), (2, True)): 17,
    ((0, True), (2, False), (4, True)): 17,
    ((3, True),): 10,
}
_MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """How many pipelines there are of each kind, how many assets the largest ones have, and how large what hurts is."""

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
QUICK = Scale(few=50, many=2, most=1, ordinary=2, most_reached=500, chain=300, hub=300, clique=20, cycle=100, tree=111)


class Asset(NamedTuple):
    """An asset by its component and its place there. The root is in the first place."""

    component: str
    place: int

    @property
    def uid(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"headwater-bench/{self.component}/{self.place}")


class Link(NamedTuple):
    """A link with what is said of it: from which versions on it is that sure, and from which on, None, there is none."""

    source: Asset
    target: Asset
    producer: str | None
    type: str
    said: tuple[tuple[int, float | None], ...]


class Component(NamedTuple):
    """Assets, and the links that lead to each."""

    name: str
    size: int
    links_to: Callable[[Asset], Iterator[Link]]


def root_of(name: str, number: int | None = None) -> Asset:
    """The root of a component; of pipelines there are many of a name."""
    return Asset(name if number is None else f"{name}-{number}", 0)


def components(scale: Scale) -> list[Component]:
    """All there is."""
    pipelines = (
        ("few", scale.few, REACHED["few"] + 1),
        ("many", scale.many, REACHED["many"] + 1),
        ("most", scale.most, scale.most_reached + 1),
        ("ordinary", scale.ordinary, _ORDINARY),
    )
    return [
        *(
            Component(f"{name}-{number}", size, partial(_piped, size, scale.ordinary))
            for name, pieces, size in pipelines
            for number in range(pieces)
        ),
        # behind the root two in each layer, both fed by both of the layer before
        Component("ladder", 121, _steady(lambda it: range(max((it - 1) // 2 * 2 - 1, 0), (it + 1) // 2 * 2 - 1))),
        Component("chain", scale.chain, _steady(lambda it: (it - far for far in (1, 7, 50) if it >= far))),
        Component("hub", scale.hub + 1, _steady(lambda it: range(min(it, 1)))),
        Component("clique", scale.clique, _steady(lambda it: (other for other in range(scale.clique) if other != it))),
        Component("cycle", scale.cycle, _steady(lambda it: ((it - 1) % scale.cycle,))),
        Component("tree", scale.tree, _steady(lambda it: ((it - 1) // 10,) if it else ())),
    ]


def write_assets(path: Path, scale: Scale) -> int:
    """A file of all assets, and of the types they need; gives how many lines it has."""
    types = ({"kind": "entityType", "code": it, "label": it.title()} for it in _ENTITY_TYPES)
    return _write(path, chain(types, (_asset_line(asset) for _, asset in _scattered(components(scale)))))


def write_links(path: Path, scale: Scale) -> int:
    """A file of all that is said of links: first the first of each, at last what is said of few; gives how many lines it has."""
    everything = components(scale)
    return _write(
        path,
        (
            _link_line(link, *link.said[turn])
            for turn in range(_MOST_SAID)
            for component, asset in _scattered(everything)
            for link in component.links_to(asset)
            if turn < len(link.said)
        ),
    )


def _piped(size: int, ordinary: int, target: Asset) -> Iterator[Link]:
    """What leads to an asset of a pipeline: a link from the layer before, which may change but never ends, so that roots reach as
    much at any instant; and up to three others, which come and go. Some of those lead back up, and some in from elsewhere."""
    chance = Random(f"{target.component}/{target.place}")
    (others,) = chance.choices(range(4), (25, 30, 25, 20))
    layer = bisect_right(_LAYERS, target.place) - 1
    begin = _LAYERS[layer]
    if layer:
        source = Asset(target.component, _skewed(chance, _LAYERS[layer - 1], begin))
        yield _link(chance, source, target, _PRODUCERS[0], _STAYS)
    for producer in _PRODUCERS[1 : 1 + others]:
        where = chance.random()
        if where < 0.03 and target.place + 1 < size:
            source = Asset(target.component, chance.randrange(target.place + 1, size))
        elif where < 0.1:
            source = Asset(f"ordinary-{chance.randrange(ordinary)}", chance.randrange(_ORDINARY))
        else:
            source = Asset(target.component, _skewed(chance, 0, begin))
        if source != target:
            yield _link(chance, source, target, producer, _COMES_AND_GOES)


def _skewed(chance: Random, begin: int, end: int) -> int:
    """A place between these, much more likely one of the first."""
    return begin + int((end - begin) * chance.random() ** 3)


def _link(chance: Random, source: Asset, target: Asset, producer: str, tales: dict[Tale, int]) -> Link:
    (tale,) = chance.choices(list(tales), list(tales.values()))
    sure = chance.randrange(50, 98)
    said = tuple((version, (sure + turn) / 100 if so else None) for turn, (version, so) in enumerate(tale))
    return Link(source, target, producer, chance.choice(_LINK_TYPES), said)


def _steady(sources: Callable[[int], Iterable[int]]) -> Callable[[Asset], Iterator[Link]]:
    """Links from these places of the same component, all there from the first, by nobody's word in particular."""

    def links_to(target: Asset) -> Iterator[Link]:
        for place in sources(target.place):
            yield Link(Asset(target.component, place), target, None, _LINK_TYPES[0], ((0, 1.0),))

    return links_to


def _scattered(everything: list[Component]) -> Iterator[tuple[Component, Asset]]:
    """All assets, without those of a component being together: neither are they where they come from in turn."""
    ends = list(accumulate(it.size for it in everything))
    order = array("q", range(ends[-1]))
    Random(0).shuffle(order)
    for number in order:
        which = bisect_right(ends, number)
        component = everything[which]
        yield component, Asset(component.name, number - ends[which] + component.size)


def _asset_line(asset: Asset) -> dict[str, Any]:
    component, place = asset
    name = f"{place:06} of {component}"
    if place % 4:
        type_ = _ENTITY_TYPES[place % 3]
        return {"kind": "entity", "uid": asset.uid, "type": type_, "displayName": name, "at": since(0)}
    family = component.partition("-")[0]
    owner = f"owner_{place % 50}@shop.example"
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
