"""Runs one request: read its document, authorise, execute in a transaction, describe what failed."""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    get_operation_ast,
)

from db.api_key import Seal
from db.connection import READ, Author, Database, Spent
from db.errors import Forbidden, HeadwaterError, Interrupted, Unauthenticated
from schema.context import Context, Limits, Principal
from schema.document import Documents
from schema.errors import code_of, describe
from schema.federation import SubgraphSchema
from schema.loaders import Loaders
from schema.plain import PlainSelections
from schema.record import Asked, Caller, Fetch, fetch_nothing, fill
from schema.scope import Scope, called
from schema.transaction import Transaction

# How often a mutation that lost against another writer is tried in all.
ATTEMPTS = 5

# Characters of an operation that the audit keeps.
OPERATION_LENGTH = 500

log = structlog.get_logger("headwater.graphql")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks to be run."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    # what the caller said of itself, for services that are to know it
    authorization: str | None = field(default=None, repr=False)
    # whether it is to be told what it took
    tracked: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What became of it. Where nothing was run there is no data at all, which is not the same as null."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    ran: bool
    operation: str = ""
    resources: dict[str, Any] | None = None


class Executor:
    """One a process: the schema, the database, what fetches records elsewhere, and the documents it has seen."""

    def __init__(
        self,
        schema: SubgraphSchema,
        database: Database,
        limits: Limits | None = None,
        fetch: Fetch = fetch_nothing,
        seal: Seal | None = None,
    ) -> None:
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._limits = limits or Limits()
        self._fetch = fetch
        # keys that nobody needs to prove elsewhere may be made by any seal
        self._seal = seal or Seal(secrets.token_bytes())
        self._documents = Documents(schema)

    async def execute(self, request: Request, principal: Principal, request_id: str) -> Response:
        prepared = self._documents.read(request.query)
        if prepared.errors:
            return _refused(prepared.errors, prepared.document)
        operation = get_operation_ast(prepared.document, request.operation_name)
        if operation is None:
            asked = f"is no operation called {request.operation_name!r}" if request.operation_name else "are several operations"
            return _refused([GraphQLError(f"There {asked} in the document. Name one of them in operationName.")])
        needs = self._documents.needs_of(prepared, operation)
        for scope, coordinate in needs.items():
            if scope not in principal.scopes:
                return _denied(principal, coordinate, scope)
        if request.tracked and Scope.ADMIN not in principal.scopes:
            return _denied(principal, "To be told what a request took", Scope.ADMIN)
        started = time.perf_counter()
        author = principal.author(request_id, _written(operation))
        if principal.operator and needs and operation.operation is not OperationType.MUTATION:
            # told beforehand, so that nothing is seen untold
            await self._database.tell(principal.tenant_id, author, READ)
        spent = Spent()
        result, lost, awaited = await self._run(prepared.document, operation, request, principal, author, spent)
        # nothing is held by now: a service that is slow keeps nobody else waiting, one that fails undoes nothing
        missing = await fill(result.data, awaited, self._fetch, Caller(request_id, request.authorization, request.traceparent))
        errors = [describe(error, prepared.document) for error in [*(result.errors or ()), *lost, *missing]]
        # graphql-core gives request errors, such as a bad variable, no path; one that came while it ran has one
        ran = bool(lost) or not result.errors or any(error.path is not None for error in result.errors)
        resources = {
            "statements": spent.statements,
            "rows": spent.rows,
            "databaseMilliseconds": round(spent.seconds * 1000, 3),
            "totalMilliseconds": round((time.perf_counter() - started) * 1000, 3),
        }
        name = operation.name.value if operation.name else ""
        told = f"{operation.operation.value} {name}".strip()
        return Response(result.data, errors, ran, told, resources if request.tracked else None)

    async def _run(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        request: Request,
        principal: Principal,
        author: Author,
        spent: Spent,
    ) -> tuple[ExecutionResult, list[GraphQLError], list[Asked]]:
        """What came of it; should the commit have failed, why; and the records that are to come into it. Notes what was spent."""
        request_id = author.request_id or ""
        writes = operation.operation is OperationType.MUTATION
        for attempt in range(1, ATTEMPTS + 1):
            transaction = Transaction(self._database, principal.tenant_id, author, spent, writes=writes)
            context = Context(principal, request_id, self._limits, self._seal, transaction, Loaders(transaction.reader))
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
                if writes and transaction.opened:
                    await self._tell_failure(principal, author, finished.errors or [])
                return finished, [], context.records
            try:
                await transaction.keep()
            except HeadwaterError as error:
                lost = GraphQLError(error.message, original_error=error)
                await self._tell_failure(principal, author, [lost])
                return ExecutionResult(None, finished.errors), [lost], []
            return finished, [], context.records
        raise AssertionError("the last attempt returns")

    async def _tell_failure(self, principal: Principal, author: Author, errors: Sequence[GraphQLError]) -> None:
        """Tell the audit of a write that was not kept."""
        try:
            await self._database.tell(principal.tenant_id, author, code_of(errors[0]))
        except HeadwaterError as error:
            # what it was about is in the answer, which matters more
            log.warning("audit", operation=author.operation, reason=error.message)


def _was_interrupted(error: GraphQLError) -> bool:
    return isinstance(error.original_error, Interrupted)


def _denied(principal: Principal, coordinate: str, scope: Scope) -> Response:
    """Why a field is not for these credentials, or for nobody without any."""
    reason: HeadwaterError
    if Scope.SELF in principal.scopes:
        reason = Forbidden(f"{coordinate} needs {called(scope)}, which these credentials do not have.")
    else:
        reason = Unauthenticated(f"{coordinate} is not for everybody. Send a key as X-API-Key, or as Authorization: Bearer.")
    return _refused([GraphQLError(reason.message, original_error=reason)])


def _written(operation: OperationDefinitionNode) -> str:
    """An operation as the audit has it: what it is, what it is called, and the fields at its root."""
    fields = [it.name.value for it in operation.selection_set.selections if isinstance(it, FieldNode)]
    name = f" {operation.name.value}" if operation.name else ""
    return f"{operation.operation.value}{name} {{ {' '.join(fields)} }}"[:OPERATION_LENGTH]


def _refused(errors: list[GraphQLError], document: DocumentNode | None = None) -> Response:
    return Response(None, [describe(error, document) for error in errors], ran=False)
