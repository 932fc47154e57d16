"""Cost estimates: what an operation is expected to cost, computed before it runs. See docs/limits.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Any, NamedTuple

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
)

from db.lineage.figures import Figures
from schema.language.cost import INDEXED_SEARCH, Scan
from schema.language.cost_model import CostModel, FieldCost, ListLength
from schema.language.list_arguments import ITEMS_PER_COST, ListPosition, count_items, count_literal_items
from schema.language.walk_extent import WalkExtent, estimate_walk

# JSON parsers that use doubles lose precision above this.
_LARGEST = 2**53 - 1
# Digits of an integer literal from which on its value does not matter.
_MAX_DIGITS = 20
# Estimates that are cached for one operation whose variables influence the cost.
_CACHED_ESTIMATES = 32

# The part of a value that influences the cost: a flag, a number, the length of a list in a tuple, or a text.
CostValue = bool | int | tuple[int] | tuple[int, bool] | None

# Texts, which are coerced to a list of one, and if an index helps to search for them.
_INDEXED_TEXT, _OTHER_TEXT = (1, True), (1, False)


class CostEstimate(NamedTuple):
    """Expected cost of an operation, and the parts of it that do not depend on the answer: those of mutations, and of lists in
    arguments and of scans.

    Lists have the length that was requested, or an assumed one. Without figures a walk costs the most that it can, with
    figures what the means of the tenant give. So an operation may cost less, or more.
    """

    requested: int
    writes: int
    reads: int = 0


@dataclass(slots=True)
class CostEstimates:
    """Cached estimates of one operation, by the figures of a tenant, if it has some, and the values of the variables that
    influence its cost. Tenants of equal figures share them."""

    variables: tuple[str, ...]
    # variables that may hold lists, and where they are used
    lists: tuple[tuple[str, ListPosition], ...]
    # variables that hold values of enumerations
    enums: tuple[str, ...]
    by_values: dict[tuple[Any, ...], CostEstimate] = field(default_factory=dict)


class CostEstimator:
    """Estimates operations by a cost model."""

    def __init__(self, model: CostModel) -> None:
        self._model = model

    def estimate(
        self,
        operation: OperationDefinitionNode,
        document: DocumentNode,
        variables: Mapping[str, Any],
        cache: dict[str, CostEstimates],
        figures: Figures | None = None,
    ) -> CostEstimate:
        """Return the estimate of an operation with these variables, which the figures of the tenant lower. `cache` holds the
        estimates of a document, by operation."""
        name = operation.name.value if operation.name else ""
        cached = cache.get(name)
        if cached is not None and (known := cached.by_values.get(_cache_key(cached, variables, figures))) is not None:
            return known
        fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
        estimation = _Estimation(self._model, fragments, operation, variables, figures)
        root = self._model.root_types[operation.operation]
        cost = estimation.selection_cost(operation.selection_set, root)
        is_mutation = operation.operation is OperationType.MUTATION
        writes = estimation.write_cost(operation.selection_set, root) if is_mutation else 0
        requested, reads = cost.total + cost.scans, cost.lists + cost.scans
        estimate = CostEstimate(min(requested, _LARGEST), min(writes, _LARGEST), min(reads, _LARGEST))
        if cached is None:
            variables_used, enums_used = sorted(estimation.used_variables), sorted(estimation.used_enums)
            cached = cache[name] = CostEstimates(tuple(variables_used), tuple(estimation.used_lists), tuple(enums_used))
        if len(cached.by_values) >= _CACHED_ESTIMATES:
            # the oldest: figures change, and those of many tenants differ
            del cached.by_values[next(iter(cached.by_values))]
        cached.by_values[_cache_key(cached, variables, figures)] = estimate
        return estimate


class _SelectionCost(NamedTuple):
    """Cost of a selection set."""

    total: int = 0
    # additional cost of each item of a list whose length a field above declares
    per_item: int = 0
    # how often the links of the walk above are read
    link_reads: int = 0
    # cost of lists in arguments, which is part of the total, too: here once, however often a field runs
    lists: int = 0
    # cost of scans, which is no part of the total: a statement reads for all items of a list
    scans: int = 0

    def plus(self, other: "_SelectionCost") -> "_SelectionCost":
        return _SelectionCost(*map(add, self, other))


class _Estimation:
    """Estimate of one operation. Each fragment is added up once, and multiplied by the lists above it where it is spread."""

    def __init__(
        self,
        model: CostModel,
        fragments: Mapping[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
        figures: Figures | None,
    ) -> None:
        self.used_variables: set[str] = set()
        self.used_lists: list[tuple[str, ListPosition]] = []
        self.used_enums: set[str] = set()
        self._limits = model.limits
        self._figures = figures
        self._fields = model.fields
        self._fragments = fragments
        self._variables = variables
        self._defaults = {it.variable.name.value: it.default_value for it in operation.variable_definitions or ()}
        self._fragment_costs: dict[str, _SelectionCost] = {}

    def selection_cost(self, selection_set: SelectionSetNode, type_name: str) -> _SelectionCost:
        """Return the cost of a selection set on a type."""
        fields = self._fields.get(type_name, {})
        cost = _SelectionCost()
        for node in selection_set.selections:
            # added up even if skipped: another request may include it, and its variables are part of the cache key
            added = self._node_cost(node, fields, type_name)
            if not (node.directives and self._is_skipped(node.directives)):
                cost = cost.plus(added)
        return cost

    def write_cost(self, selection_set: SelectionSetNode, type_name: str) -> int:
        """Return the cost of the mutations that a selection set runs, without the objects that they return."""
        cost = 0
        for node in selection_set.selections:
            if node.directives and self._is_skipped(node.directives):
                continue
            if isinstance(node, FieldNode):
                field_cost = self._fields[type_name].get(node.name.value)
                cost += field_cost.cost - 1 if field_cost else 0
            elif isinstance(node, FragmentSpreadNode):
                cost += self.write_cost(self._fragments[node.name.value].selection_set, type_name)
            elif isinstance(node, InlineFragmentNode):
                cost += self.write_cost(node.selection_set, type_name)
        return cost

    def _node_cost(self, node: SelectionNode, fields: Mapping[str, FieldCost], type_name: str) -> _SelectionCost:
        if isinstance(node, FieldNode):
            # __typename and introspection cost nothing
            field_cost = fields.get(node.name.value)
            return _SelectionCost() if field_cost is None else self._field_cost(node, field_cost)
        if isinstance(node, FragmentSpreadNode):
            return self._fragment_cost(node.name.value)
        if isinstance(node, InlineFragmentNode):
            condition = node.type_condition.name.value if node.type_condition else type_name
            return self.selection_cost(node.selection_set, condition)
        raise AssertionError("a selection is a field, a fragment spread or an inline fragment")

    def _field_cost(self, node: FieldNode, field_cost: FieldCost) -> _SelectionCost:
        below = self.selection_cost(node.selection_set, field_cost.type_name) if node.selection_set else _SelectionCost()
        if field_cost.lists and node.arguments:
            lists = self._list_cost(node.arguments, field_cost)
            below = below.plus(_SelectionCost(lists, lists=lists))
        total, per_item, link_reads = self._cost_of_result(node, field_cost, below)
        cost = below._replace(total=total, per_item=per_item, link_reads=link_reads)
        for scan in field_cost.scans:
            scanned = self._scan_cost(node, scan)
            cost = cost.plus(_SelectionCost(scanned) if scan.is_each else _SelectionCost(scans=scanned))
        return cost

    def _cost_of_result(self, node: FieldNode, field_cost: FieldCost, below: _SelectionCost) -> tuple[int, int, int]:
        """Return the cost of what a field returns, in total, for each item and in reads of links."""
        depth = self._depth(node, field_cost)
        walk = self._walk(field_cost, depth)
        if walk is None:
            once, link_reads = field_cost.cost + below.total, below.link_reads + field_cost.reads_links
        else:
            assert field_cost.walks is not None, "an estimated walk is declared"
            reads, link_reads = field_cost.walks.link_reads + below.link_reads, 0
            bounds, number = self._limits.walk_bounds, field_cost.walks.number
            if field_cost.walks.are_counts:
                own = walk.count_cost if depth == 1 else walk.cost(bounds)
            else:
                # the object that the field returns costs 1, too, unless that exceeds what the schema announces
                own = min(number * walk.cost(bounds) + 1, number * bounds.assets)
            once = own + reads * walk.link_cost + below.total
        if field_cost.length is None:
            return (0, once, link_reads) if field_cost.is_list else (once, 0, link_reads)
        length = self._length(field_cost.length, node)
        if field_cost.length.is_nested:
            if walk is not None:
                length = min(length, walk.assets)
            elif self._figures is not None and field_cost.length.most is not None:
                length = min(length, field_cost.length.most(self._figures))
            return once + length * below.per_item, 0, link_reads
        return length * once, 0, link_reads

    def _list_cost(self, arguments: Sequence[ArgumentNode], field_cost: FieldCost) -> int:
        """Return the cost of the lists in the arguments of a field. That of its size argument is in the length of its list."""
        cost = 0
        for argument in arguments:
            name = argument.name.value
            if (position := field_cost.lists.get(name)) is None:
                continue
            if name == field_cost.size_argument:
                position = position._replace(bound=max(position.bound, self._limits.page_size))
            items = count_literal_items(position, argument.value, self._count_variable_items)
            if name != field_cost.size_argument:
                cost += items // ITEMS_PER_COST
        return cost

    def _scan_cost(self, node: FieldNode, scan: Scan) -> int:
        """Return the cost of the rows that a field reads whatever it returns."""
        is_indexed = True
        if scan.values:
            given = [self._enum_values(it.value) for it in node.arguments or () if it.name.value == scan.argument]
            if not given or not given[0] & scan.values:
                return 0
        elif scan.argument is not None:
            values = [self._cost_value(it.value) for it in node.arguments or () if it.name.value == scan.argument]
            if not values or values[0] is None:
                return 0
            is_indexed = not scan.is_search or values[0] == _INDEXED_TEXT
        return scan.cost(self._figures, is_indexed=is_indexed)

    def _enum_values(self, value: ValueNode | None) -> frozenset[str]:
        """Return the values of enumerations in an argument."""
        match value:
            case VariableNode():
                name = value.name.value
                self.used_enums.add(name)
                if name in self._variables:
                    return _enum_values_of(self._variables[name])
                return self._enum_values(self._defaults.get(name))
            case EnumValueNode():
                return frozenset((value.value,))
            case ObjectValueNode():
                return frozenset().union(*(self._enum_values(it.value) for it in value.fields))
        return frozenset()

    def _count_variable_items(self, name: str, position: ListPosition) -> int:
        self.used_lists.append((name, position))
        if name in self._variables:
            return count_items(position, self._variables[name])
        default = self._defaults.get(name)
        return 0 if default is None else count_literal_items(position, default, self._count_variable_items)

    def _depth(self, node: FieldNode, field_cost: FieldCost) -> int:
        """Return the greatest depth of the walks of a field."""
        depths = [self._cost_value(it.value) for it in node.arguments or () if it.name.value == "maxDepth"]
        # a value that is no number or out of the limits is refused at the field
        depth = next((it for it in depths if type(it) is int), field_cost.depth)
        return min(depth, self._limits.max_walk_depth)

    def _walk(self, field_cost: FieldCost, depth: int) -> WalkExtent | None:
        """Estimate a walk of a field, if it runs one."""
        if field_cost.walks is None:
            return None
        return estimate_walk(self._limits.walk_bounds, self._figures, field_cost.walks.directions, depth)

    def _fragment_cost(self, name: str) -> _SelectionCost:
        if name not in self._fragment_costs:
            fragment = self._fragments[name]
            self._fragment_costs[name] = self.selection_cost(fragment.selection_set, fragment.type_condition.name.value)
        return self._fragment_costs[name]

    def _is_skipped(self, directives: tuple[DirectiveNode, ...]) -> bool:
        """True if @skip or @include excludes a selection. Evaluates all of them, so that all their variables are noted."""
        skips = [
            self._cost_value(argument.value) is (directive.name.value == "skip")
            for directive in directives
            if directive.name.value in ("skip", "include")
            for argument in directive.arguments or ()
        ]
        return any(skips)

    def _length(self, length: ListLength, node: FieldNode) -> int:
        """Return the length of the lists of a field, as its arguments in the document state it."""
        requested = [
            value[0] if isinstance(value, tuple) else value
            for argument in node.arguments or ()
            if argument.name.value in length.arguments
            and (value := self._cost_value(argument.value)) is not None
            and not isinstance(value, bool)
        ]
        return max(requested) if requested else length.assumed

    def _cost_value(self, value: ValueNode | None) -> CostValue:
        """Return the part of an argument's value that influences the cost."""
        match value:
            case VariableNode():
                name = value.name.value
                self.used_variables.add(name)
                if name in self._variables:
                    return _cost_value_of(self._variables[name])
                return self._cost_value(self._defaults.get(name))
            case IntValueNode():
                return _cost_value_of(_int_of(value.value))
            case BooleanValueNode():
                return value.value
            case ListValueNode():
                return (len(value.values),)
            case StringValueNode():
                return _cost_value_of(value.value)
            case None | NullValueNode():
                return None
        # a single value is coerced to a list of one
        return (1,)


