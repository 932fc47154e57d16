"""Runs one request: parse, validate, authorise, execute in a transaction, describe what failed."""

import asyncio
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    ExecutionResult,
    FragmentDefinitionNode,
    FragmentSpreadNode,
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
# Characters of the documents that are kept parsed; each takes some 200 times its size.
DOCUMENTS_KEPT = 262_144


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


class _Prepared:
    """A document that was parsed and validated, with what each of its operations that was asked for needs."""

    def __init__(self, document: DocumentNode | None, errors: list[GraphQLError]) -> None:
        self.document = document
        self.errors = errors
        self.needs: dict[OperationDefinitionNode, dict[Scope, str]] = {}


class Executor:
    """One a process: the schema, the database, and the documents it has seen."""

    def __init__(self, schema: SubgraphSchema, database: Database, *, max_page_size: int) -> None:
        self._schema: GraphQLSchema = schema._schema
        self._database = database
        self._max_page_size = max_page_size
        self._scopes = declared_scopes(schema)
        self._documents: OrderedDict[str, _Prepared] = OrderedDict()
        self._kept = 0

    async def execute(self, request: Request, principal: Principal, request_id: str) -> Response:
        prepared = self._prepare(request.query)
        if prepared.document is None or prepared.errors:
            return _refused(prepared.errors, prepared.document)
        operation = get_operation_ast(prepared.document, request.operation_name)
        if operation is None:
            asked = f"is no operation called {request.operation_name!r}" if request.operation_name else "are several operations"
            return _refused([GraphQLError(f"There {asked} in the document. Name one of them in operationName.")])
        for scope, coordinate in self._needs(prepared, operation).items():
            if scope not in principal.scopes:
                reason = Forbidden(f"{coordinate} needs the scope {scope.value}, which these credentials do not have.")
                return _refused([GraphQLError(reason.message, original_error=reason)])
        result, lost = await self._run(prepared.document, operation, request, principal, request_id)
        errors = [describe(error, prepared.document) for error in [*(result.errors or ()), *lost]]
        # graphql-core gives request errors, such as a bad variable, no path; one that came while it ran has one
        ran = bool(lost) or not result.errors or any(error.path is not None for error in result.errors)
        name = operation.name.value if operation.name else ""
        return Response(result.data, errors, ran, f"{operation.operation.value} {name}".strip())

    async def _run(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        request: Request,
        principal: Principal,
        request_id: str,
    ) -> tuple[ExecutionResult, list[GraphQLError]]:
        """What came of it; and, should the commit have failed, why."""
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
            # every mutation field is non-null: where one failed, or was not reached, there is no data
            if not writes or finished.data is None:
                await transaction.leave()
                if writes and attempt < ATTEMPTS and any(_was_interrupted(error) for error in finished.errors or ()):
                    # writers that met once should not meet again
                    await asyncio.sleep(random.uniform(0, 0.02 * attempt))
                    continue
                return finished, []
            try:
                await transaction.keep()
            except HeadwaterError as error:
                return ExecutionResult(None, finished.errors), [GraphQLError(error.message, original_error=error)]
            return finished, []
        raise AssertionError("the last attempt returns")

    def _prepare(self, query: str) -> _Prepared:
        """The document of a query; a valid one is remembered, and the longest unused forgotten."""
        if (known := self._documents.get(query)) is not None:
            self._documents.move_to_end(query)
            return known
        try:
            document = parse(query)
        except GraphQLError as error:
            return _Prepared(None, [error])
        prepared = _Prepared(document, validate(self._schema, document, max_errors=20))
        if not prepared.errors:
            self._documents[query] = prepared
            self._kept += len(query)
            while self._kept > DOCUMENTS_KEPT:
                self._kept -= len(self._documents.popitem(last=False)[0])
        return prepared

    def _needs(self, prepared: _Prepared, operation: OperationDefinitionNode) -> dict[Scope, str]:
        """The scopes that an operation asks for, each with the first field that does."""
        if operation not in prepared.needs:
            assert prepared.document is not None
            types = TypeInfo(self._schema)
            found = _Needs(types, self._scopes)
            visit(_alone(operation, prepared.document), TypeInfoVisitor(types, found))
            prepared.needs[operation] = found.needs
        return prepared.needs[operation]


def _alone(operation: OperationDefinitionNode, document: DocumentNode) -> DocumentNode:
    """One operation with the fragments that it uses."""
    fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
    used: dict[str, FragmentDefinitionNode] = {}
    waiting: list[ExecutableDefinitionNode] = [operation]
    while waiting:
        spreads = _Spreads()
        visit(waiting.pop(), spreads)
        for name in spreads.names - used.keys():
            used[name] = fragments[name]
            waiting.append(fragments[name])
    return DocumentNode(definitions=(operation, *used.values()))


class _Spreads(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self.names.add(node.name.value)


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


def _was_interrupted(error: GraphQLError) -> bool:
    return isinstance(error.original_error, Interrupted)


def _refused(errors: list[GraphQLError], document: DocumentNode | None = None) -> Response:
    return Response(None, [describe(error, document) for error in errors], ran=False)
