"""Limits: how much one operation may ask for, and the measure of a document, which is taken before anything else is done with it.

Everything is counted as it would be executed, with fragments expanded. What a fragment holds is measured once, so that a document
whose fragments spread each other takes no longer than its text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from db.errors import LimitExceeded
from db.lineage.walk import Bounds

# Numbers of what is expanded grow exponentially; nobody is told more than this.
_COUNTED = 100_000
# Selections within each other, fragments included, as far as they are followed: well within what Python can recurse.
_NESTED = 150
# Where introspection goes from a type on to other types, and may come back.
_TO_OTHER_TYPES = frozenset({"fields", "interfaces", "possibleTypes", "inputFields"})
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked for: in a document, by an operation, by one field."""

    tokens: int = 2_000
    depth: int = 16
    introspection_depth: int = 2
    aliases: int = 15
    repeats: int = 15
    root_fields: int = 10
    spreads: int = 50
    cost: int = 1_000_000
    page_size: int = 100
    representations: int = 1_000
    walk_page_size: int = 1_000
    walk_depth: int = 100
    walk: Bounds = field(default_factory=Bounds)


class Measure(NamedTuple):
    """What a selection comes to, with fragments expanded."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    repeats: int = 0
    spreads: int = 0
    # how often introspection goes from type to type, here, and wherever an introspection begins below
    hops: int = 0
    introspection: int = 0


def check(document: DocumentNode, limits: Limits) -> None:
    """Refuses a document of which an operation, or a fragment, is larger than an operation may be."""
    measures = _Measures(document)
    for definition in document.definitions:
        match definition:
            case OperationDefinitionNode():
                what = f"The operation {definition.name.value}" if definition.name else "The operation"
                found = measures.of(definition.selection_set)
                _within(f"{what} selects {{}} root fields", found.fields, limits.root_fields, "Part it into several requests.")
            case FragmentDefinitionNode() if not definition.type_condition.name.value.startswith("__"):
                # no less than what spreads it, or else validated for nothing
                what, found = f"The fragment {definition.name.value}", measures.of_fragment(definition.name.value)
            case _:
                continue
        _within(f"{what} is {{}} fields deep", found.depth, limits.depth, "Start further down, at the asset by its uid.")
        _within(f"{what} has {{}} aliases", found.aliases, limits.aliases, "Part it into several requests.")
        _within(
            f"{what} selects fields again that are selected beside them, {{}} times", found.repeats, limits.repeats,
            "Select each once.",
        )  # fmt: skip
        _within(f"{what} spreads fragments {{}} times", found.spreads, limits.spreads, "Write out the small ones, or part it.")
        _within(
            f"{what} goes from type to type {{}} times in one introspection", found.introspection, limits.introspection_depth,
            "Ask for the types one by one, by __type(name:).",
        )  # fmt: skip


def _within(what: str, measured: int, limit: int, advice: str) -> None:
    if measured > limit:
        said = str(measured) if measured < _COUNTED else f"{_COUNTED} or more"
        raise LimitExceeded(f"{what.format(said)}, fragments included. At most {limit} are run. {advice}")


class _Measures:
    """Measures selections of a document; each fragment once."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments: Mapping[str, FragmentDefinitionNode] = {
            it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)
        }
        # a fragment that is being measured counts nothing: validation refuses what spreads itself
        self._known: dict[str, Measure] = {}
        self._nested = 0

    def of_fragment(self, name: str) -> Measure:
        if name not in self._known:
            self._known[name] = Measure()
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._known[name] = self.of(fragment.selection_set, fragment.type_condition.name.value)
        return self._known[name]

    def of(self, selected: SelectionSetNode, on: str = "") -> Measure:
        """What a selection comes to, which is that of a fragment on this type if it is one's."""
        self._nested += 1
        if self._nested > _NESTED:
            raise LimitExceeded(f"Selections stand in each other more than {_NESTED} deep, fragments included. Nest them less.")
        depth = fields = aliases = spreads = hops = introspection = 0
        keys: list[tuple[str, str]] = []
        repeats = 0
        waiting = [("", selected)]
        while waiting:
            condition, selections = waiting.pop()
            for node in selections.selections:
                if isinstance(node, FieldNode):
                    name = node.name.value
                    fields += 1
                    if node.alias:
                        # Relay writes __isAsset: __typename once into each fragment on Asset, to know later whether it fits
                        aliases += (name, node.alias.value) != ("__typename", f"__is{condition or on}")
                        keys.append((condition, node.alias.value))
                    else:
                        keys.append((condition, name))
                    below = self.of(node.selection_set) if node.selection_set else _NOTHING
                    if name in _INTROSPECTION:
                        depth = max(depth, 1)
                        introspection = max(introspection, below.hops)
                    else:
                        depth = max(depth, 1 + below.depth)
                        hops = max(hops, below.hops + (name in _TO_OTHER_TYPES))
                elif isinstance(node, FragmentSpreadNode):
                    spreads += 1
                    below = self.of_fragment(node.name.value)
                    fields += below.fields
                    depth = max(depth, below.depth)
                    hops = max(hops, below.hops)
                elif isinstance(node, InlineFragmentNode):
                    waiting.append((node.type_condition.name.value if node.type_condition else condition, node.selection_set))
                    continue
                else:
                    raise AssertionError("a selection is one of these")
                aliases += below.aliases
                repeats += below.repeats
                spreads += below.spreads
                introspection = max(introspection, below.introspection)
        self._nested -= 1
        repeats += len(keys) - len(set(keys))
        return Measure(
            depth,
            min(fields, _COUNTED),
            min(aliases, _COUNTED),
            min(repeats, _COUNTED),
            min(spreads, _COUNTED),
            hops,
            introspection,
        )


_NOTHING = Measure()
