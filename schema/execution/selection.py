"""Selections: the fields at the root of an operation, and the fields below the one that is being resolved."""

from collections.abc import Mapping

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from schema.execution.context import Info


def selects(info: Info, *paths: str) -> bool:
    """True if one of these fields, such as `links` or `edges.confidence`, is selected below the field that is being resolved."""
    raw = info._raw_info
    fragments = raw.fragments
    return any(_selects(node.selection_set, path.split("."), fragments) for node in raw.field_nodes for path in paths)


def _selects(selection_set: SelectionSetNode | None, path: list[str], fragments: Mapping[str, FragmentDefinitionNode]) -> bool:
    for node in selection_set.selections if selection_set else ():
        match node:
            case FieldNode():
                selected = node.name.value == path[0] and (len(path) == 1 or _selects(node.selection_set, path[1:], fragments))
            case FragmentSpreadNode():
                selected = _selects(fragments[node.name.value].selection_set, path, fragments)
            case InlineFragmentNode():
                selected = _selects(node.selection_set, path, fragments)
            case _:
                raise AssertionError("a selection is a field, a fragment spread or an inline fragment")
        if selected:
            return True
    return False


def root_fields(operation: OperationDefinitionNode, document: DocumentNode) -> list[str]:
    """Return the names of the fields at the root of an operation, each once, those of fragments included."""
    fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
    names: dict[str, None] = {}

    def collect(selection_set: SelectionSetNode) -> None:
        for node in selection_set.selections:
            match node:
                case FieldNode():
                    names[node.name.value] = None
                case FragmentSpreadNode():
                    # popped: a fragment that is spread again adds nothing
                    if (fragment := fragments.pop(node.name.value, None)) is not None:
                        collect(fragment.selection_set)
                case InlineFragmentNode():
                    collect(node.selection_set)
                case _:
                    raise AssertionError("a selection is a field, a fragment spread or an inline fragment")

    collect(operation.selection_set)
    return list(names)
