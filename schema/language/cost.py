"""Cost: what an operation may come to, computed before it runs and counted while it does. See docs/limits.md.

An object counts 1 and a leaf nothing; what an object selects counts for each of a list. Fields say in the SDL what else they
weigh and how long their lists are: `@cost` and `@listSize`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

import strawberry
from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.types.field import StrawberryField

from db.errors import LimitExceeded
from db.lineage.walk import Bounds, Walk
from schema.language.limits import Limits

# What a mutation weighs, if nothing else is said: it locks, looks up and writes some rows.
WRITE_WEIGHT = 10
# What a record weighs that another service is asked for.
FETCH_WEIGHT = 10
# What it weighs where all links and joins of an asset may have to be cut or brought back.
LIFETIME_WEIGHT = 50
# What it weighs to go through every link there is, to count them or to see what shape they have.
GRAPH_WEIGHT = 5_000

# What a field weighs.
_COST = "headwater.weighs"
# How many walks a field takes, of which each weighs as many assets as it may visit.
_WALK_COST = "headwater.walks"
# The argument that is as long as the list.
_LIKE = "headwater.like"
# JSON readers lose count above this.
_LARGEST = 2**53 - 1
# How many answers are remembered of an operation whose variables matter.
_REMEMBERED = 32

Field = TypeVar("Field")


def cost(weight: int) -> Callable[[Field], Field]:
    """Says what a field weighs."""
    return _declared(Cost(weight=weight), {_COST: weight})


def walk_cost(times: int = 1) -> Callable[[Field], Field]:
    """Says that a field walks, so many times: each weighs what a walk may visit."""
    return _declared(Cost(weight=times * Bounds().assets), {_WALK_COST: times})


def without_cost(declared: StrawberryField) -> StrawberryField:
    """The field of an interface, which gateways take no `@cost` of: its types say the same."""
    said = copy(declared)
    said.directives = [it for it in declared.directives if not isinstance(it, Cost)]
    said.metadata = declared.metadata
    return said


def list_size(
    assumed: int | None = None, *, by: Collection[str] = (), like: str | None = None, of: Collection[str] = ()
) -> Callable[[Field], Field]:
    """Says how long a list is, or the lists `of` what a field gives: as many as these arguments ask for, or `like` one that is a
    list itself, else as many as assumed. The SDL has no word for `like`. An argument with a default always asks, and composers
    refuse what is assumed beside it."""
    directive = ListSize(
        assumed_size=strawberry.UNSET if assumed is None else assumed,
        slicing_arguments=list(by) or strawberry.UNSET,
        sized_fields=list(of) or strawberry.UNSET,
        # whoever gives none gets what is assumed
        require_one_slicing_argument=False if by else strawberry.UNSET,
    )
    return _declared(directive, {} if like is None else {_LIKE: like})


def _declared(directive: Cost | ListSize, metadata: Mapping[str, Any]) -> Callable[[Field], Field]:
    def declare(declared: Field) -> Field:
        said = cast(StrawberryField, declared)
        said.directives = [*said.directives, directive]
        said.metadata = MappingProxyType({**said.metadata, **metadata})
        return declared

    return declare


@dataclass(slots=True)
class CostMeter:
    """What an operation has come to so far."""

    objects: int = 0
    walks: set[Walk] = field(default_factory=set)
    # what was visited besides: on the way to paths, or to count it all
    visited: int = 0
    # what the walks that were begun may visit
    reserved: int = 0

    def reserve(self, assets: int, limit: int) -> None:
        """Lets a walk begin. Lists that turn out longer than was assumed may have more of them below than were reckoned with."""
        self.reserved += assets
        if self.reserved > limit:
            raise LimitExceeded(
                f"The walks of the operation may come to a cost of more than {limit}: a list above them is longer than was"
                " assumed. Walk from fewer assets at once."
            )

    @property
    def total(self) -> int:
        return self.objects + self.visited + sum(walk.visited_count for walk in self.walks)


@dataclass(frozen=True, slots=True)
class OperationCost:
    """What an operation was reckoned to come to at most, what it came to, and what it may."""

    requested: int
    actual: int
    limit: int


class CostEstimate(NamedTuple):
    """What an operation may come to, and how much of that its writes weigh."""

    requested: int
    writes: int


@dataclass(slots=True)
class CostEstimates:
    """What is remembered of one operation: which variables matter, and what it comes to by what they say."""

    by_variable: tuple[str, ...]
    known: dict[tuple[Any, ...], CostEstimate] = field(default_factory=dict)


class Size(NamedTuple):
    """How long the lists of a field are: by its arguments, else so long as assumed."""

    assumed: int
    arguments: Sequence[str]
    # whether it is the lists of what the field gives
    below: bool


class Price(NamedTuple):
    """What a field weighs, what it gives, and how much of it."""

    weight: int
    type_name: str
    size: Size | None
    listed: bool


class CostModel:
    """What the fields of a schema weigh, under the limits that hold, and what operations come to by that."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self._prices: Mapping[str, Mapping[str, Price]] = {
            name: {field_name: _price(it, limits) for field_name, it in described.fields.items()}
            for name, described in schema.type_map.items()
            if isinstance(described, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
        }
        self._prices = {**self._prices, "Query": {**self._prices["Query"], **_FEDERATION}}
        self._roots = {
            operation: root.name for operation in OperationType if (root := schema.get_root_type(operation)) is not None
        }

    def reckon(
        self,
        operation: OperationDefinitionNode,
        document: DocumentNode,
        variables: Mapping[str, Any],
        remembered: dict[str, CostEstimates],
    ) -> CostEstimate:
        """What an operation may come to, by what its variables say."""
        name = operation.name.value if operation.name else ""
        reckonings = remembered.get(name)
        if reckonings is not None and (known := reckonings.known.get(_said(reckonings, variables))) is not None:
            return known
        fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
        bill = _Estimator(self._prices, fragments, operation, variables)
        root = self._roots[operation.operation]
        fixed, _ = bill.of(operation.selection_set, root)
        writes = bill.writes(operation.selection_set, root) if operation.operation is OperationType.MUTATION else 0
        reckoning = CostEstimate(min(fixed, _LARGEST), min(writes, _LARGEST))
        if reckonings is None:
            reckonings = remembered[name] = CostEstimates(tuple(sorted(bill.asked)))
        if len(reckonings.known) < _REMEMBERED:
            reckonings.known[_said(reckonings, variables)] = reckoning
        return reckoning


