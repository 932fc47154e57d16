"""The plans of one document, compiled when first needed."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from graphql import DocumentNode, FragmentDefinitionNode, OperationDefinitionNode
from graphql.execution.values import VariableValues

from schema.planning.plan import Plan
from schema.planning.planner import NotPlannable, Planner, condition_variables, conditions_of

# Plans that are kept for one document. Others are compiled for each request.
CACHED_PLANS = 8
# Weight of a compiled field, in characters of a parsed document: one takes up to 1 800 bytes, a character about 200.
FIELD_WEIGHT = 9


class PlannedOperation(NamedTuple):
    """The plan of an operation, or None if graphql-core has to execute it, and what compiling it costs unless it is kept."""

    plan: Plan | None
    cost: int = 0


# An operation that graphql-core executes.
GENERAL = PlannedOperation(None)


@dataclass(slots=True)
class DocumentPlans:
    """Plans of the operations of a document, by operation and by the values of the variables in @skip and @include."""

    # A plan is not kept if the kept ones would weigh more.
    max_weight: float = math.inf
    weight: int = 0
    _conditions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _kept: dict[tuple[str, tuple[bool, ...]], PlannedOperation] = field(default_factory=dict)

    def find(
        self, operation: OperationDefinitionNode, document: DocumentNode, variables: VariableValues
    ) -> PlannedOperation | None:
        """Return what is kept for an operation; None: its plan has to be compiled."""
        names = self.conditions(operation, document)
        if not names:
            return self._kept.get((_name(operation), ()))
        if any(variables.coerced.get(it) is None for it in names):
            # graphql-core reports the null of a directive
            return GENERAL
        return self._kept.get((_name(operation), tuple(conditions_of(names, variables).values())))

    def plan(
        self, planner: Planner, operation: OperationDefinitionNode, document: DocumentNode, variables: VariableValues
    ) -> PlannedOperation:
        """Return the plan of an operation, compiled if it is not kept, and keep it if there is room."""
        if (found := self.find(operation, document, variables)) is not None:
            return found
        conditions = conditions_of(self.conditions(operation, document), variables)
        plan: Plan | None = None
        try:
            plan = planner.plan(operation, document, conditions)
            size = plan.size
        except NotPlannable as refusal:
            size = refusal.size
        weight = FIELD_WEIGHT * size
        if len(self._kept) >= CACHED_PLANS or self.weight + weight > self.max_weight:
            return PlannedOperation(plan, size)
        self.weight += weight
        kept = self._kept[_name(operation), tuple(conditions.values())] = PlannedOperation(plan)
        return kept

    def conditions(self, operation: OperationDefinitionNode, document: DocumentNode) -> tuple[str, ...]:
        """Return the names of the variables that decide which fields of an operation are selected."""
        name = _name(operation)
        names = self._conditions.get(name)
        if names is None:
            fragments = [it for it in document.definitions if isinstance(it, FragmentDefinitionNode)]
            names = self._conditions[name] = condition_variables(operation, fragments)
        return names


def _name(operation: OperationDefinitionNode) -> str:
    return operation.name.value if operation.name else ""
