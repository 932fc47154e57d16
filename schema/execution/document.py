"""Documents: parsed and validated once, cached, and identified by their hash."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.values import VariableValues
from graphql.validation import MaxIntrospectionDepthRule

from db.errors import Forbidden, LimitExceeded, NotPersisted
from db.lineage.figures import Figures
from schema.execution.authorization import declared_scopes, required_scopes
from schema.execution.document_cache import DocumentCache
from schema.execution.federation import SubgraphSchema
from schema.language.cost_estimator import CostEstimate, CostEstimates, CostEstimator
from schema.language.cost_model import CostModel
from schema.language.document_limits import check_document
from schema.language.errors import graphql_error
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.planning.cache import DocumentPlans, PlannedOperation
from schema.planning.coercion import InputCoercions, VariableCoercion
from schema.planning.planner import Planner

# Characters of all cached documents, whose parsed form takes about 200 times their size, and of one of them, so that a tenant can
# have several beside those of others. Plans count as their weight in characters.
CACHE_CHARACTERS = 262_144
CACHED_DOCUMENT_CHARACTERS = CACHE_CHARACTERS // 8

# Characters of an operation that the audit log keeps, and of its name that each log keeps. The limit of the name leaves room for
# the root fields.
OPERATION_LENGTH = 500
NAME_LENGTH = 100

# Characters of a document, spaces and comments included, for each token that it may have: graphql-core reads them one by one.
CHARACTERS_PER_TOKEN = 32

# Prefix of a document id that is a hash, as the appendix on persisted documents of GraphQL over HTTP defines it.
HASH_PREFIX = "sha256:"

# document_limits measures the depth of introspection.
RULES = tuple(it for it in specified_rules if it is not MaxIntrospectionDepthRule)
# Parts of the messages with which graphql-core refuses a document that is too large to parse or to validate.
_TOO_MANY_TOKENS, _TOO_DEEP, _TOO_MUCH_TO_COMPARE = "Document contains more than", "nested too deeply", "Validation aborted."


@dataclass(frozen=True, slots=True)
class RegisteredDocuments:
    """Documents that are known from the start: their texts by id. If exclusive, no others are run."""

    texts: Mapping[str, str] = field(default_factory=dict)
    exclusive: bool = False


class DocumentOperation:
    """An operation of a document, and what is computed for it once."""

    __slots__ = (
        "audit_text",
        "coercion",
        "estimate",
        "label",
        "node",
        "planned",
        "required_scopes",
        "scopes",
        "uses_database",
        "writes",
    )

    def __init__(
        self,
        node: OperationDefinitionNode,
        document: DocumentNode,
        required_scopes: dict[Scope, str],
        coercion: VariableCoercion,
    ) -> None:
        name = node.name.value if node.name else ""
        self.node = node
        self.coercion = coercion
        # each scope with the coordinate of the first field that requires it
        self.required_scopes = required_scopes
        self.scopes = frozenset(required_scopes)
        self.writes = node.operation is OperationType.MUTATION
        # it selects more than the schema itself
        self.uses_database = not self.scopes <= {Scope.SCHEMA}
        # set when it is first estimated, if it has no variables
        self.estimate: CostEstimate | None = None
        # set when it is first found, if no @skip or @include depends on variables
        self.planned: PlannedOperation | None = None
        self.label = f"{node.operation.value} {name[:NAME_LENGTH]}".strip()
        # as the audit log records it: its type, its name and its root fields
        fields = " ".join(root_fields(node, document))
        self.audit_text = f"{self.label} {{ {fields} }}"[:OPERATION_LENGTH]


@dataclass(slots=True)
class PreparedDocument:
    """A parsed document, or the errors that prevent it from being run. Caches what is computed for its operations."""

    document: DocumentNode
    errors: list[GraphQLError]
    # by the name in the request, which may be left out if there is only one
    operations: dict[str | None, DocumentOperation] = field(default_factory=dict)
    cost_estimates: dict[str, CostEstimates] = field(default_factory=dict)
    plans: DocumentPlans = field(default_factory=DocumentPlans)
    # of the text, by which the cache finds it; empty: it was not cached
    hashed: str = ""


class Documents:
    """Parses and plans documents. Keeps all registered documents and a cache of the valid ones that were used last."""

    def __init__(self, schema: SubgraphSchema, limits: Limits, registered: RegisteredDocuments | None = None) -> None:
        self._schema = schema._schema
        self._limits = limits
        self._planner = Planner(schema, schema.prefetches)
        self._estimator = CostEstimator(CostModel(self._schema, limits))
        self._scopes = declared_scopes(schema)
        self._coercions = InputCoercions()
        self._cache: DocumentCache[PreparedDocument] = DocumentCache(CACHE_CHARACTERS)
        # hashes of all documents that are kept, by text
        self._hashes: dict[str, str] = {}
        registered = registered or RegisteredDocuments()
        self._exclusive = registered.exclusive
        self._hashes_by_id = {document_id: document_hash(text) for document_id, text in registered.texts.items()}
        self._hashes.update({text: self._hashes_by_id[document_id] for document_id, text in registered.texts.items()})
        self._registered = {
            self._hashes_by_id[document_id]: self._parse(text, limits.tokens) for document_id, text in registered.texts.items()
        }
        for document in self._registered.values():
            self._plan_registered(document)

    def invalid_registered(self) -> dict[str, list[GraphQLError]]:
        """Return the errors of the registered documents that cannot be run, by document id."""
        return {
            document_id: errors
            for document_id, hashed in self._hashes_by_id.items()
            if (errors := self._registered[hashed].errors)
        }

    def needs_parsing(self, query: str | None) -> bool:
        """True if `parse` would have to parse and validate this text."""
        if query is None or self._exclusive:
            return False
        return query not in self._hashes and len(query) <= self._limits.tokens * CHARACTERS_PER_TOKEN

    def by_id(self, document_id: str, tenant_id: int) -> PreparedDocument:
        """Return the document with an id or hash. Raise NotPersisted unless it is registered or the tenant has sent its text."""
        by_hash = document_id.startswith(HASH_PREFIX)
        hashed = document_id.removeprefix(HASH_PREFIX) if by_hash else self._hashes_by_id.get(document_id, "")
        if (registered := self._registered.get(hashed)) is not None:
            return registered
        if (cached := self._cache.find(hashed, tenant_id)) is None:
            raise NotPersisted
        return cached

    def read(self, query: str, *, is_anonymous: bool = False) -> PreparedDocument:
        """Parse and validate a text. May be called in a thread.

        Validation leaves up to 30 000 objects in cycles. Collections during it would keep them, and the garbage of many texts
        would be collected at once, for half a second. So there are none until it ends. Then the next allocation begins one if
        there are many new objects.
        """
        tokens = min(self._limits.tokens, self._limits.anonymous_tokens) if is_anonymous else self._limits.tokens
        if len(query) > (characters := tokens * CHARACTERS_PER_TOKEN):
            message = f"The document has {len(query)} characters. At most {characters} are allowed. Send values as variables."
            return PreparedDocument(DocumentNode(definitions=()), [graphql_error(LimitExceeded(message))])
        gc.disable()
        try:
            return self._parse(query, tokens)
        finally:
            gc.enable()

    def parse(
        self, query: str, tenant_id: int, *, is_anonymous: bool = False, read: PreparedDocument | None = None
    ) -> PreparedDocument:
        """Return the document with a text that a tenant sent, read unless it was before, and cache it if it is valid."""
        hashed = self._hashes.get(query) or document_hash(query)
        if (registered := self._registered.get(hashed)) is not None:
            return registered
        if self._exclusive:
            raise Forbidden(
                "This service runs only registered documents. Send the id of one as documentId, or its exact text as query."
                " HEADWATER_PERSISTED_DOCUMENTS registers documents."
            )
        if (cached := self._cache.send(hashed, tenant_id)) is not None:
            return cached
        prepared = read or self.read(query, is_anonymous=is_anonymous)
        if not prepared.errors and len(query) <= CACHED_DOCUMENT_CHARACTERS:
            prepared.hashed = hashed
            prepared.plans.max_weight = CACHED_DOCUMENT_CHARACTERS - len(query)
            self._hashes[query] = hashed
            self._forget(self._cache.add(hashed, query, prepared, tenant_id))
        return prepared

    def operation(self, prepared: PreparedDocument, name: str | None) -> DocumentOperation | None:
        """Return the operation of a name, or the only one; None: there is no such, or several."""
        operation = prepared.operations.get(name)
        if operation is None and (node := get_operation_ast(prepared.document, name)) is not None:
            scopes = required_scopes(node, prepared.document, self._schema, self._scopes)
            operation = prepared.operations[name] = DocumentOperation(
                node, prepared.document, scopes, VariableCoercion(self._schema, node, self._coercions)
            )
        return operation

    def estimate(
        self,
        prepared: PreparedDocument,
        operation: DocumentOperation,
        variables: dict[str, Any],
        figures: Figures | None = None,
    ) -> CostEstimate:
        """Return the cost that an operation is expected to have with these variables, at most that which the schema announces."""
        estimate = self._estimator.estimate(operation.node, prepared.document, variables, prepared.cost_estimates, figures)
        if figures is None and not operation.node.variable_definitions:
            operation.estimate = estimate
        return estimate

    def find_plan(
        self, prepared: PreparedDocument, operation: DocumentOperation, variables: VariableValues
    ) -> PlannedOperation | None:
        """Return the plan that is kept for an operation, and note it if there is only one; None: it has to be compiled."""
        planned = prepared.plans.find(operation.node, prepared.document, variables)
        if planned is not None and not prepared.plans.conditions(operation.node, prepared.document):
            operation.planned = planned
        return planned

    def plan(self, prepared: PreparedDocument, operation: DocumentOperation, variables: VariableValues) -> PlannedOperation:
        """Return the plan of an operation, compiled if it is not kept with its document."""
        weight = prepared.plans.weight
        planned = prepared.plans.plan(self._planner, operation.node, prepared.document, variables)
        self.find_plan(prepared, operation, variables)
        # a document that was evicted meanwhile takes its plans with it
        self._forget(self._cache.grow(prepared.hashed, prepared, prepared.plans.weight - weight))
        return planned

    def _plan_registered(self, prepared: PreparedDocument) -> None:
        """Plan those operations of a registered document that have one plan only, so that no request waits for it."""
        if prepared.errors:
            return
        for node in prepared.document.definitions:
            if isinstance(node, OperationDefinitionNode) and not prepared.plans.conditions(node, prepared.document):
                prepared.plans.plan(self._planner, node, prepared.document, VariableValues({}, {}))

    def _forget(self, texts: list[str]) -> None:
        """Forget the hashes of documents that are no longer cached."""
        for text in texts:
            del self._hashes[text]

    def _parse(self, text: str, tokens: int) -> PreparedDocument:
        try:
            document = parse(text, max_tokens=tokens)
            _unlink_tokens(document)
            check_document(document, self._limits)
        except (GraphQLError, LimitExceeded) as error:
            # its frames refer to the tokens, and those of the callers to this error
            error.__traceback__ = None
            refusal = graphql_error(error) if isinstance(error, LimitExceeded) else _limit_error(error, tokens) or error
            return PreparedDocument(DocumentNode(definitions=()), [refusal])
        errors = validate(self._schema, document, RULES, max_errors=20)
        return PreparedDocument(document, [_limit_error(it, tokens) or _literal_error(it) or it for it in errors])


def _unlink_tokens(document: DocumentNode) -> None:
    """Let the tokens of a document refer to the next one only, so that it is freed as soon as nothing refers to it.

    Each refers to the previous one, too, which nothing reads: a cycle, which only a collection of all objects would free.
    """
    token = document.loc.start_token if document.loc else None
    while token is not None:
        token.prev = None
        token = token.next


def _limit_error(error: GraphQLError, tokens: int) -> GraphQLError | None:
    """Return the error of the limit that a document exceeds, if that is why graphql-core refused it."""
    if _TOO_MANY_TOKENS in error.message:
        message = f"The document has more than {tokens} tokens. At most {tokens} are allowed. Split it into several requests."
    elif _TOO_DEEP in error.message:
        message = "The document is nested too deeply to be parsed. Nest its selections and values less deeply."
    elif error.message == _TOO_MUCH_TO_COMPARE:
        message = "Validation would have to compare too many fields with the same name. Select each field once."
    else:
        return None
    return graphql_error(LimitExceeded(message))


def _literal_error(error: GraphQLError) -> GraphQLError | None:
    """Return the error of a literal that Python refuses to convert: an integer of thousands of digits is out of any range."""
    if not isinstance(error.original_error, ValueError):
        return None
    return GraphQLError("Int cannot represent an integer of thousands of digits. Give one of at most 32 bits.", error.nodes)


def root_fields(operation: OperationDefinitionNode, document: DocumentNode) -> list[str]:
    """Return the names of the fields at the root of an operation, each once, those of fragments included."""
    fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
    names: dict[str, None] = {}

    def collect(selection_set: SelectionSetNode) -> None:
        for node in selection_set.selections:
            match node:
                case FieldNode():
                    names[node.name.value] = None
                case FragmentSpreadNode():
                    # popped: a fragment that is spread again adds nothing
                    if (fragment := fragments.pop(node.name.value, None)) is not None:
                        collect(fragment.selection_set)
                case InlineFragmentNode():
                    collect(node.selection_set)
                case _:
                    raise AssertionError("a selection is a field, a fragment spread or an inline fragment")

    collect(operation.selection_set)
    return list(names)


def document_hash(text: str) -> str:
    """Return the SHA-256 of a document's text: 64 hexadecimal digits."""
    return sha256(text.encode()).hexdigest()