# Federation's own field: its lists are as long as what is asked for.
_FEDERATION = {"_entities": Price(1, "_Entity", Size(1, ("representations",), below=False), listed=True)}


def _price(described: Any, limits: Limits) -> Price:
    type_ = described.type
    named = get_named_type(type_)
    declared = described.extensions.get("strawberry-definition")
    weight, size = 0 if is_leaf_type(named) else 1, None
    if declared is not None:
        for directive in declared.directives:
            if isinstance(directive, ListSize):
                size = _size(directive, described, limits)
        weight = declared.metadata.get(_COST, weight)
        if _WALK_COST in declared.metadata:
            weight = declared.metadata[_WALK_COST] * limits.walk.assets
    return Price(weight, named.name, size, is_list(type_))


def is_list(type_: GraphQLOutputType) -> bool:
    """Whether a field of this type gives a list."""
    return is_list_type(get_nullable_type(type_))


def _size(directive: ListSize, described: Any, limits: Limits) -> Size:
    assumed = directive.assumed_size or 0
    if like := described.extensions["strawberry-definition"].metadata.get(_LIKE):
        return Size(assumed, (like,), below=False)
    arguments = tuple(directive.slicing_arguments or ())
    if arguments:
        defaults = [it for name in arguments if isinstance(it := described.args[name].default_value, int)]
        assumed = max(defaults) if defaults else min(assumed, limits.page_size)
    return Size(assumed, arguments, below=bool(directive.sized_fields))


