"""Compatibility of schemas: the differences between two versions of a schema, and their effects on clients and gateways."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from graphql import (
    DirectiveNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    ExecutableDefinitionNode,
    FieldDefinitionNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLSchema,
    Node,
    OperationType,
    SchemaDefinitionNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    build_ast_schema,
    build_client_schema,
    is_required_argument,
    is_required_input_field,
    parse,
    print_ast,
    print_schema,
)
from graphql.utilities.find_schema_changes import BreakingChange, DangerousChange, SafeChangeType, find_schema_changes

from db.errors import BadInput


class Effect(Enum):
    """Effect of a change on clients and gateways."""

    BREAKING = "breaking"
    """Requests or compositions that were valid may be invalid."""
    DANGEROUS = "dangerous"
    """Valid requests and compositions stay valid, and their results may differ."""
    COMPATIBLE = "compatible"
    """Neither."""


@dataclass(frozen=True)
class Change:
    """One difference, at a coordinate such as `Type.field` or `Type.field(argument:)`."""

    effect: Effect
    coordinate: str
    description: str

    @property
    def is_removal(self) -> bool:
        """True if the element at the coordinate was removed."""
        return self.description.endswith("was removed.")


# Directives of gateways, which graphql-core does not compare. Removing a directive of the first set, or adding one of the second,
# breaks a composition. All other directives state costs or tags.
_BREAKING_IF_REMOVED = {"key", "shareable", "interfaceObject", "link"}
_BREAKING_IF_ADDED = {
    "inaccessible", "external", "override", "oneOf", "authenticated", "requiresScopes", "policy", "interfaceObject",
}  # fmt: skip
_REPEATABLE = {"key", "tag", "link"}

# The coordinate in the description of a change by graphql-core.
_COORDINATE = re.compile(r"@\w+(?:\(\w+:\))?|\w+\.\w+(?:\(\w+:\))?|(?<=union type )\w+")

# The directives at each coordinate: their text by a key that identifies them, see `_directives_by_key`.
_Directives = Mapping[str, dict[str, str]]


def changes_between(earlier: str, later: str) -> list[Change]:
    """Return the differences of a later schema, breaking ones first. Descriptions are not compared."""
    before, after = _parse_schema(earlier), _parse_schema(later)
    changes = list(_type_changes(before, after))
    directives = _directives(before)
    # a copy made by introspection has no directives of federation, so nothing is known about them
    if any(key.partition("(")[0] in _BREAKING_IF_REMOVED for by_key in directives.values() for key in by_key):
        changes += _directive_changes(directives, _directives(after))
    return sorted(changes, key=lambda it: list(Effect).index(it.effect))


def announced_in(changelog: str) -> dict[str, set[str]]:
    """Return the coordinates that a changelog names under the headings of its next release, by heading."""
    visible = re.sub(r"<!--.*?-->|^```.*?^```", "", changelog, flags=re.DOTALL | re.MULTILINE)
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", visible, re.DOTALL | re.MULTILINE)
    parts = re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", unreleased[1] if unreleased else "", re.DOTALL | re.MULTILINE)
    return {heading: set(re.findall(r"`([^`\n]+)`", part)) for heading, part in parts}


def is_announced(change: Change, announced: Mapping[str, set[str]]) -> bool:
    """True if a changelog announces a change: a removal under Removed, any other under Changed."""
    return change.coordinate in announced.get("Removed" if change.is_removal else "Changed", ())


def _parse_schema(text: str) -> DocumentNode:
    """Parse a schema in SDL, or as the JSON result of introspection."""
    try:
        document = parse(_introspected(text) if text.lstrip().startswith("{") else text)
    except GraphQLError as error:
        line = error.locations[0].line if error.locations else 1
        raise BadInput(f"The schema is not valid SDL: {error.message} (line {line})") from error
    if any(isinstance(it, ExecutableDefinitionNode) for it in document.definitions):
        raise BadInput("The schema is not valid SDL: it contains an operation or a fragment.")
    return document


def _introspected(text: str) -> str:
    try:
        result = json.loads(text)
        return print_schema(build_client_schema(result.get("data", result)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput("The schema is neither SDL nor the JSON result of an introspection query.") from error


def _type_changes(before: DocumentNode, after: DocumentNode) -> Iterator[Change]:
    """Yield the changes of types, fields, arguments and values, which clients depend on."""
    try:
        # not validated: the directives of federation are used here, and defined by the gateway
        schemas = [build_ast_schema(it, assume_valid=True, assume_valid_sdl=True) for it in (before, after)]
    except TypeError as error:
        raise BadInput(f"The schema is not valid SDL: {error}") from error
    for operation in OperationType:
        old_root, new_root = (it.get_root_type(operation) for it in schemas)
        if old_root is None and operation is OperationType.QUERY:
            raise BadInput("The schema is not valid SDL: it has no type Query.")
        if old_root is not None and (new_root is None or new_root.name != old_root.name):
            difference = f"has {new_root.name if new_root else 'no type'} in place of {old_root.name}"
            yield Change(Effect.BREAKING, "schema", f"schema, for {operation.value}, {difference}.")
    for change in find_schema_changes(*schemas):
        matched = _COORDINATE.search(change.description)
        coordinate = matched[0] if matched else change.description.partition(" ")[0]
        # only some copies of a schema contain what gateways add
        from_gateway = coordinate.startswith(("@", "_")) or "__" in coordinate
        if change.type is SafeChangeType.DESCRIPTION_CHANGED or from_gateway:
            continue
        effect = Effect.COMPATIBLE
        if isinstance(change, BreakingChange) or (
            isinstance(change, DangerousChange) and _lost_its_default(coordinate, *schemas)
        ):
            effect = Effect.BREAKING
        elif isinstance(change, DangerousChange):
            effect = Effect.DANGEROUS
        yield Change(effect, coordinate, change.description)


def _lost_its_default(coordinate: str, before: GraphQLSchema, after: GraphQLSchema) -> bool:
    """True if an argument or input field is required now, and was optional because of a default."""
    old, new = (_input_at(coordinate, it) for it in (before, after))
    return old is not None and new is not None and not _is_required(old) and _is_required(new)


def _input_at(coordinate: str, schema: GraphQLSchema) -> GraphQLArgument | GraphQLInputField | None:
    type_name, _, rest = coordinate.partition(".")
    field_name, _, argument = rest.partition("(")
    field = getattr(schema.get_type(type_name), "fields", {}).get(field_name)
    if argument and field is not None:
        return getattr(field, "args", {}).get(argument.rstrip(":)"))
    return field if isinstance(field, GraphQLInputField) else None


def _is_required(input_: GraphQLArgument | GraphQLInputField) -> bool:
    return is_required_argument(input_) if isinstance(input_, GraphQLArgument) else is_required_input_field(input_)


def _directive_changes(before: _Directives, after: _Directives) -> Iterator[Change]:
    """Yield the changes of directives, which gateways depend on."""
    for coordinate, old_by_key in before.items():
        # a coordinate that was removed is reported by _type_changes
        new_by_key = after.get(coordinate, old_by_key)
        for key in {**old_by_key, **new_by_key}:
            old, new = old_by_key.get(key), new_by_key.get(key)
            if old == new:
                continue
            difference = f"has {new} in place of {old}" if old and new else f"gained {new}" if new else f"lost {old}"
            effect = _directive_effect(key.partition("(")[0], added=old is None, removed=new is None)
            yield Change(effect, coordinate, f"{coordinate} {difference}.")


def _directive_effect(directive: str, *, added: bool, removed: bool) -> Effect:
    if (directive in _BREAKING_IF_REMOVED and removed) or (directive in _BREAKING_IF_ADDED and added):
        return Effect.BREAKING
    if directive in {*_BREAKING_IF_REMOVED, *_BREAKING_IF_ADDED, "deprecated"} - {"link"} or (directive == "tag" and added):
        return Effect.COMPATIBLE
    return Effect.DANGEROUS


def _directives(document: DocumentNode) -> _Directives:
    """Return the directives at each coordinate, by name, or by their text if they are repeatable."""
    by_coordinate: dict[str, dict[str, str]] = {}
    for coordinate, node in _elements(document):
        by_key = by_coordinate.setdefault(coordinate, {})
        for directive in getattr(node, "directives", None) or ():
            text = _normalized(directive)
            name = directive.name.value
            # without the version, so that another version of a linked specification is a change and not a removal
            key = re.sub(r"/v[\d.]+", "", text).removeprefix("@")
            by_key[key if name in _REPEATABLE else name] = text
    return by_coordinate


def _normalized(directive: DirectiveNode) -> str:
    """Return the text of a directive, the same for all spellings with the same meaning."""
    if directive.name.value == "link":
        # imports are left out: what is imported is compared where it is used
        url = next((print_ast(it) for it in directive.arguments or () if it.name.value == "url"), "")
        return f"@link({url})"
    text = re.sub(r"\s+", " ", print_ast(directive))
    if directive.name.value == "key":
        # resolvable is the default
        text = re.sub(r'"\s*(.*?)\s*"', r'"\1"', text.replace(", resolvable: true", ""))
    return text


def _elements(document: DocumentNode) -> Iterator[tuple[str, Node]]:
    """Yield the elements of a schema that may have directives, with their coordinates."""
    for definition in document.definitions:
        if isinstance(definition, SchemaDefinitionNode):
            yield "schema", definition
        elif isinstance(definition, TypeDefinitionNode | TypeExtensionNode):
            name = definition.name.value
            yield name, definition
            parts = definition.values if isinstance(definition, EnumTypeDefinitionNode) else getattr(definition, "fields", None)
            for part in parts or ():
                yield f"{name}.{part.name.value}", part
                if isinstance(part, FieldDefinitionNode):
                    for argument in part.arguments or ():
                        yield f"{name}.{part.name.value}({argument.name.value}:)", argument
