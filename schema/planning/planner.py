"""The planner: compiles an operation into a plan."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, cast

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    Visitor,
    get_named_type,
    is_abstract_type,
    visit,
)
from graphql.execution.values import VariableValues
from strawberry.types.base import StrawberryObjectDefinition

from db.assets.asset_fields import AS_OF, fields_to_select
from schema.language.columns import column_of, columns_read
from schema.language.fields import carried_columns, find_all_of, is_single_read
from schema.planning.conversion import ArgumentConverter
from schema.planning.plan import Arguments, ConvertArguments, FieldPlan, ObjectPlan, Plan, Resolver, ValuePlan, strawberry_field
from schema.planning.shaping import generate_shape

Conditions = Mapping[str, bool]

# The object type of links; the rows of all others are those of assets.
_LINKS = "LineageLink"


class NotPlannable(Exception):
    """The operation has to be executed by graphql-core: it selects the schema, which has no declarations.

    `size` is the number of fields that were compiled in vain.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class Planner:
    """Compiles operations on one schema. `prefetches` are functions that return the prefetch of a plan, or None."""

    def __init__(self, schema: Any, prefetches: Sequence[Callable[[ObjectPlan], Any]] = ()) -> None:
        self._strawberry_schema = schema
        self._prefetches = prefetches
        self.schema: GraphQLSchema = schema._schema
        self._argument_converter = ArgumentConverter(schema.schema_converter.config)
        # by the identity of the field, which lives as long as the schema
        self._argument_conversions: dict[int, ConvertArguments] = {}
        self._costly_columns: dict[str, frozenset[str]] = {}

    def plan(self, operation: OperationDefinitionNode, document: DocumentNode, conditions: Conditions) -> Plan:
        """Compile an operation. `conditions` holds the values of the variables in its @skip and @include directives."""
        fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
        is_mutation = operation.operation is OperationType.MUTATION
        root_type = self.schema.mutation_type if is_mutation else self.schema.query_type
        assert root_type is not None, "validation refuses an operation on a type that the schema lacks"
        compilation = _Compilation(self, fragments, conditions)
        root = compilation.object_plan(root_type, [operation.selection_set])
        reads = compilation.settle_carried(is_mutation=is_mutation)
        has_sole_user = len(reads) == 1 and any(it.resolver is reads[0] for it in root.fields)
        is_single_read = has_sole_user and reads[0].is_single_read and not is_mutation
        prefetch = None if is_mutation else next((it for match in self._prefetches if (it := match(root))), None)
        is_constant = all(it.constant is not None for it in root.fields)
        constants = {it.key: it.constant for it in root.fields} if is_constant else None
        link_columns = frozenset(compilation.columns.pop(_LINKS, ()))
        # an asset that is an end of links, too, is not read again if it was read at their instant
        read_with_links = link_columns & {AS_OF}
        asset_fields = fields_to_select(chain(read_with_links, *compilation.columns.values()))
        return Plan(
            root,
            compilation.size,
            is_mutation,
            is_single_read,
            has_sole_user,
            asset_fields,
            link_columns,
            prefetch,
            constants,
            fragments,
        )

    @cached_property
    def classes_by_type(self) -> dict[str, type]:
        """The Python classes of object types, by the name of the type."""
        definitions = {name: it.definition for name, it in self._strawberry_schema.schema_converter.type_map.items()}
        return {name: it.origin for name, it in definitions.items() if isinstance(it, StrawberryObjectDefinition)}

    def costly_columns(self, type_: GraphQLObjectType) -> frozenset[str]:
        """Return the costly columns that rows of a type can carry."""
        columns = self._costly_columns.get(type_.name)
        if columns is None:
            declarations = [it.extensions.get("strawberry-definition") for it in type_.fields.values()]
            columns = frozenset(chain.from_iterable(carried_columns(it) or () for it in declarations if it is not None))
            self._costly_columns[type_.name] = columns
        return columns

    def argument_conversion(self, graphql_field: GraphQLField) -> ConvertArguments:
        """Return the function that converts the arguments of a field from GraphQL names and values to Python names and values."""
        conversion = self._argument_conversions.get(id(graphql_field))
        if conversion is None:
            conversion = self._argument_converter.compile(strawberry_field(graphql_field).arguments, graphql_field.args)
            self._argument_conversions[id(graphql_field)] = conversion
        return conversion


