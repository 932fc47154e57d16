"""Documents: parsed and validated once, and what each of their operations needs to be allowed."""

from collections import OrderedDict
from dataclasses import dataclass, field
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
    validate,
    visit,
)
from strawberry.types.base import StrawberryObjectDefinition

from schema.federation import SubgraphSchema
from schema.scope import Scope, scope_of

# Characters of the documents that are kept parsed; each takes some 200 times its size.
DOCUMENTS_KEPT = 262_144


@dataclass(slots=True)
class Prepared:
    """A document, or why there is none. `needs` is filled in as its operations are asked for, by their names."""

    document: DocumentNode
    errors: list[GraphQLError]
    needs: dict[str, dict[Scope, str]] = field(default_factory=dict)


class Documents:
    """Reads documents, and remembers the valid ones that were used last."""

    def __init__(self, schema: SubgraphSchema) -> None:
        self._schema = schema._schema
        self._scopes = declared_scopes(schema)
        self._remembered: OrderedDict[str, Prepared] = OrderedDict()
        self._size = 0

    def read(self, query: str) -> Prepared:
        """The document of a query."""
        if (known := self._remembered.get(query)) is not None:
            self._remembered.move_to_end(query)
            return known
        try:
            document = parse(query)
        except GraphQLError as error:
            return Prepared(DocumentNode(definitions=()), [error])
        prepared = Prepared(document, validate(self._schema, document, max_errors=20))
        if not prepared.errors:
            self._remembered[query] = prepared
            self._size += len(query)
            while self._size > DOCUMENTS_KEPT:
                self._size -= len(self._remembered.popitem(last=False)[0])
        return prepared

    def needs_of(self, prepared: Prepared, operation: OperationDefinitionNode) -> dict[Scope, str]:
        """The scopes that an operation asks for, each with the first field that does."""
        name = operation.name.value if operation.name else ""
        if name not in prepared.needs:
            types = TypeInfo(self._schema)
            found = _Needs(types, self._scopes)
            visit(_alone(operation, prepared.document), TypeInfoVisitor(types, found))
            prepared.needs[name] = found.needs
        return prepared.needs[name]


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
