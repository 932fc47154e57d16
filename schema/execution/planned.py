"""The planned executor: runs the plan of an operation in its context."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import strawberry
from graphql import ExecutionResult, FieldNode, FragmentDefinitionNode
from graphql.execution.values import VariableValues

from schema.execution.context import Context
from schema.planning.plan import Plan
from schema.planning.run import PlanRun

# Fetches what the resolvers of a plan will load with one statement, and primes their loaders.
Prefetch = Callable[[Context, VariableValues], Awaitable[None]]
# Returns the path of a value in the response.
FindPath = Callable[[], list[str | int]]


class _Resolution:
    """The part of GraphQLResolveInfo that resolvers read: the context, and the selection and the path of the field."""

    __slots__ = ("_path", "context", "field_nodes", "fragments")

    def __init__(
        self,
        context: Context,
        field_nodes: list[FieldNode],
        fragments: Mapping[str, FragmentDefinitionNode],
        path: FindPath,
    ) -> None:
        self.context = context
        self.field_nodes = field_nodes
        self.fragments = fragments
        self._path = path

    @property
    def path(self) -> "_Resolution":
        return self

    def as_list(self) -> list[str | int]:
        return self._path()


async def execute_plan(plan: Plan, variables: VariableValues, context: Context) -> ExecutionResult:
    """Run a plan. The result equals that of the general executor."""

    def make_info(nodes: list[FieldNode], path: FindPath) -> Any:
        return strawberry.Info(_Resolution(context, nodes, plan.fragments, path), None)  # type: ignore[arg-type]

    run = PlanRun(make_info, variables)
    try:
        data = await run.data(plan)
    finally:
        # the root of the operation costs nothing
        context.cost_meter.objects += run.objects - 1
    return ExecutionResult(data, run.errors or None)
