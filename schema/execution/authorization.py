"""Authorization: the scopes that an operation requires, found in its document before it runs."""

from typing import Any

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    visit,
)
from strawberry.types.base import StrawberryObjectDefinition

from schema.execution.federation import SubgraphSchema
from schema.language.fields import scope_of
from schema.language.scopes import Scope

# The scope of each field that declares one, by the names of type and field.
FieldScopes = dict[tuple[str, str], Scope]


def declared_scopes(schema: SubgraphSchema) -> FieldScopes:
    """Return the scopes that the fields of a schema declare, and those of introspection and federation."""
    scopes: FieldScopes = {}
    for type_name, concrete_type in schema.schema_converter.type_map.items():
        definition = concrete_type.definition
        if isinstance(definition, StrawberryObjectDefinition) and not definition.is_input:
            for declared in definition.fields:
                if scope := scope_of(declared):
                    scopes[type_name, schema.config.name_converter.get_graphql_name(declared)] = scope
    scopes["Query", "_entities"] = Scope.READ
    scopes |= {("Query", name): Scope.SCHEMA for name in ("__schema", "__type", "_service")}
    return scopes


def required_scopes(
    operation: OperationDefinitionNode, document: DocumentNode, schema: GraphQLSchema, scopes: FieldScopes
) -> dict[Scope, str]:
    """Return the scopes that an operation requires, each with the coordinate of the first field that requires it."""
    types = TypeInfo(schema)
    collector = _ScopeCollector(types, scopes)
    visit(operation_with_fragments(operation, document), TypeInfoVisitor(types, collector))
    return collector.required


def operation_with_fragments(operation: OperationDefinitionNode, document: DocumentNode) -> DocumentNode:
    """Return a document of one operation and the fragments that it uses."""
    fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
    used: dict[str, FragmentDefinitionNode] = {}
    pending: list[ExecutableDefinitionNode] = [operation]
    while pending:
        collector = _SpreadCollector()
        visit(pending.pop(), collector)
        for name in collector.names - used.keys():
            used[name] = fragments[name]
            pending.append(fragments[name])
    return DocumentNode(definitions=(operation, *used.values()))


class _SpreadCollector(Visitor):
    """Collects the names of the fragments that a definition spreads."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self.names.add(node.name.value)


class _ScopeCollector(Visitor):
    """Collects the scopes of the selected fields."""

    def __init__(self, types: TypeInfo, scopes: FieldScopes) -> None:
        super().__init__()
        self._types = types
        self._scopes = scopes
        self.required: dict[Scope, str] = {}

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent = self._types.get_parent_type()
        if parent is not None:
            type_name = get_named_type(parent).name
            if scope := self._scopes.get((type_name, node.name.value)):
                self.required.setdefault(scope, f"{type_name}.{node.name.value}")
