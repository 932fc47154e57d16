"""Runs one request: read its document, authorise, execute in a transaction, describe what failed."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
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

from db.audit_entry import READ
from db.author import Author
from db.database import Database
from db.errors import Forbidden, HeadwaterError, LimitExceeded, TransactionConflict, Unauthenticated
from db.query_stats import QueryStats
from db.retry import retry_on_conflict
from db.tenancy.api_key import KeySigner
from schema.execution.context import Context
from schema.execution.document import Documents, Registered
from schema.execution.external_record import Caller, Fetch, fetch_nothing, resolve_records
from schema.execution.federation import SubgraphSchema
from schema.execution.plain import PlainSelections
from schema.execution.principal import Principal
from schema.execution.selection import root_fields
from schema.execution.transaction import Transaction
from schema.language.cost import FETCH_WEIGHT, CostEstimate, OperationCost
from schema.language.errors import code_of, describe
from schema.language.limits import Limits
from schema.language.scopes import Scope, scope_label

# How often a mutation that lost against another writer is tried in all.
ATTEMPTS = 5

# Characters of an operation that the audit keeps, and of what it calls itself: that leaves room for what it does.
OPERATION_LENGTH = 500
NAME_LENGTH = 100

log = structlog.get_logger("headwater.graphql")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks to be run: a document, by its text or else by its name."""

    query: str | None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    # what the caller said of itself, for services that are to know it
    authorization: str | None = field(default=None, repr=False)
    # whether it is to be told what it took
    tracked: bool = False
    traceparent: str | None = None
    # sha256: and the hash of the text, or the id of a registered document
    document_id: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """What became of it. Where nothing was run there is no data at all, which is not the same as null."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    ran: bool
    operation: str = ""
    resources: dict[str, Any] | None = None
    # what it may have come to and came to; nothing, where it was refused before that was reckoned
    cost: OperationCost | None = None


@dataclass(frozen=True, slots=True)
class PreparedOperation:
    """An operation that may be run."""

    request: Request
    principal: Principal
    document: DocumentNode
    operation: OperationDefinitionNode
    reckoning: CostEstimate
    # whether anything in it asks for more than the schema
    asks_database: bool

    @property
    def writes(self) -> bool:
        return self.operation.operation is OperationType.MUTATION


class Executor:
    """One a process: the schema, the database, what fetches records elsewhere, and the documents it has seen."""

    def __init__(
        self,
        schema: SubgraphSchema,
        database: Database,
        limits: Limits | None = None,
        fetch: Fetch = fetch_nothing,
        key_signer: KeySigner | None = None,
        registered: Registered | None = None,
    ) -> None:
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._limits = limits or Limits()
        self._fetch = fetch
        # keys that nobody needs to prove elsewhere may be made by any signer
        self._key_signer = key_signer or KeySigner(secrets.token_bytes())
        self._documents = Documents(schema, self._limits, registered)
        for name, errors in self._documents.unfit().items():
            log.warning("document", id=name, reason=errors[0].message)

    async def execute(self, request: Request, principal: Principal, request_id: str) -> Response:
        """Prepare and run."""
        ready = self.prepare(request, principal)
        return ready if isinstance(ready, Response) else await self.run(ready, request_id)

    def has_to_read(self, request: Request, principal: Principal) -> bool:
        """Whether a document has to be read, which is all that takes time when something is prepared."""
        return Scope.SCHEMA in principal.scopes and not self._documents.knows(request.query)

    def prepare(self, request: Request, principal: Principal) -> "PreparedOperation | Response":
        """What is to be run, or why it is not. Nothing is asked of the database for it."""
        if Scope.SCHEMA not in principal.scopes:
            # even what is wrong with a document would tell of the schema
            return _denied(principal, "This API", Scope.SCHEMA)
        try:
            if request.query is None:
                prepared = self._documents.named(request.document_id, principal.tenant_id)
            else:
                prepared = self._documents.read(request.query, principal.tenant_id)
        except HeadwaterError as error:
            return _refused([GraphQLError(error.message, original_error=error)])
        if prepared.errors:
            return _refused(prepared.errors, prepared.document)
        operation = get_operation_ast(prepared.document, request.operation_name)
        if operation is None:
            name = (request.operation_name or "")[:NAME_LENGTH]
            asked = f"is no operation called {name!r}" if name else "are several operations"
            return _refused([GraphQLError(f"There {asked} in the document. Name one of them in operationName.")])
        needs = self._documents.needs_of(prepared, operation)
        for scope, coordinate in needs.items():
            if scope not in principal.scopes:
                return _denied(principal, coordinate, scope)
        if request.tracked and Scope.ADMIN not in principal.scopes:
            return _denied(principal, "To be told what a request took", Scope.ADMIN)
        reckoning = self._documents.reckon(prepared, operation, request.variables or {})
        if reckoning.requested > self._limits.cost:
            beyond = LimitExceeded(
                f"The operation may come to a cost of {reckoning.requested}. At most {self._limits.cost} is run. Ask for smaller"
                " pages, or for fewer lists and walks below lists."
            )
            cost = OperationCost(reckoning.requested, 0, self._limits.cost)
            return replace(_refused([GraphQLError(beyond.message, original_error=beyond)]), cost=cost)
        return PreparedOperation(request, principal, prepared.document, operation, reckoning, bool(needs.keys() - {Scope.SCHEMA}))

    async def run(self, ready: "PreparedOperation", request_id: str) -> Response:
        """Run what was prepared."""
        started = time.perf_counter()
        request, principal, operation = ready.request, ready.principal, ready.operation
        author = principal.author(request_id, _written(ready.document, operation))
        if principal.operator and ready.asks_database and not ready.writes:
            # told beforehand, so that nothing is seen untold
            await self._database.record_audit(principal.tenant_id, author, READ)
        used = QueryStats()
        attempt = await retry_on_conflict(
            lambda: self._attempt(ready, author, used),
            attempts=ATTEMPTS if ready.writes else 1,
            max_delay=lambda number, took: 0.02 * number,
            is_conflict=lambda attempt: attempt.conflicted,
        )
        result, lost, context = attempt.result, attempt.lost, attempt.context
        if ready.writes and attempt.opened and not attempt.committed:
            await self._tell_failure(principal, author, [*lost, *(result.errors or ())])
        # nothing is held by now: a service that is slow keeps nobody else waiting, one that fails undoes nothing
        awaited = context.records if result.data is not None else []
        missing = await resolve_records(
            result.data, awaited, self._fetch, Caller(request_id, request.authorization, request.traceparent)
        )
        errors = [describe(error, ready.document) for error in [*(result.errors or ()), *lost, *missing]]
        # graphql-core gives request errors, such as a bad variable, no path; one that came while it ran has one
        ran = bool(lost) or not result.errors or any(error.path is not None for error in result.errors)
        resources = {
            "statements": used.statements,
            "rows": used.rows,
            "databaseMilliseconds": round(used.seconds * 1000, 3),
            "totalMilliseconds": round((time.perf_counter() - started) * 1000, 3),
        }
        name = operation.name.value if operation.name else ""
        told = f"{operation.operation.value} {name}".strip()
        actual = context.cost_meter.total + FETCH_WEIGHT * len(awaited) + (ready.reckoning.writes if ran else 0)
        cost = OperationCost(ready.reckoning.requested, actual, self._limits.cost)
        return Response(result.data, errors, ran, told, resources if request.tracked else None, cost)

    async def _attempt(self, ready: "PreparedOperation", author: Author, used: QueryStats) -> "_Attempt":
        """Run the operation once, in a transaction of its own, and commit a mutation that succeeded. Adds to `used`."""
        request, principal, writes = ready.request, ready.principal, ready.writes
        transaction = Transaction(self._database, principal.tenant_id, author, used, writes=writes)
        context = Context(principal, author.request_id or "", self._limits, self._key_signer, transaction)
        try:
            result = execute(
                self._schema,
                ready.document,
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
            context.release()
        # Every mutation field is non-null: where one failed or did not run, there is no data.
        if not writes or finished.data is None:
            await transaction.leave()
            conflicted = any(isinstance(error.original_error, TransactionConflict) for error in finished.errors or ())
            return _Attempt(finished, context, opened=transaction.opened, conflicted=conflicted)
        try:
            await transaction.keep()
        except HeadwaterError as error:
            lost = GraphQLError(error.message, original_error=error)
            return _Attempt(ExecutionResult(None, finished.errors), context, opened=True, lost=[lost])
        return _Attempt(finished, context, opened=transaction.opened, committed=True)

    async def _tell_failure(self, principal: Principal, author: Author, errors: Sequence[GraphQLError]) -> None:
        """Tell the audit of a write that was not kept."""
        try:
            await self._database.record_audit(principal.tenant_id, author, code_of(errors[0]))
        except HeadwaterError as error:
            # what it was about is in the answer, which matters more
            log.warning("audit", operation=author.operation, reason=error.message)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at an operation. `lost` holds the error of a commit that failed."""

    result: ExecutionResult
    context: Context
    # it used the database
    opened: bool
    committed: bool = False
    # it was rolled back because another writer was first
    conflicted: bool = False
    lost: Sequence[GraphQLError] = ()


def _denied(principal: Principal, coordinate: str, scope: Scope) -> Response:
    """Why a field is not for these credentials, or for nobody without any."""
    reason: HeadwaterError
    if Scope.SELF in principal.scopes:
        reason = Forbidden(f"{coordinate} needs {scope_label(scope)}, which these credentials do not have.")
    else:
        reason = Unauthenticated(f"{coordinate} is not for everybody. Send a key as X-API-Key, or as Authorization: Bearer.")
    return _refused([GraphQLError(reason.message, original_error=reason)])


def _written(document: DocumentNode, operation: OperationDefinitionNode) -> str:
    """An operation as the audit has it: what it is, what it is called, and the fields at its root, wherever they are selected."""
    name = f" {operation.name.value[:NAME_LENGTH]}" if operation.name else ""
    return f"{operation.operation.value}{name} {{ {' '.join(root_fields(operation, document))} }}"[:OPERATION_LENGTH]


def _refused(errors: list[GraphQLError], document: DocumentNode | None = None) -> Response:
    return Response(None, [describe(error, document) for error in errors], ran=False)
