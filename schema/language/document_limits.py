"""Document limits: a document is measured before it is validated, with fragments expanded as they are executed.

Each fragment is measured once, so that a document whose fragments spread each other takes no longer than its text.
"""

from collections.abc import Mapping
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
from schema.language.limits import Limits

# Counts of expanded selections grow exponentially; they are capped here.
_LARGEST_COUNT = 100_000
# Nesting of selection sets, fragments included, that is followed. It is well within the recursion limit of Python.
_DEEPEST_NESTING = 150
# Fields of introspection that lead from a type to other types, and possibly back to it.
_REFERENCES_TO_TYPES = frozenset({"fields", "interfaces", "possibleTypes", "inputFields"})
_INTROSPECTION = frozenset({"__schema", "__type"})


class SelectionMeasure(NamedTuple):
    """Size of a selection set with fragments expanded."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    repeats: int = 0
    spreads: int = 0
    # longest chain of references from type to type in this selection set
    type_references: int = 0
    # longest such chain in an introspection below this selection set
    introspection: int = 0


_EMPTY = SelectionMeasure()


def check_document(document: DocumentNode, limits: Limits) -> None:
    """Raise LimitExceeded if an operation or a fragment exceeds a limit of documents."""
    measurer = DocumentMeasurer(document)
    for definition in document.definitions:
        match definition:
            case OperationDefinitionNode():
                subject = f"The operation {definition.name.value}" if definition.name else "The operation"
                size = measurer.measure(definition.selection_set)
                _check(f"{subject} selects {{}} root fields", size.fields, limits.root_fields, _SPLIT)
            case FragmentDefinitionNode() if not definition.type_condition.name.value.startswith("__"):
                # a fragment that is spread nowhere is validated as well
                subject = f"The fragment {definition.name.value}"
                size = measurer.measure_fragment(definition.name.value)
            case _:
                continue
        _check(
            f"{subject} is {{}} fields deep", size.depth, limits.depth, "Start further down, for example at an asset by its uid."
        )
        _check(f"{subject} has {{}} aliases", size.aliases, limits.aliases, _SPLIT)
        _check(f"{subject} repeats fields of a selection set {{}} times", size.repeats, limits.repeats, "Select each field once.")
        _check(
            f"{subject} spreads fragments {{}} times", size.spreads, limits.spreads,
            "Replace small fragments by their fields, or split the operation.",
        )  # fmt: skip
        _check(
            f"{subject} follows references from type to type {{}} times in one introspection", size.introspection,
            limits.introspection_depth, "Query the types one by one with __type(name:).",
        )  # fmt: skip


_SPLIT = "Split the operation into several requests."


def _check(measured: str, count: int, limit: int, remedy: str) -> None:
    if count > limit:
        number = str(count) if count < _LARGEST_COUNT else f"{_LARGEST_COUNT} or more"
        raise LimitExceeded(f"{measured.format(number)}, fragments included. At most {limit} are allowed. {remedy}")


class DocumentMeasurer:
    """Measures the selection sets of a document, each fragment once."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments: Mapping[str, FragmentDefinitionNode] = {
            it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)
        }
        self._measured: dict[str, SelectionMeasure] = {}
        self._nesting = 0

    def measure_fragment(self, name: str) -> SelectionMeasure:
        """Return the size of a fragment. One that is being measured counts nothing: validation refuses recursive fragments."""
        if name not in self._measured:
            self._measured[name] = _EMPTY
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._measured[name] = self.measure(fragment.selection_set, fragment.type_condition.name.value)
        return self._measured[name]

    def measure(self, selection_set: SelectionSetNode, type_condition: str = "") -> SelectionMeasure:
        """Return the size of a selection set; `type_condition` is the type of the fragment that it belongs to, if any."""
        self._nesting += 1
        if self._nesting > _DEEPEST_NESTING:
            raise LimitExceeded(
                f"Selections are nested more than {_DEEPEST_NESTING} levels deep, fragments included. Nest them less deeply."
            )
        depth = fields = aliases = repeats = spreads = type_references = introspection = 0
        response_names: list[tuple[str, str]] = []
        pending = [("", selection_set)]
        while pending:
            condition, selections = pending.pop()
            for node in selections.selections:
                if isinstance(node, FieldNode):
                    name = node.name.value
                    fields += 1
                    if node.alias:
                        # Relay adds __isAsset: __typename to each fragment on Asset, to tell later if it matched
                        aliases += (name, node.alias.value) != ("__typename", f"__is{condition or type_condition}")
                        response_names.append((condition, node.alias.value))
                    else:
                        response_names.append((condition, name))
                    below = self.measure(node.selection_set) if node.selection_set else _EMPTY
                    if name in _INTROSPECTION:
                        depth = max(depth, 1)
                        introspection = max(introspection, below.type_references)
                    else:
                        depth = max(depth, 1 + below.depth)
                        type_references = max(type_references, below.type_references + (name in _REFERENCES_TO_TYPES))
                elif isinstance(node, FragmentSpreadNode):
                    spreads += 1
                    below = self.measure_fragment(node.name.value)
                    fields += below.fields
                    depth = max(depth, below.depth)
                    type_references = max(type_references, below.type_references)
                elif isinstance(node, InlineFragmentNode):
                    pending.append((node.type_condition.name.value if node.type_condition else condition, node.selection_set))
                    continue
                else:
                    raise AssertionError("a selection is a field, a fragment spread or an inline fragment")
                aliases += below.aliases
                repeats += below.repeats
                spreads += below.spreads
                introspection = max(introspection, below.introspection)
        self._nesting -= 1
        repeats += len(response_names) - len(set(response_names))
        return SelectionMeasure(
            depth,
            min(fields, _LARGEST_COUNT),
            min(aliases, _LARGEST_COUNT),
            min(repeats, _LARGEST_COUNT),
            min(spreads, _LARGEST_COUNT),
            type_references,
            introspection,
        )
