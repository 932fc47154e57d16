"""What an operation selects below a field, for resolvers that have to know beforehand."""

from collections.abc import Mapping

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, InlineFragmentNode, SelectionSetNode

from schema.context import Info


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
