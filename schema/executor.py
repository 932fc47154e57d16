"""Runs one request: read its document, authorise, execute in a transaction, describe what failed."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    get_operation_ast,
)

from db.connection import Author, Database
from db.errors import Forbidden, HeadwaterError, Interrupted, LimitExceeded
from schema.context import Context, Principal
from schema.cost import FETCH_WEIGHT, Charge
from schema.document import Documents
from schema.errors import describe
from schema.federation import SubgraphSchema
from schema.limits import Limits
from schema.loaders import Loaders
from schema.plain import PlainSelections
from schema.record import Caller, Fetch, fetch_nothing, fill
from schema.transaction import Transaction

# How often a mutation that lost against another writer is tried in all.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks to be run."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    # what the caller said of itself, for services that are to know it
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What became of it. Where nothing was run there is no data at all, which is not the same as null."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    ran: bool
    operation: str = ""
    # what it may have come to and came to; nothing, where it was refused before that was reckoned
    cost: Charge | None = None


class Executor:
    """One a process: the schema, the database, what fetches records elsewhere, and the documents it has seen."""

    def __init__(
        self, schema: SubgraphSchema, database: Database, limits: Limits | None = None, fetch: Fetch = fetch_nothing
    ) -> None:
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._limits = limits or Limits()
        self._fetch = fetch
        self._documents = Documents(schema, self._limits)

    async def execute(self, request: Request, principal: Principal, request_id: str) -> Response:
        prepared = self._documents.read(request.query)
        if prepared.errors:
            return _refused(prepared.errors, prepared.document)
        operation = get_operation_ast(prepared.document, request.operation_name)
        if operation is None:
            asked = f"is no operation called {request.operation_name!r}" if request.operation_name else "are several operations"
            return _refused([GraphQLError(f"There {asked} in the document. Name one of them in operationName.")])
        for scope, coordinate in self._documents.needs_of(prepared, operation).items():
            if scope not in principal.scopes:
                reason = Forbidden(f"{coordinate} needs the scope {scope.value}, which these credentials do not have.")
                return _refused([GraphQLError(reason.message, original_error=reason)])
        reckoning = self._documents.reckon(prepared, operation, request.variables or {})
        if reckoning.requested > self._limits.cost:
            beyond = LimitExceeded(
                f"The operation may come to a cost of {reckoning.requested}. At most {self._limits.cost} is run. Ask for smaller"
                " pages, or for fewer lists and walks below lists."
            )
            cost = Charge(reckoning.requested, 0, self._limits.cost)
            return replace(_refused([GraphQLError(beyond.message, original_error=beyond)]), cost=cost)
        result, lost, context = await self._run(prepared.document, operation, request, principal, request_id)
        # nothing is held by now: a service that is slow keeps nobody else waiting, one that fails undoes nothing
        missing = await fill(result.data, context.records, self._fetch, Caller(request_id, request.authorization))
        errors = [describe(error, prepared.document) for error in [*(result.errors or ()), *lost, *missing]]
        # graphql-core gives request errors, such as a bad variable, no path; one that came while it ran has one
        ran = bool(lost) or not result.errors or any(error.path is not None for error in result.errors)
        name = operation.name.value if operation.name else ""
        actual = context.spent.total + FETCH_WEIGHT * len(context.records) + (reckoning.writes if ran else 0)
        cost = Charge(reckoning.requested, actual, self._limits.cost)
        return Response(result.data, errors, ran, f"{operation.operation.value} {name}".strip(), cost)

    async def _run(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        request: Request,
        principal: Principal,
        request_id: str,
    ) -> tuple[ExecutionResult, list[GraphQLError], Context]:
        """What came of it; should the commit have failed, why; and what the last attempt stood in."""
        writes = operation.operation is OperationType.MUTATION
        for attempt in range(1, ATTEMPTS + 1):
            author = Author(principal.actor, request_id)
            transaction = Transaction(self._database, principal.tenant_id, author, writes=writes)
            context = Context(principal, request_id, self._limits, transaction, Loaders(transaction.reader))
            try:
                result = execute(
                    self._schema,
                    document,
                    context_value=context,
                    variable_values=request.variables,
                    operation_name=request.operation_name,
                    executor_class=PlainSelections,
                )
                finished = result if isinstance(result, ExecutionResult) else await result
            except asyncio.CancelledError:
                await transaction.abort()
                raise
            except BaseException:
                await transaction.leave()
                raise
            finally:
                context.loaders.let_go()
            # every mutation field is non-null: where one failed, or was not reached, there is no data
            if not writes or finished.data is None:
                await transaction.leave()
                if writes and attempt < ATTEMPTS and any(_was_interrupted(error) for error in finished.errors or ()):
                    # writers that met once should not meet again
                    await asyncio.sleep(random.uniform(0, 0.02 * attempt))
                    continue
                return finished, [], context
            try:
                await transaction.keep()
            except HeadwaterError as error:
                return ExecutionResult(None, finished.errors), [GraphQLError(error.message, original_error=error)], context
            return finished, [], context
        raise AssertionError("the last attempt returns")


def _was_interrupted(error: GraphQLError) -> bool:
    return isinstance(error.original_error, Interrupted)


def _refused(errors: list[GraphQLError], document: DocumentNode | None = None) -> Response:
    return Response(None, [describe(error, document) for error in errors], ran=False)