def _cache_key(estimates: CostEstimates, variables: Mapping[str, Any], figures: Figures | None) -> tuple[Any, ...]:
    """Return the figures, and the values of the variables that influence the cost. A boolean becomes text, because True equals
    1."""
    if not estimates.variables and not estimates.lists and not estimates.enums:
        return (figures,)
    values = (_cost_value_of(variables[it]) if it in variables else Undefined for it in estimates.variables)
    # a list that is too long is refused, also if the estimate is known
    lists = (count_items(at, variables[it]) // ITEMS_PER_COST if it in variables else Undefined for it, at in estimates.lists)
    enums = (_enum_values_of(variables[it]) if it in variables else Undefined for it in estimates.enums)
    return (figures, *(str(it) if isinstance(it, bool) else it for it in values), *lists, *enums)


def _enum_values_of(value: Any) -> frozenset[str]:
    """Return the texts in a variable that holds a value of an enumeration, or an object with some."""
    return frozenset(it for it in (value.values() if isinstance(value, Mapping) else (value,)) if isinstance(it, str))


def _int_of(literal: str) -> int:
    """Return the value of an integer literal. Python refuses one of thousands of digits, which no argument takes either."""
    return int(literal) if len(literal) < _MAX_DIGITS else -1 if literal.startswith("-") else _LARGEST


def _cost_value_of(value: Any) -> CostValue:
    """Return the part of a variable's value that influences the cost."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return max(0, min(int(value), 2**31))
    if isinstance(value, str):
        return _INDEXED_TEXT if INDEXED_SEARCH.search(value) else _OTHER_TEXT
    return (len(value),) if isinstance(value, list) else (1,)
