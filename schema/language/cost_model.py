"""Cost model: the cost of every field of a schema, under the limits of the service."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
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

from db.lineage.figures import Figures
from schema.language.cost import (
    Scan,
    Walks,
    declared_cost,
    declared_scans,
    declared_size_argument,
    declared_walks,
    reads_links,
)
from schema.language.limits import Limits
from schema.language.list_arguments import ListPosition, has_lists

# The most items that a list of a type can have, by the figures of the tenant.
_ITEMS: Mapping[str, Callable[[Figures], int]] = {
    "Product": lambda figures: figures.products,
    "Entity": lambda figures: figures.entities,
    "Asset": lambda figures: figures.assets,
    "LineageLink": lambda figures: figures.links,
    # an entry of the log may begin or end many associations, each of which has an entry of its own
    "RecordedChange": lambda figures: figures.changes**2,
}


class ListLength(NamedTuple):
    """Length of the lists of a field: the largest of some arguments, else the assumed length."""

    assumed: int
    arguments: Sequence[str]
    # the lists are fields of what the field returns
    is_nested: bool
    # the most items there can be; None: it is not known
    most: Callable[[Figures], int] | None = None


class FieldCost(NamedTuple):
    """Cost of a field, the type it returns and the length of its lists."""

    cost: int
    type_name: str
    length: ListLength | None
    is_list: bool
    # walks that the field runs, and their depth if no argument gives it
    walks: Walks | None = None
    depth: int = 0
    # it reads the links of the walk above
    reads_links: bool = False
    # arguments that may hold lists, and the one that has the length of the list that the field returns
    lists: Mapping[str, ListPosition] = MappingProxyType({})
    size_argument: str | None = None
    scans: tuple[Scan, ...] = ()


class CostModel:
    """Costs of the fields of a schema."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        fields = {
            name: {field_name: _field_cost(field_name, it, limits) for field_name, it in graphql_type.fields.items()}
            for name, graphql_type in schema.type_map.items()
            if isinstance(graphql_type, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
        }
        fields["Query"] |= _FEDERATION
        self.limits = limits
        self.fields: Mapping[str, Mapping[str, FieldCost]] = fields
        self.root_types = {
            operation: root.name for operation in OperationType if (root := schema.get_root_type(operation)) is not None
        }


# The field of Apollo Federation, whose list is as long as its argument.
_FEDERATION = {"_entities": FieldCost(1, "_Entity", ListLength(1, ("representations",), is_nested=False), is_list=True)}


def returns_list(type_: GraphQLOutputType) -> bool:
    """True if a field of this type returns a list."""
    return is_list_type(get_nullable_type(type_))


def _field_cost(name: str, field: Any, limits: Limits) -> FieldCost:
    named_type = get_named_type(field.type)
    cost, length = 0 if is_leaf_type(named_type) else 1, None
    declared = field.extensions.get("strawberry-definition")
    lists = {}
    for argument_name, argument in field.args.items():
        if has_lists(argument.type):
            lists[argument_name] = ListPosition(argument.type, f"{name}({argument_name})", limits.list_length)
    if declared is None:
        return FieldCost(cost, named_type.name, length, returns_list(field.type), lists=lists)
    for directive in declared.directives:
        if isinstance(directive, ListSize):
            length = _list_length(directive, field, limits)
    weight = declared_cost(declared.metadata)
    walks = declared_walks(declared.metadata)
    return FieldCost(
        cost if weight is None else weight,
        named_type.name,
        length,
        returns_list(field.type),
        walks,
        0 if walks is None else field.args["maxDepth"].default_value,
        reads_links(declared.metadata),
        lists,
        declared_size_argument(declared.metadata),
        declared_scans(declared.metadata),
    )


def _list_length(directive: ListSize, field: Any, limits: Limits) -> ListLength:
    assumed = directive.assumed_size or 0
    if argument := declared_size_argument(field.extensions["strawberry-definition"].metadata):
        return ListLength(assumed, (argument,), is_nested=False)
    arguments = tuple(directive.slicing_arguments or ())
    if arguments:
        defaults = [it for name in arguments if isinstance(it := field.args[name].default_value, int)]
        assumed = max(defaults) if defaults else min(assumed, limits.page_size)
    is_nested = bool(directive.sized_fields)
    return ListLength(assumed, arguments, is_nested, _most_items(field, directive) if is_nested else None)


def _most_items(field: Any, directive: ListSize) -> Callable[[Figures], int] | None:
    """Return the function of figures that bounds the lists of a page, by the type of its nodes."""
    page = get_named_type(field.type)
    if "nodes" not in (directive.sized_fields or ()) or not isinstance(page, GraphQLObjectType):
        return None
    return _ITEMS.get(get_named_type(page.fields["nodes"].type).name)
