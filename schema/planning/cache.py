"""The plans of one document, compiled when first needed."""

from dataclasses import dataclass, field

from graphql import DocumentNode, FragmentDefinitionNode, OperationDefinitionNode
from graphql.execution.values import VariableValues

from schema.planning.plan import Plan
from schema.planning.planner import NotPlannable, Planner, condition_variables, conditions_of

# Plans that are kept for one document. Others are compiled for each request.
CACHED_PLANS = 8


@dataclass(slots=True)
class DocumentPlans:
    """Plans of the operations of a document, by operation and by the values of the variables in @skip and @include."""

    _conditions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _plans: dict[tuple[str, tuple[bool, ...]], Plan | None] = field(default_factory=dict)

    def plan(
        self, planner: Planner, operation: OperationDefinitionNode, document: DocumentNode, variables: VariableValues
    ) -> Plan | None:
        """Return the plan of an operation; None: graphql-core has to execute it."""
        name = operation.name.value if operation.name else ""
        names = self._conditions.get(name)
        if names is None:
            fragments = [it for it in document.definitions if isinstance(it, FragmentDefinitionNode)]
            names = self._conditions[name] = condition_variables(operation, fragments)
        conditions: dict[str, bool] = {}
        if names:
            if any(variables.coerced.get(it) is None for it in names):
                # graphql-core reports the null of a directive
                return None
            conditions = conditions_of(names, variables)
        key = (name, tuple(conditions.values()))
        if key in self._plans:
            return self._plans[key]
        try:
            plan = planner.plan(operation, document, conditions)
        except NotPlannable:
            plan = None
        if len(self._plans) < CACHED_PLANS:
            self._plans[key] = plan
        return plan
