"""Documents: parsed and validated once, named by their hash, and what each of their operations needs to be allowed."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.validation import MaxIntrospectionDepthRule
from strawberry.types.base import StrawberryObjectDefinition

from db.errors import Forbidden, LimitExceeded, NotPersisted
from schema.execution.federation import SubgraphSchema
from schema.language.cost import CostEstimate, CostEstimates, CostModel
from schema.language.limits import Limits, check
from schema.language.scopes import Scope, scope_of

# Characters of the documents that are kept parsed, which take some 200 times their size; and of one, so that one alone does not
# push out all the others.
DOCUMENTS_KEPT = 262_144
DOCUMENT_KEPT = DOCUMENTS_KEPT // 8

# How a document is named by its text, as the appendix on persisted documents of GraphQL over HTTP has it.
BY_HASH = "sha256:"

# Introspection has a bound of its own here.
RULES = tuple(it for it in specified_rules if it is not MaxIntrospectionDepthRule)
# How graphql-core says that it gave up, in its errors of syntax and of validation.
_TOO_MANY_TOKENS, _TOO_DEEP, _TOO_MUCH_TO_COMPARE = "Document contains more than", "nested too deeply", "Validation aborted."


@dataclass(frozen=True, slots=True)
class Registered:
    """Documents that are always known: the text of each, by its id; and whether no others are run."""

    texts: Mapping[str, str] = field(default_factory=dict)
    only: bool = False


@dataclass(slots=True)
class Prepared:
    """A document, or why there is none. What is told of its operations is filled in as they are asked for, by their names."""

    document: DocumentNode
    errors: list[GraphQLError]
    needs: dict[str, dict[Scope, str]] = field(default_factory=dict)
    reckonings: dict[str, CostEstimates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A document, and who has sent its text: to nobody else does its name tell that it was sent."""

    text_length: int
    prepared: Prepared
    tenants: set[int]


class Documents:
    """Reads documents, and remembers the valid ones that were used last, and all that are registered."""

    def __init__(self, schema: SubgraphSchema, limits: Limits, registered: Registered | None = None) -> None:
        self._schema = schema._schema
        self._limits = limits
        self._prices = CostModel(self._schema, limits)
        self._scopes = declared_scopes(schema)
        # both by the hash of their text
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._size = 0
        registered = registered or Registered()
        self._only_registered = registered.only
        self._hashes = {name: hash_of(text) for name, text in registered.texts.items()}
        self._registered = {self._hashes[name]: self._read(text) for name, text in registered.texts.items()}

    def unfit(self) -> dict[str, list[GraphQLError]]:
        """The registered documents that would not run, by their ids, and why."""
        return {name: errors for name, key in self._hashes.items() if (errors := self._registered[key].errors)}

    def knows(self, query: str | None) -> bool:
        """Whether there is nothing to be read: a document is only named, is remembered, or is not one of those that are run."""
        if query is None or self._only_registered:
            return True
        key = hash_of(query)
        return key in self._registered or key in self._remembered

    def named(self, name: str, tenant_id: int) -> Prepared:
        """The document of that name, if it is registered or that tenant has sent its text."""
        key = name.removeprefix(BY_HASH) if name.startswith(BY_HASH) else self._hashes.get(name, "")
        if (registered := self._registered.get(key)) is not None:
            return registered
        if (remembered := self._remembered.get(key)) is None or tenant_id not in remembered.tenants:
            raise NotPersisted
        self._remembered.move_to_end(key)
        return remembered.prepared

    def read(self, query: str, tenant_id: int) -> Prepared:
        """The document of a query, which that tenant sent."""
        key = hash_of(query)
        if (registered := self._registered.get(key)) is not None:
            return registered
        if self._only_registered:
            raise Forbidden(
                "Only documents that are registered with the service are run here. Send the id of one as documentId, or its text"
                " as it was registered. Whoever runs the service registers more in HEADWATER_PERSISTED_DOCUMENTS."
            )
        if (remembered := self._remembered.get(key)) is not None:
            self._remembered.move_to_end(key)
            remembered.tenants.add(tenant_id)
            return remembered.prepared
        prepared = self._read(query)
        if not prepared.errors and len(query) <= DOCUMENT_KEPT:
            self._remembered[key] = _Remembered(len(query), prepared, {tenant_id})
            self._size += len(query)
            while self._size > DOCUMENTS_KEPT:
                self._size -= self._remembered.popitem(last=False)[1].text_length
        return prepared

    def _read(self, query: str) -> Prepared:
        try:
            document = parse(query, max_tokens=self._limits.tokens)
            check(document, self._limits)
        except GraphQLError as error:
            return Prepared(DocumentNode(definitions=()), [self._beyond(error) or error])
        except LimitExceeded as error:
            return Prepared(DocumentNode(definitions=()), [_told(error)])
        errors = validate(self._schema, document, RULES, max_errors=20)
        return Prepared(document, [self._beyond(it) or it for it in errors])

    def reckon(self, prepared: Prepared, operation: OperationDefinitionNode, variables: dict[str, Any]) -> CostEstimate:
        """What an operation may come to, by what its variables say."""
        return self._prices.reckon(operation, prepared.document, variables, prepared.reckonings)

    def _beyond(self, error: GraphQLError) -> GraphQLError | None:
        """The same as an error of ours, where graphql-core gave up on a document that is too much."""
        if _TOO_MANY_TOKENS in error.message:
            most = self._limits.tokens
            return _told(LimitExceeded(f"The document has more than {most} tokens. At most {most} are read. Part it."))
        if _TOO_DEEP in error.message:
            return _told(LimitExceeded("The document nests deeper than it can be read. Nest less."))
        if error.message == _TOO_MUCH_TO_COMPARE:
            reason = "Too many fields would have to be compared that are selected by the same names. Select each once."
            return _told(LimitExceeded(reason))
        return None

    def needs_of(self, prepared: Prepared, operation: OperationDefinitionNode) -> dict[Scope, str]:
        """The scopes that an operation asks for, each with the first field that does."""
        name = operation.name.value if operation.name else ""
        if name not in prepared.needs:
            types = TypeInfo(self._schema)
            found = _Needs(types, self._scopes)
            visit(_alone(operation, prepared.document), TypeInfoVisitor(types, found))
            prepared.needs[name] = found.needs
        return prepared.needs[name]


def hash_of(text: str) -> str:
    """What names a document by its text: 64 hexadecimal digits."""
    return sha256(text.encode()).hexdigest()


def _told(error: LimitExceeded) -> GraphQLError:
    return GraphQLError(error.message, original_error=error)


def declared_scopes(schema: SubgraphSchema) -> dict[tuple[str, str], Scope]:
    """What each field of the schema says it needs, by type and name."""
    scopes: dict[tuple[str, str], Scope] = {}
    for type_name, known in schema.schema_converter.type_map.items():
        definition = known.definition
        if isinstance(definition, StrawberryObjectDefinition) and not definition.is_input:
            for declared in definition.fields:
                if scope := scope_of(declared):
                    scopes[type_name, schema.config.name_converter.get_graphql_name(declared)] = scope
    # Federation's own fields: whoever reads entities through a gateway reads
    scopes["Query", "_entities"] = Scope.READ
    scopes |= {("Query", name): Scope.SCHEMA for name in ("__schema", "__type", "_service")}
    return scopes


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

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent = self._types.get_parent_type()
        if parent is not None:
            type_name = get_named_type(parent).name
            if scope := self._scopes.get((type_name, node.name.value)):
                self.needs.setdefault(scope, f"{type_name}.{node.name.value}")
