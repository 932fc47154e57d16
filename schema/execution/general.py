"""The general executor: graphql-core, which executes what cannot be planned, such as introspection."""

from typing import Any

from graphql import DocumentNode, ExecutionResult, GraphQLObjectType, GraphQLSchema, execute
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.execution.context import Context


class CountingExecution(StrawberryGraphQLCoreExecutionContext):
    """Execution that counts the objects of the response. Introspection costs nothing: it has a limit and reads no data."""

    def collect_and_execute_subfields(self, return_type: GraphQLObjectType, *rest: Any) -> Any:
        if not return_type.name.startswith("__"):
            self.context_value.cost_meter.objects += 1
        return super().collect_and_execute_subfields(return_type, *rest)


async def execute_generally(
    schema: GraphQLSchema, document: DocumentNode, variables: dict[str, Any] | None, operation_name: str | None, context: Context
) -> ExecutionResult:
    """Execute an operation with graphql-core and the resolvers of the schema."""
    executed = execute(
        schema,
        document,
        context_value=context,
        variable_values=variables,
        operation_name=operation_name,
        executor_class=CountingExecution,
    )
    return executed if isinstance(executed, ExecutionResult) else await executed
