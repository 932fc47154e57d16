"""What an operation selects below a field, for resolvers that have to know beforehand."""

from graphql import FieldNode, FragmentSpreadNode, GraphQLResolveInfo, SelectionSetNode

from schema.context import Info


def selects(info: Info, *paths: str) -> bool:
    """Whether any of these fields is selected below the one that is being resolved: `links`, or `edges.confidence`."""
    raw = info._raw_info
    return any(_selects(raw, node.selection_set, path.split(".")) for node in raw.field_nodes for path in paths)


def _selects(raw: GraphQLResolveInfo, selected: SelectionSetNode | None, path: list[str]) -> bool:
    for node in selected.selections if selected else ():
        if isinstance(node, FieldNode):
            found = node.name.value == path[0] and (len(path) == 1 or _selects(raw, node.selection_set, path[1:]))
        elif isinstance(node, FragmentSpreadNode):
            found = _selects(raw, raw.fragments[node.name.value].selection_set, path)
        else:
            found = _selects(raw, node.selection_set, path)
        if found:
            return True
    return False
