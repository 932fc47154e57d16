"""What an operation selects: at its root, and below a field for resolvers that have to know beforehand."""

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
    """Whether any of these fields is selected below the one that is being resolved: `links`, or `edges.confidence`."""
    raw = info._raw_info
    fragments = raw.fragments
    return any(_selects(node.selection_set, path.split("."), fragments) for node in raw.field_nodes for path in paths)


def _selects(selected: SelectionSetNode | None, path: list[str], fragments: Mapping[str, FragmentDefinitionNode]) -> bool:
    for node in selected.selections if selected else ():
        match node:
            case FieldNode():
                found = node.name.value == path[0] and (len(path) == 1 or _selects(node.selection_set, path[1:], fragments))
            case FragmentSpreadNode():
                found = _selects(fragments[node.name.value].selection_set, path, fragments)
            case InlineFragmentNode():
                found = _selects(node.selection_set, path, fragments)
            case _:
                raise AssertionError("a selection is one of these")
        if found:
            return True
    return False


def root_fields(operation: OperationDefinitionNode, document: DocumentNode) -> list[str]:
    """The fields at the root of an operation, each once, wherever they are selected."""
    fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
    found: dict[str, None] = {}

    def look(selected: SelectionSetNode) -> None:
        for node in selected.selections:
            match node:
                case FieldNode():
                    found[node.name.value] = None
                case FragmentSpreadNode():
                    # a fragment adds what it adds the first time
                    if (fragment := fragments.pop(node.name.value, None)) is not None:
                        look(fragment.selection_set)
                case InlineFragmentNode():
                    look(node.selection_set)
                case _:
                    raise AssertionError("a selection is one of these")

    look(operation.selection_set)
    return list(found)
