"""Lists in arguments: their number of items, within a bound. JSON values are no lists: the limit of a body bounds them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
)

from db.errors import LimitExceeded

# Items of lists in arguments that cost as much as an object.
ITEMS_PER_COST = 10


class ListPosition(NamedTuple):
    """A position in the arguments of a field that may hold lists: its type, its path for messages, and the bound of a list."""

    type: GraphQLInputType
    path: str
    bound: int

    def inside(self, name: str, type_: GraphQLInputType) -> "ListPosition":
        return ListPosition(type_, f"{self.path}.{name}", self.bound)

    def items(self, type_: GraphQLInputType) -> "ListPosition":
        return ListPosition(type_, self.path, self.bound)


# Counts the items in the lists of a variable at a position.
CountVariable = Callable[[str, ListPosition], int]


def has_lists(type_: GraphQLInputType, above: frozenset[str] = frozenset()) -> bool:
    """True if values of a type may hold lists. `above` names the input types that contain it."""
    if isinstance(get_nullable_type(type_), GraphQLList):
        return True
    named = get_named_type(type_)
    if not isinstance(named, GraphQLInputObjectType) or named.name in above:
        return False
    return any(has_lists(it.type, above | {named.name}) for it in named.fields.values())


def count_items(position: ListPosition, value: Any) -> int:
    """Count the items in all lists of a value. Raise LimitExceeded if a list is longer than the bound."""
    type_ = get_nullable_type(position.type)
    if isinstance(type_, GraphQLList):
        # a single value is coerced to a list of one
        items = value if isinstance(value, list) else [value]
        count = _checked(position, len(items))
        if has_lists(type_.of_type) or isinstance(get_named_type(type_), GraphQLInputObjectType):
            count += sum(count_items(position.items(type_.of_type), it) for it in items)
        return count
    if isinstance(type_, GraphQLInputObjectType) and isinstance(value, Mapping):
        fields = type_.fields
        return sum(count_items(position.inside(name, fields[name].type), it) for name, it in value.items() if name in fields)
    return 0


def count_literal_items(position: ListPosition, node: ValueNode, count_variable: CountVariable) -> int:
    """Count the items in all lists of a literal, and of the variables in it. Raise LimitExceeded if a list is too long."""
    if isinstance(node, VariableNode):
        return count_variable(node.name.value, position)
    type_ = get_nullable_type(position.type)
    if isinstance(type_, GraphQLList):
        nodes = node.values if isinstance(node, ListValueNode) else (node,)
        inside = position.items(type_.of_type)
        return _checked(position, len(nodes)) + sum(count_literal_items(inside, it, count_variable) for it in nodes)
    if isinstance(type_, GraphQLInputObjectType) and isinstance(node, ObjectValueNode):
        fields = type_.fields
        return sum(
            count_literal_items(position.inside(it.name.value, fields[it.name.value].type), it.value, count_variable)
            for it in node.fields
            if it.name.value in fields
        )
    return 0


def _checked(position: ListPosition, length: int) -> int:
    if length > position.bound:
        raise LimitExceeded(
            f"{position.path} has {length} items. At most {position.bound} are allowed. Send fewer, or split the request.",
            field=re.split(r"[.(]", position.path)[-1].rstrip(")"),
        )
    return length
