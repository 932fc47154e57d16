"""The parts of a plan: objects, fields, arguments and values. A plan holds no tenant, scope, instant or variable value."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from graphql import FieldNode, FragmentDefinitionNode, GraphQLField, Undefined
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.types.field import StrawberryField

from schema.language.columns import Column
from schema.language.fields import FindAll

# The value of a non-null position that failed. It makes the enclosing object or list fail, too.
FAILED: Any = type("Failed", (), {"__slots__": (), "__repr__": lambda _: "FAILED"})()

# Fetches what the resolvers of a plan will load with one statement, and primes their loaders, in the context of the operation. It
# returns False, and has read nothing, if one statement does not suit the arguments.
Prefetch = Callable[[Any, VariableValues], Awaitable[bool]]
ConvertArguments = Callable[[dict[str, Any]], dict[str, Any]]
# Shapes objects from their sources and the completed values of their deferred fields. The last parameter shapes one object that
# the generated code cannot shape, by its index.
Shape = Callable[[Sequence[Any], Sequence[Sequence[Any]], Callable[[int], Any]], list[Any]]


@dataclass(slots=True, eq=False)
class ValuePlan:
    """The completion of values of one GraphQL output type: a list, an abstract type, an object or a leaf."""

    is_non_null: bool
    # name of the type without its modifiers
    type_name: str
    item: "ValuePlan | None" = None
    serialize: Callable[[Any], Any] | None = None
    # class of the members, if the leaf is an enum
    enum: type[Enum] | None = None
    # of an object type
    object: "ObjectPlan | None" = None
    # class of the objects, if the type tells it
    expected: type | None = None
    # of an abstract type, by the class of the value
    objects: "Mapping[type, ObjectPlan] | None" = None
    # completing it may have to wait for something
    is_async: bool = False


@dataclass(slots=True, eq=False)
class FieldPlan:
    """One selected field of an object type: how its value is found, and how it is completed."""

    key: str
    parent_name: str
    name: str
    nodes: list[FieldNode]
    value: ValuePlan
    # The value is one of these: a constant, an attribute of the source, or what a resolver returns.
    constant: str | None = None
    attribute: str | None = None
    # where a plan reads the attribute in the row of the source
    column: Column | None = None
    resolver: "Resolver | None" = None
    # index among the deferred fields of its object; None: the generated code shapes the value itself
    slot: int | None = None
    # what resolvers have found in the selection below the field, by the function that finds it
    of_selection: dict[Callable[[Any], Any], Any] = field(default_factory=dict)

    @property
    def is_async(self) -> bool:
        return self.value.is_async or (self.resolver is not None and self.resolver.is_async)


@dataclass(slots=True, eq=False)
class Resolver:
    """A resolver, called with the source, the arguments and the info object, as far as its signature has them; or one of all
    sources of a level, called once."""

    function: Callable[..., Any]
    # called once with all sources, instead of the function
    find_all: FindAll | None
    takes_source: bool
    # name of the parameter for the info object
    info_parameter: str | None
    is_async: bool
    is_single_read: bool
    arguments: "Arguments"
    # rows carry the values, so it runs no statement
    is_carried: bool = False

    @property
    def reads(self) -> bool:
        """True if it may run a statement."""
        return self.is_async and not self.is_carried


# Combinations of given, null and omitted variables for which the arguments of a field keep their constants.
MAX_CONSTANTS = 16


class Arguments:
    """Arguments of a field. Constant ones are coerced once, and converted once if all are constant.

    Runs share constants only if `are_shared`: a mutation may change what it is given. `variables` holds the names of the
    variables that are arguments themselves, by argument, if no other argument contains one.
    """

    __slots__ = ("_are_shared", "_constants", "_convert", "_converted", "_field", "_node", "_variables")

    def __init__(
        self,
        graphql_field: GraphQLField,
        node: FieldNode,
        convert: ConvertArguments,
        *,
        variables: Mapping[str, str] | None,
        are_shared: bool,
    ) -> None:
        self._field = graphql_field
        self._node = node
        self._convert = convert
        self._are_shared = are_shared
        self._variables = variables
        # by the variables that are given, null (None) or omitted
        self._constants: dict[tuple[bool | None, ...], dict[str, Any]] = {}
        self._converted: dict[str, Any] | None = None if graphql_field.args else {}

    def values(self, variables: VariableValues) -> dict[str, Any]:
        """Return the arguments by the names of the resolver's parameters. Raise GraphQLError if one is invalid."""
        if self._converted is not None:
            return self._converted
        if self._variables is None or not self._are_shared:
            return self._convert(get_argument_values(self._field, self._node, variables))
        given = {argument: variables.coerced.get(name, Undefined) for argument, name in self._variables.items()}
        key = tuple([None if it is None else it is not Undefined for it in given.values()])
        constants = self._constants.get(key)
        if constants is not None:
            return self._convert(
                constants | {it: value for it, value in given.items() if value is not None and value is not Undefined}
            )
        values = get_argument_values(self._field, self._node, variables)
        converted = self._convert(values)
        if not self._variables:
            self._converted = converted
        elif len(self._constants) < MAX_CONSTANTS:
            # the values of variables are those of a run; an omitted one stays away, or has a default
            self._constants[key] = {it: value for it, value in values.items() if given.get(it) is None or given[it] is Undefined}
        return converted


@dataclass(slots=True, eq=False)
class ObjectPlan:
    """The selected fields of one object type, in the order of the response."""

    type_name: str
    fields: list[FieldPlan]
    shape: Shape
    # the fields whose values are completed before the objects are shaped
    deferred: list[FieldPlan]
    is_async: bool


@dataclass(slots=True, eq=False)
class Plan:
    """Plan of an operation, for one set of values of the variables in its @skip and @include directives."""

    root: ObjectPlan
    # number of compiled fields
    size: int
    # root fields run one after the other
    is_serial: bool
    # one statement reads all data, so it needs no snapshot
    is_single_read: bool
    # the only field that uses the database is a root field, which may find at its run that it needs one statement
    has_sole_user: bool
    # the fields of assets to select, and the columns of lineage links that fields read
    asset_fields: frozenset[str]
    link_columns: frozenset[str]
    # Fetches all data with one statement before the run; None: each level runs its own statements.
    prefetch: Prefetch | None = None
    # the whole answer, if each root field is a constant
    constants: dict[str, Any] | None = None
    fragments: Mapping[str, FragmentDefinitionNode] = field(default_factory=dict)


def strawberry_field(graphql_field: GraphQLField) -> StrawberryField:
    """Return the declaration of a field."""
    declared: StrawberryField = graphql_field.extensions["strawberry-definition"]
    return declared
