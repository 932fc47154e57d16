"""Runs one request: parse, validate, authorise, execute in a transaction, describe what failed."""

import asyncio
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    execute,
    get_named_type,
    get_operation_ast,
    parse,
    separate_operations,
    validate,
    visit,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.base import StrawberryObjectDefinition

from db.connection import Author, Database
from db.errors import Forbidden, HeadwaterError, Interrupted
from schema.context import Context, Principal
from schema.errors import describe
from schema.federation import SubgraphSchema
from schema.loaders import Loaders
from schema.scope import Scope, scope_of
from schema.transaction import Transaction

# How often a mutation that lost against another writer is tried in all.
ATTEMPTS = 5
DOCUMENTS_KEPT = 500
# A longer document is read anew each time, so that what is kept stays small.
LONGEST_DOCUMENT_KEPT = 16_384


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks to be run."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What became of it. Where nothing was run there is no data at all, which is not the same as null."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    ran: bool
    operation: str = ""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that was parsed and validated, with what each of its operations needs."""

    document: DocumentNode | None
    errors: list[GraphQLError] = field(default_factory=list)
    needs: dict[str, dict[Scope, str]] = field(default_factory=dict)


class Executor:
    """One a process: the schema, the database, and the documents it has seen."""

    def __init__(self, schema: SubgraphSchema, database: Database, *, max_page_size: int) -> None:
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._max_page_size = max_page_size
        self._scopes = declared_scopes(schema)
        self._remembered = lru_cache(maxsize=DOCUMENTS_KEPT)(self._prepare)

    async def execute(self, request: Request, principal: Principal, request_id: str) -> Response:
        remembers = len(request.query) <= LONGEST_DOCUMENT_KEPT
        prepared = self._remembered(request.query) if remembers else self._prepare(request.query)
        if prepared.document is None or prepared.errors:
            return _refused(prepared.errors, prepared.document)
        operation = get_operation_ast(prepared.document, request.operation_name)
        if operation is None:
            asked = f"is no operation called {request.operation_name!r}" if request.operation_name else "are several operations"
            return _refused([GraphQLError(f"There {asked} in the document. Name one of them in operationName.")])
        for scope, coordinate in prepared.needs[operation.name.value if operation.name else ""].items():
            if scope not in principal.scopes:
                reason = Forbidden(f"{coordinate} needs the scope {scope.value}, which these credentials do not have.")
                return _refused([GraphQLError(reason.message, original_error=reason)])
        result = await self._run(prepared.document, operation, request, principal, request_id)
        errors = [describe(error, prepared.document) for error in result.errors or ()]
        # graphql-core gives request errors, such as a bad variable, no path; a field's error always has one
        ran = not result.errors or any(error.path for error in result.errors) or result.data is not None
        name = operation.name.value if operation.name else ""
        return Response(result.data, errors, ran, f"{operation.operation.value} {name}".strip())

    async def _run(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        request: Request,
        principal: Principal,
        request_id: str,
    ) -> ExecutionResult:
        writes = operation.operation is OperationType.MUTATION
        for attempt in range(1, ATTEMPTS + 1):
            author = Author(principal.actor, request_id)
            transaction = Transaction(self._database, principal.tenant_id, author, writes=writes)
            context = Context(principal, request_id, self._max_page_size, transaction, Loaders(transaction.reader))
            try:
                result = execute(
                    self._schema,
                    document,
                    context_value=context,
                    variable_values=request.variables,
                    operation_name=request.operation_name,
                    executor_class=StrawberryGraphQLCoreExecutionContext,
                )
                finished = result if isinstance(result, ExecutionResult) else await result
            except BaseException:
                await transaction.leave()
                raise
            if not writes or _failed(finished):
                await transaction.leave()
                if writes and attempt < ATTEMPTS and any(_was_interrupted(error) for error in finished.errors or ()):
                    # writers that met once should not meet again
                    await asyncio.sleep(random.uniform(0, 0.02 * attempt))
                    continue
                return finished
            try:
                await transaction.keep()
            except HeadwaterError as error:
                return ExecutionResult(None, [GraphQLError(error.message, original_error=error, path=[])])
            return finished
        raise AssertionError("the last attempt returns")

    def _prepare(self, query: str) -> _Prepared:
        try:
            document = parse(query)
        except GraphQLError as error:
            return _Prepared(None, [error])
        if errors := validate(self._schema, document, max_errors=20):
            return _Prepared(document, errors)
        return _Prepared(document, needs={name: self._needs(part) for name, part in separate_operations(document).items()})

    def _needs(self, document: DocumentNode) -> dict[Scope, str]:
        """The scopes that a document asks for, each with the first field that does."""
        types = TypeInfo(self._schema)
        found = _Needs(types, self._scopes)
        visit(document, TypeInfoVisitor(types, found))
        return found.needs


class _Needs(Visitor):
    def __init__(self, types: TypeInfo, scopes: dict[tuple[str, str], Scope]) -> None:
        super().__init__()
        self._types = types
        self._scopes = scopes
        self.needs: dict[Scope, str] = {}

    def enter_field(self, *_: Any) -> None:
        parent, known = self._types.get_parent_type(), self._types.get_field_def()
        if parent is None or known is None:
            return
        name = get_named_type(parent).name
        for field_name, definition in getattr(parent, "fields", {}).items():
            if definition is known and (scope := self._scopes.get((name, field_name))):
                self.needs.setdefault(scope, f"{name}.{field_name}")


def declared_scopes(schema: SubgraphSchema) -> dict[tuple[str, str], Scope]:
    """What each field of the schema says it needs, by type and name."""
    scopes: dict[tuple[str, str], Scope] = {}
    for type_name, known in schema.schema_converter.type_map.items():
        definition = known.definition
        if isinstance(definition, StrawberryObjectDefinition) and not definition.is_input:
            for declared in definition.fields:
                if scope := scope_of(declared):
                    scopes[type_name, schema.config.name_converter.get_graphql_name(declared)] = scope
    # Federation's own field: whoever reads entities through a gateway reads.
    scopes["Query", "_entities"] = Scope.READ
    return scopes


def _failed(result: ExecutionResult) -> bool:
    """Whether a mutation itself failed. A read below it that failed undoes nothing."""
    return any(error.path is None or len(error.path) <= 1 for error in result.errors or ())


def _was_interrupted(error: GraphQLError) -> bool:
    return isinstance(error.original_error, Interrupted)


def _refused(errors: list[GraphQLError], document: DocumentNode | None = None) -> Response:
    return Response(None, [describe(error, document) for error in errors], ran=False)