def condition_variables(operation: OperationDefinitionNode, fragments: Iterable[FragmentDefinitionNode]) -> tuple[str, ...]:
    """Return the names of the variables in the @skip and @include directives of an operation and of fragments."""
    names: set[str] = set()

    class Collector(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
            if node.name.value in ("skip", "include"):
                names.update(it.value.name.value for it in node.arguments or () if isinstance(it.value, VariableNode))

    for node in (operation, *fragments):
        visit(node, Collector())
    return tuple(sorted(names))


def conditions_of(names: tuple[str, ...], variables: VariableValues) -> dict[str, bool]:
    """Return the values of the variables that decide which fields are selected."""
    return {name: variables.coerced[name] for name in names}


class _Compilation:
    """Compilation of one operation."""

    def __init__(self, planner: Planner, fragments: Mapping[str, FragmentDefinitionNode], conditions: Conditions) -> None:
        self._planner = planner
        self._schema = planner.schema
        self._fragments = fragments
        self._conditions = conditions
        # fields compiled so far
        self.size = 0
        # columns of rows that the fields of each type read
        self.columns: defaultdict[str, set[str]] = defaultdict(set)
        # resolvers that wait for something, each with the costly columns of rows that carry its values; None: no rows do
        self._waiting: list[tuple[Resolver, frozenset[str] | None]] = []
        # costly columns that some object could read and does not
        self._unread: set[str] = set()
        # By the type and the selection sets. The types of an interface share what is below their common fields: without this, a
        # plan would double with each level.
        self._object_plans: dict[tuple[str, tuple[int, ...]], ObjectPlan] = {}

    def settle_carried(self, *, is_mutation: bool) -> list[Resolver]:
        """Decide which values rows carry when all objects are compiled. Return the resolvers that may run statements."""
        for resolver, columns in self._waiting:
            # a mutation returns rows without costly columns
            missing = columns if is_mutation or columns is None else columns & self._unread
            resolver.is_carried = columns is not None and not missing
        for of_type in self.columns.values():
            of_type -= self._unread
        return [it for it, _ in self._waiting if it.reads]

    def object_plan(self, type_: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode]) -> ObjectPlan:
        """Compile the selection sets on one object type, merged."""
        key = (type_.name, tuple(map(id, selection_sets)))
        if key not in self._object_plans:
            self._object_plans[key] = self._object_plan(type_, selection_sets)
        return self._object_plans[key]

    def _object_plan(self, type_: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode]) -> ObjectPlan:
        nodes_by_key: dict[str, list[FieldNode]] = {}
        spread: set[str] = set()
        for selection_set in selection_sets:
            self._collect(type_, selection_set, nodes_by_key, spread)
        costly: set[str] = set()
        fields = [self._field_plan(type_, key, nodes, costly) for key, nodes in nodes_by_key.items()]
        self.columns[type_.name] |= costly
        self._unread |= self._planner.costly_columns(type_) - costly
        deferred = [it for it in fields if it.constant is None and (it.resolver is not None or it.value.serialize is None)]
        for slot, field in enumerate(deferred):
            field.slot = slot
        return ObjectPlan(type_.name, fields, generate_shape(fields), deferred, any(it.is_async for it in deferred))

    def _collect(
        self, type_: GraphQLObjectType, selection_set: SelectionSetNode, nodes: dict[str, list[FieldNode]], spread: set[str]
    ) -> None:
        """Add the fields of a selection set that apply to a type, by response key. A fragment is added once."""
        for node in selection_set.selections:
            if node.directives and not self._is_included(node.directives):
                continue
            match node:
                case FieldNode():
                    nodes.setdefault((node.alias or node.name).value, []).append(node)
                case FragmentSpreadNode():
                    fragment = self._fragments[node.name.value]
                    if node.name.value not in spread and self._applies(fragment.type_condition.name, type_):
                        spread.add(node.name.value)
                        self._collect(type_, fragment.selection_set, nodes, spread)
                case InlineFragmentNode():
                    if node.type_condition is None or self._applies(node.type_condition.name, type_):
                        self._collect(type_, node.selection_set, nodes, spread)
                case _:
                    raise AssertionError("a selection is a field, a fragment spread or an inline fragment")

    def _is_included(self, directives: Iterable[DirectiveNode]) -> bool:
        for directive in directives:
            if directive.name.value in ("skip", "include"):
                (argument,) = directive.arguments or ()
                value: Any = argument.value
                is_true = self._conditions[value.name.value] if isinstance(value, VariableNode) else value.value
                if is_true is (directive.name.value == "skip"):
                    return False
        return True

    def _applies(self, condition: NameNode, type_: GraphQLObjectType) -> bool:
        conditional = self._schema.type_map[condition.value]
        return conditional is type_ or (is_abstract_type(conditional) and self._schema.is_sub_type(conditional, type_))

    def _field_plan(self, type_: GraphQLObjectType, key: str, nodes: list[FieldNode], costly: set[str]) -> FieldPlan:
        """Compile a field. Add the costly columns that it can read to those of its object."""
        self.size += 1
        name = nodes[0].name.value
        if name == "__typename":
            return FieldPlan(key, type_.name, name, nodes, ValuePlan(True, "String"), constant=type_.name)
        graphql_field = type_.fields.get(name)
        if graphql_field is None or "strawberry-definition" not in graphql_field.extensions:
            raise NotPlannable(self.size)
        declared = strawberry_field(graphql_field)
        if declared.extensions or declared.permission_classes:
            raise NotPlannable(self.size)
        self.columns[type_.name].update(columns_read(declared))
        plan = FieldPlan(key, type_.name, name, nodes, self._value_plan(graphql_field.type, nodes))
        base = declared.base_resolver
        if base is None:
            plan.attribute = declared.python_name
            plan.column = column_of(declared)
            return plan
        arguments = {it.name.value for it in nodes[0].arguments or ()}
        plan.resolver = Resolver(
            cast(Callable[..., Any], base.wrapped_func),
            find_all_of(declared),
            base.self_parameter is not None,
            base.info_parameter.name if base.info_parameter else None,
            # a resolver that takes the info object may return the future of a loader
            base.is_async or base.info_parameter is not None,
            is_single_read(declared, arguments),
            Arguments(
                graphql_field,
                nodes[0],
                self._planner.argument_conversion(graphql_field),
                variables=_variable_arguments(nodes[0]),
                are_shared=type_ is not self._schema.mutation_type,
            ),
        )
        if plan.resolver.is_async:
            columns = carried_columns(declared, arguments)
            costly |= columns or frozenset()
            self._waiting.append((plan.resolver, columns))
        return plan

    def _value_plan(self, type_: GraphQLOutputType, nodes: list[FieldNode]) -> ValuePlan:
        if isinstance(type_, GraphQLNonNull):
            plan = self._value_plan(type_.of_type, nodes)
            plan.is_non_null = True
            return plan
        type_name = get_named_type(type_).name
        if isinstance(type_, GraphQLList):
            item = self._value_plan(type_.of_type, nodes)
            return ValuePlan(False, type_name, item=item, is_async=item.is_async)
        if isinstance(type_, GraphQLLeafType):
            return ValuePlan(False, type_name, serialize=_serializer(type_), enum=getattr(type_, "wrapped_cls", None))
        classes = self._planner.classes_by_type
        selection_sets = [it.selection_set for it in nodes if it.selection_set is not None]
        if isinstance(type_, GraphQLObjectType):
            only = self.object_plan(type_, selection_sets)
            expected = classes[type_name] if type_.is_type_of is not None else None
            return ValuePlan(False, type_name, object=only, expected=expected, is_async=only.is_async)
        plans = {it.name: self.object_plan(it, selection_sets) for it in self._schema.get_possible_types(type_)}
        is_async = any(it.is_async for it in plans.values())
        return ValuePlan(False, type_name, objects={classes[name]: it for name, it in plans.items()}, is_async=is_async)


def _serializer(type_: GraphQLLeafType) -> Callable[[Any], Any]:
    """Return the function that converts a value of a leaf type for the response."""
    serialize: Callable[[Any], Any] = type_.coerce_output_value
    return serialize


def _variable_arguments(node: FieldNode) -> dict[str, str] | None:
    """Return the names of the variables that are arguments of a field, by argument; None: an argument contains a variable."""

    class Finder(Visitor):
        found = False

        def enter_variable(self, *_: Any) -> None:
            self.found = True

    finder = Finder()
    variables: dict[str, str] = {}
    for argument in node.arguments or ():
        if isinstance(argument.value, VariableNode):
            variables[argument.name.value] = argument.value.name.value
        else:
            visit(argument, finder)
    return None if finder.found else variables