class _Estimator:
    """Adds up one operation. What a fragment comes to is added up once, and whatever multiplies it is applied outside."""

    def __init__(
        self,
        prices: Mapping[str, Mapping[str, Price]],
        fragments: Mapping[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self.asked: set[str] = set()
        self._prices = prices
        self._fragments = fragments
        self._variables = variables
        self._defaults = {it.variable.name.value: it.default_value for it in operation.variable_definitions or ()}
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, selected: SelectionSetNode, type_name: str) -> tuple[int, int]:
        """What a selection comes to, and what of it comes for each item of a list that the field above sizes."""
        prices = self._prices.get(type_name, {})
        fixed = each = 0
        for node in selected.selections:
            # what is left out is looked at all the same: its variables matter when it is not
            before = (fixed, each) if node.directives and self._left_out(node) else None
            if isinstance(node, FieldNode):
                price = prices.get(node.name.value)
                if price is None:
                    # the name of a type, or introspection
                    continue
                below, below_each = self.of(node.selection_set, price.type_name) if node.selection_set else (0, 0)
                if price.size is None:
                    if price.listed:
                        each += price.weight + below
                    else:
                        fixed += price.weight + below
                elif price.size.below:
                    fixed += price.weight + below + self._length(price.size, node) * below_each
                else:
                    fixed += self._length(price.size, node) * (price.weight + below)
            elif isinstance(node, FragmentSpreadNode):
                below, below_each = self._of_fragment(node.name.value)
                fixed, each = fixed + below, each + below_each
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition.name.value if node.type_condition else type_name
                below, below_each = self.of(node.selection_set, condition)
                fixed, each = fixed + below, each + below_each
            if before is not None:
                fixed, each = before
        return fixed, each

    def writes(self, selected: SelectionSetNode, type_name: str) -> int:
        """What the writes weigh that a selection of mutations begins, besides the objects that they give."""
        found = 0
        for node in selected.selections:
            if node.directives and self._left_out(node):
                continue
            if isinstance(node, FieldNode):
                price = self._prices[type_name].get(node.name.value)
                found += price.weight - 1 if price else 0
            elif isinstance(node, FragmentSpreadNode):
                found += self.writes(self._fragments[node.name.value].selection_set, type_name)
            elif isinstance(node, InlineFragmentNode):
                found += self.writes(node.selection_set, type_name)
        return found

    def _of_fragment(self, name: str) -> tuple[int, int]:
        if name not in self._known:
            fragment = self._fragments[name]
            self._known[name] = self.of(fragment.selection_set, fragment.type_condition.name.value)
        return self._known[name]

    def _left_out(self, node: Any) -> bool:
        """Whether @skip or @include leave a selection out."""
        said = [
            self._said(argument.value) is (directive.name.value == "skip")
            for directive in node.directives
            if directive.name.value in ("skip", "include")
            for argument in directive.arguments or ()
        ]
        return any(said)

    def _length(self, size: Size, node: FieldNode) -> int:
        """How long a list is that a field sizes."""
        found = [
            said[0] if isinstance(said, tuple) else said
            for argument in node.arguments or ()
            if argument.name.value in size.arguments
            and (said := self._said(argument.value)) is not None
            and not isinstance(said, bool)
        ]
        return max(found) if found else size.assumed

    def _said(self, value: ValueNode | None) -> "bool | int | tuple[int] | None":
        """What matters of an argument: whether, how many, or a list of how many."""
        match value:
            case VariableNode():
                name = value.name.value
                self.asked.add(name)
                if name in self._variables:
                    return _read(self._variables[name])
                return self._said(self._defaults.get(name))
            case IntValueNode():
                return _read(int(value.value))
            case BooleanValueNode():
                return value.value
            case ListValueNode():
                return (len(value.values),)
            case None | NullValueNode():
                return None
        # a single value where a list may stand
        return (1,)


def _said(reckonings: CostEstimates, variables: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the variables that matter say; true is not 1 here."""
    read = (_read(variables[it]) if it in variables else Undefined for it in reckonings.by_variable)
    return tuple(str(it) if isinstance(it, bool) else it for it in read)


def _read(value: Any) -> "bool | int | tuple[int] | None":
    """What matters of a variable's value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return max(0, min(int(value), 2**31))
    return (len(value),) if isinstance(value, list) else (1,)
