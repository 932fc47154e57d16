"""The executor: prepares a request from its document, authorizes it, runs it in a transaction and reports errors."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from math import inf
from typing import Any, NamedTuple

import structlog
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, located_error
from graphql.execution.values import VariableValues

from db.audit_entry import READ
from db.author import Author
from db.computation import Computation, ComputationThread
from db.connection import QueryStats
from db.database import Database
from db.errors import HeadwaterError, LimitExceeded, ReadOnly, TransactionConflict, Unavailable
from db.occasion import Occasion
from db.retry import retry_on_conflict
from db.tenancy.api_key import KeySigner
from schema.execution.context import Context
from schema.execution.document import NAME_LENGTH, DocumentOperation, Documents, PreparedDocument, RegisteredDocuments
from schema.execution.external_record import Caller, Fetch, FindGrants, fetch_nothing, grant_any, resolve_records
from schema.execution.federation import SubgraphSchema
from schema.execution.general import execute_generally
from schema.execution.operation import Execution, OperationCost, PreparedOperation, Request, Response, denied, refused
from schema.execution.principal import Principal
from schema.execution.tenant_figures import TenantFigures
from schema.execution.transaction import Transaction
from schema.language.cost import FETCH_COST
from schema.language.cost_estimator import CostEstimate
from schema.language.cursors import CursorCipher
from schema.language.errors import code_of, describe, error_behind, graphql_error, log_unavailable
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.planning.cache import GENERAL
from schema.planning.plan import Plan, Prefetch
from schema.planning.run import run_plan

# Attempts at a mutation that conflicts with other writers.
ATTEMPTS = 5

# Seconds between two warnings that reads are not audited.
_WARNING_INTERVAL = 60

# Tenants whose cipher of cursors is kept.
_MAX_CIPHERS = 1_000

# The estimated cost from which on figures of the tenant may lower it: it has a walk or long lists.
FIGURES_FROM = 1_000

# Characters of a text that is parsed and validated in the event loop, which takes up to 25 ms.
_SMALL_TEXT = 2_000

_READING = ComputationThread("headwater-documents")

_NO_VARIABLES = VariableValues({}, {})

log = structlog.get_logger("headwater.graphql")


class Executor:
    """Executes requests on a schema and a database. A process has one."""

    def __init__(
        self,
        schema: SubgraphSchema,
        database: Database,
        limits: Limits | None = None,
        fetch: Fetch = fetch_nothing,
        key_signer: KeySigner | None = None,
        registered: RegisteredDocuments | None = None,
        find_grants: FindGrants = grant_any,
        figures: TenantFigures | None = None,
    ) -> None:
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._unaudited = Occasion(_WARNING_INTERVAL)
        self._limits = limits or Limits()
        self._fetch = fetch
        self._find_grants = find_grants
        # without a signer, keys are signed and cursors sealed with a secret that no other process knows
        self._key_signer = key_signer or KeySigner(secrets.token_bytes())
        self._cipher_of_tenant = lru_cache(_MAX_CIPHERS)(partial(CursorCipher, self._key_signer.secret))
        self._figures = figures
        self._documents = Documents(schema, self._limits, registered)
        for document_id, errors in self._documents.invalid_registered().items():
            log.warning("registered document is invalid", id=document_id, reason=errors[0].message)

    async def execute(self, request: Request, principal: Principal, request_id: str) -> Response:
        """Prepare a request, plan it and run it."""
        prepared = self.prepare(request, principal)
        if isinstance(prepared, PreparedOperation) and prepared.lacks_figures:
            prepared = await self.estimate_again(prepared)
        return prepared if isinstance(prepared, Response) else await self.run(self.plan(prepared), request_id)

    def prepare_known(self, request: Request, principal: Principal) -> PreparedOperation | Response | None:
        """Prepare a request with a document and a plan that are kept, which takes no time; None: one of them is unknown."""
        if self.needs_parsing(request, principal):
            return None
        prepared = self.prepare(request, principal)
        return None if isinstance(prepared, PreparedOperation) and not prepared.is_planned else prepared

    def needs_parsing(self, request: Request, principal: Principal) -> bool:
        """True if the text of a request is unknown, and the caller may have it read."""
        return Scope.SCHEMA in principal.scopes and self._documents.needs_parsing(request.query)

    async def read(self, request: Request, principal: Principal) -> PreparedDocument | None:
        """Parse and validate the text of a request, a large one in a thread; None: it needs no parsing."""
        query = request.query
        if query is None or not self.needs_parsing(request, principal):
            return None
        is_anonymous = Scope.SELF not in principal.scopes
        if len(query) <= _SMALL_TEXT:
            return self._documents.read(query, is_anonymous=is_anonymous)
        return await _READING.run(
            principal.tenant_id, Computation(inf), lambda _: self._documents.read(query, is_anonymous=is_anonymous)
        )

    def prepare(
        self, request: Request, principal: Principal, read: PreparedDocument | None = None
    ) -> PreparedOperation | Response:
        """Return the operation to run, or a response that refuses it. Does not use the database. `read`: its document."""
        if Scope.SCHEMA not in principal.scopes:
            # before the document is read: validation errors would reveal the schema
            return denied(principal, "This API", Scope.SCHEMA)
        try:
            if request.query is None:
                prepared = self._documents.by_id(request.document_id, principal.tenant_id)
            else:
                is_anonymous = Scope.SELF not in principal.scopes
                prepared = self._documents.parse(request.query, principal.tenant_id, is_anonymous=is_anonymous, read=read)
        except HeadwaterError as error:
            return refused([graphql_error(error)])
        if prepared.errors:
            return refused(prepared.errors, prepared.document)
        name = request.operation_name
        operation = prepared.operations.get(name) or self._documents.operation(prepared, name)
        if operation is None:
            has = f"no operation named {name[:NAME_LENGTH]!r}" if name else "several operations"
            return refused([GraphQLError(f"The document has {has}. Set operationName to the name of one that it has.")])
        if not operation.scopes <= principal.scopes:
            missing = next(it for it in operation.required_scopes if it not in principal.scopes)
            return denied(principal, operation.required_scopes[missing], missing)
        if request.wants_resources and Scope.ADMIN not in principal.scopes:
            return denied(principal, "Resource tracking", Scope.ADMIN)
        try:
            estimate = operation.estimate or self._documents.estimate(prepared, operation, request.variables or {})
            figures, lacks_figures = None, False
            if estimate.requested >= FIGURES_FROM and self._figures is not None:
                figures = self._figures.known(principal.tenant_id)
                if figures is not None:
                    estimate = self._documents.estimate(prepared, operation, request.variables or {}, figures)
                else:
                    lacks_figures = estimate.requested > self._limits.cost or estimate.reads >= FIGURES_FROM
        except LimitExceeded as error:
            return refused([graphql_error(error)], prepared.document)
        if not lacks_figures and estimate.requested > self._limits.cost:
            return self._too_expensive(estimate)
        execution = self._execution(request, prepared, operation)
        return PreparedOperation(request, principal, prepared, operation, estimate, execution, figures, lacks_figures)

    async def estimate_again(self, prepared: PreparedOperation) -> PreparedOperation | Response:
        """Estimate an operation that lacks figures again when those of the tenant are known. Refuse it if it costs too much."""
        assert self._figures is not None, "an operation lacks figures only where they are read"
        estimate, figures = prepared.estimate, None
        try:
            figures = await self._figures.wait_for_first(prepared.principal.tenant_id)
        except Unavailable as error:
            if estimate.requested > self._limits.cost:
                return refused([graphql_error(error)])
        if figures is not None:
            variables = prepared.request.variables or {}
            estimate = self._documents.estimate(prepared.prepared_document, prepared.operation, variables, figures)
        if estimate.requested > self._limits.cost:
            return self._too_expensive(estimate)
        return prepared._replace(estimate=estimate, figures=figures, lacks_figures=False)

    def _too_expensive(self, estimate: CostEstimate) -> Response:
        """Return the response that refuses an operation for its estimated cost."""
        error = LimitExceeded(
            f"The estimated cost of the operation is {estimate.requested}. At most {self._limits.cost} is allowed. Request"
            " smaller pages, or fewer lists and walks below lists."
        )
        cost = OperationCost(estimate.requested, 0, self._limits.cost)
        return refused([graphql_error(error)])._replace(cost=cost)

    def plan(self, prepared: PreparedOperation) -> PreparedOperation:
        """Return an operation with its plan, which takes long if it has to be compiled."""
        variables = prepared.execution.variables
        if prepared.is_planned or variables is None:
            return prepared
        return prepared.with_plan(self._documents.plan(prepared.prepared_document, prepared.operation, variables))

    async def run(self, prepared: PreparedOperation, request_id: str) -> Response:
        """Run a planned operation. A mutation that conflicts with another writer is run again."""
        started = time.perf_counter()
        principal, operation, plan = prepared.principal, prepared.operation, prepared.execution.plan
        writes = operation.writes
        if plan is not None and plan.constants is not None and not principal.operator:
            return self._response(prepared, plan.constants.copy(), [], QueryStats(), started)
        author = principal.author(request_id, operation.audit_text) if writes or principal.operator else None
        if author is not None and prepared.uses_database and not writes:
            # before the read, so that no read by an operator is missing from the audit log
            await self._audit_read(principal, author)
        stats = QueryStats()
        if writes:
            attempt = await retry_on_conflict(
                lambda: self._attempt(prepared, request_id, author, stats),
                attempts=ATTEMPTS,
                max_delay=lambda number, took: 0.02 * number,
                is_conflict=lambda attempt: attempt.conflicted,
            )
        else:
            attempt = await self._attempt(prepared, request_id, author, stats)
        result, commit_errors, context = attempt.result, attempt.commit_errors, attempt.context
        if author is not None and writes and attempt.opened and not attempt.committed:
            await self._audit_failure(principal, author, [*commit_errors, *(result.errors or ())])
        # the transaction has ended: a slow service occupies no connection, and a failing one undoes nothing
        errors = [*(result.errors or ()), *commit_errors]
        if errors:
            log_unavailable(map(error_behind, errors))
        # an error before execution, such as an invalid variable, has no path; one during execution has
        ran = bool(commit_errors) or not result.errors or any(error.path is not None for error in result.errors)
        actual = context.cost_meter.total + (prepared.estimate.writes + prepared.estimate.reads if ran else 0)
        if context.records and result.data is not None:
            request = prepared.request
            caller = Caller(
                request_id,
                principal.tenant,
                principal.tenant_id,
                principal.rate_key,
                request.authorization,
                request.traceparent,
            )
            errors += await resolve_records(result.data, context.records, self._fetch, caller)
            actual += FETCH_COST * len(context.records)
        described = [describe(error, prepared.document, may_read=Scope.READ in principal.scopes) for error in errors]
        return self._response(prepared, result.data, described, stats, started, ran=ran, actual=actual)

    def _response(
        self,
        prepared: PreparedOperation,
        data: dict[str, Any] | None,
        errors: list[dict[str, Any]],
        stats: QueryStats,
        started: float,
        *,
        ran: bool = True,
        actual: int = 0,
    ) -> Response:
        resources: dict[str, Any] | None = None
        if prepared.request.wants_resources:
            resources = {
                "statements": stats.statements,
                "rows": stats.rows,
                "databaseMilliseconds": round(stats.seconds * 1000, 3),
                "totalMilliseconds": round((time.perf_counter() - started) * 1000, 3),
            }
        planned = prepared.execution.planned
        actual += planned.cost if planned is not None else 0
        cost = OperationCost(prepared.estimate.requested, actual, self._limits.cost)
        return Response(data, errors, ran, prepared.operation.label, resources, cost)

    def _execution(self, request: Request, prepared: PreparedDocument, operation: DocumentOperation) -> Execution:
        """Coerce the variables of an operation, and find its plan if it is kept."""
        variables = _NO_VARIABLES
        if operation.node.variable_definitions:
            coerced = operation.coercion.values(request.variables or {})
            if isinstance(coerced, list):
                return Execution(GENERAL, None, coerced)
            variables = coerced
        return Execution(operation.planned or self._documents.find_plan(prepared, operation, variables), variables)

    def _context(self, prepared: PreparedOperation, request_id: str, transaction: Transaction) -> Context:
        """Build the context of an attempt."""
        return Context(
            prepared.principal,
            request_id,
            self._limits,
            self._key_signer,
            transaction,
            self._find_grants,
            self._cipher_of_tenant,
            prepared.figures,
        )

    def _transaction(
        self, prepared: PreparedOperation, author: Author | None, stats: QueryStats, *, is_prefetched: bool = False
    ) -> Transaction:
        """Build the transaction of an attempt."""
        return Transaction(
            self._database,
            prepared.principal.tenant_id,
            author,
            stats,
            writes=prepared.writes,
            plan=prepared.execution.plan,
            counted_links=self._limits.walk_bounds.links,
            is_prefetched=is_prefetched,
        )

    async def _attempt(
        self, prepared: PreparedOperation, request_id: str, author: Author | None, stats: QueryStats
    ) -> "_Attempt":
        """Run the operation once, in a separate transaction, and commit a mutation that succeeded. Adds to `stats`."""
        plan = prepared.execution.plan
        if plan is not None and plan.prefetch is not None:
            prefetched = await self._attempt_prefetched(prepared, plan, plan.prefetch, request_id, stats)
            if prefetched is not None:
                return prefetched
        writes = prepared.writes
        transaction = self._transaction(prepared, author, stats)
        context = self._context(prepared, request_id, transaction)
        try:
            result = await self._execute(prepared, context)
        except asyncio.CancelledError:
            await transaction.abort()
            raise
        except BaseException:
            await transaction.rollback()
            raise
        finally:
            context.release()
        # Every mutation field is non-null: where one failed or did not run, there is no data. Nor is there any if the payload of
        # one failed, which undoes it unless it has committed by itself.
        if not writes or (result.data is None and not transaction.is_committed):
            await transaction.rollback()
            conflicted = writes and any(isinstance(it.original_error, TransactionConflict) for it in result.errors or ())
            return _Attempt(result, context, opened=transaction.opened, conflicted=conflicted)
        try:
            await transaction.commit()
        except HeadwaterError as error:
            failed = ExecutionResult(None, result.errors)
            return _Attempt(failed, context, opened=True, commit_errors=[graphql_error(error)])
        return _Attempt(result, context, opened=transaction.opened, committed=True)

    async def _attempt_prefetched(
        self, prepared: PreparedOperation, plan: Plan, prefetch: Prefetch, request_id: str, stats: QueryStats
    ) -> "_Attempt | None":
        """Run the operation with the data of one statement. Return None if that does not suit its arguments, or if the prefetch
        of its plan failed: a walk that fails shall cost the walk and not its root."""
        variables = prepared.execution.variables
        assert variables is not None, "an operation without variables that are valid has no plan"
        transaction = self._transaction(prepared, None, stats, is_prefetched=True)
        context = self._context(prepared, request_id, transaction)
        try:
            if not await prefetch(context, variables):
                return None
            transaction.seal()
            result = await run_plan(plan, variables, context)
        except asyncio.CancelledError:
            await transaction.abort()
            raise
        except Unavailable as error:
            # separate statements would wait for a connection once more
            data = {it.key: it.constant for it in plan.root.fields}
            (root,) = (it for it in plan.root.fields if it.constant is None)
            failed = ExecutionResult(data, [located_error(error, root.nodes, [root.key])])
            return _Attempt(failed, context, opened=True)
        except HeadwaterError:
            return None
        except Exception:
            log.warning("prefetch failed", operation=prepared.operation.audit_text, exc_info=True)
            return None
        finally:
            context.release()
        return None if transaction.was_reopened else _Attempt(result, context, opened=True)

    async def _execute(self, prepared: PreparedOperation, context: Context) -> ExecutionResult:
        """Execute the operation by its plan, or by graphql-core if it cannot be planned."""
        execution = prepared.execution
        if execution.variables is None:
            return ExecutionResult(None, list(execution.errors))
        plan = execution.plan
        if plan is not None:
            return await run_plan(plan, execution.variables, context)
        request = prepared.request
        return await execute_generally(self._schema, prepared.document, request.variables, request.operation_name, context)

    async def _audit_read(self, principal: Principal, author: Author) -> None:
        """Record in the audit log that an operator reads. A database that accepts no writes does not fail the read."""
        try:
            await self._database.record_audit(principal.tenant_id, author, READ)
        except ReadOnly as error:
            if self._unaudited.is_due():
                log.warning("read by an operator not audited", operation=author.operation, reason=error.message)

    async def _audit_failure(self, principal: Principal, author: Author, errors: Sequence[GraphQLError]) -> None:
        """Record in the audit log that a mutation was not committed."""
        try:
            await self._database.record_audit(principal.tenant_id, author, code_of(errors[0]))
        except HeadwaterError as error:
            # the caller gets the error of the mutation, which matters more
            log.warning("failed mutation not audited", operation=author.operation, reason=error.message)


class _Attempt(NamedTuple):
    """One attempt at an operation."""

    result: ExecutionResult
    context: Context
    # it used the database
    opened: bool
    committed: bool = False
    # it was rolled back because of a conflict with another writer
    conflicted: bool = False
    commit_errors: Sequence[GraphQLError] = ()
