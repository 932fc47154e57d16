"""Cost model: the cost of every field of a schema, under the limits of the service."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)
from strawberry.federation.schema_directives import ListSize

from schema.language.cost import declared_cost, declared_size_argument, declared_walk_count
from schema.language.limits import Limits


class ListLength(NamedTuple):
    """Length of the lists of a field: the largest of some arguments, else the assumed length."""

    assumed: int
    arguments: Sequence[str]
    # the lists are fields of what the field returns
    is_nested: bool


class FieldCost(NamedTuple):
    """Cost of a field, the type it returns and the length of its lists."""

    cost: int
    type_name: str
    length: ListLength | None
    is_list: bool


class CostModel:
    """Costs of the fields of a schema."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        fields = {
            name: {field_name: _field_cost(it, limits) for field_name, it in graphql_type.fields.items()}
            for name, graphql_type in schema.type_map.items()
            if isinstance(graphql_type, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
        }
        fields["Query"] |= _FEDERATION
        self.fields: Mapping[str, Mapping[str, FieldCost]] = fields
        self.root_types = {
            operation: root.name for operation in OperationType if (root := schema.get_root_type(operation)) is not None
        }


# The field of Apollo Federation, whose list is as long as its argument.
_FEDERATION = {"_entities": FieldCost(1, "_Entity", ListLength(1, ("representations",), is_nested=False), is_list=True)}


def returns_list(type_: GraphQLOutputType) -> bool:
    """True if a field of this type returns a list."""
    return is_list_type(get_nullable_type(type_))


def _field_cost(field: Any, limits: Limits) -> FieldCost:
    named_type = get_named_type(field.type)
    cost, length = 0 if is_leaf_type(named_type) else 1, None
    declared = field.extensions.get("strawberry-definition")
    if declared is not None:
        for directive in declared.directives:
            if isinstance(directive, ListSize):
                length = _list_length(directive, field, limits)
        weight = declared_cost(declared.metadata)
        cost = cost if weight is None else weight
        if walks := declared_walk_count(declared.metadata):
            cost = walks * limits.walk_bounds.assets
    return FieldCost(cost, named_type.name, length, returns_list(field.type))


def _list_length(directive: ListSize, field: Any, limits: Limits) -> ListLength:
    assumed = directive.assumed_size or 0
    if argument := declared_size_argument(field.extensions["strawberry-definition"].metadata):
        return ListLength(assumed, (argument,), is_nested=False)
    arguments = tuple(directive.slicing_arguments or ())
    if arguments:
        defaults = [it for name in arguments if isinstance(it := field.args[name].default_value, int)]
        assumed = max(defaults) if defaults else min(assumed, limits.page_size)
    return ListLength(assumed, arguments, is_nested=bool(directive.sized_fields))
