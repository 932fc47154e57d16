"""What has become of a schema since an earlier one, and whether those who rely on it would notice."""

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
    """What a change does to those who rely on the schema."""

    BREAKING = "breaking"
    """What could be asked or composed can be so no more."""
    DANGEROUS = "dangerous"
    """It still can, and may come to something else."""
    COMPATIBLE = "compatible"


@dataclass(frozen=True)
class Change:
    """One difference, at a coordinate such as `Type.field` or `Type.field(argument:)`."""

    effect: Effect
    coordinate: str
    description: str

    @property
    def removes(self) -> bool:
        """Whether what stood at the coordinate is gone."""
        return self.description.endswith("was removed.")


# graphql-core compares what may be asked, and what is answered. These it passes over, and gateways go by them: some promise
# something, and some take something away. Any other says how much something weighs, or means to somebody.
_PROMISES = {"key", "shareable", "interfaceObject", "link"}
_TAKES = {"inaccessible", "external", "override", "oneOf", "authenticated", "requiresScopes", "policy", "interfaceObject"}
_REPEATABLE = {"key", "tag", "link"}

_COORDINATE = re.compile(r"@\w+(?:\(\w+:\))?|\w+\.\w+(?:\(\w+:\))?|(?<=union type )\w+")


def changes_between(earlier: str, later: str) -> list[Change]:
    """What is different in a later SDL, what breaks first; but for descriptions, which promise nothing."""
    before, after = _parsed(earlier), _parsed(later)
    found = list(_in_requests(before, after))
    held = _directives(before)
    # a copy from introspection knows no directives, and so tells nothing of them
    if any(name.partition("(")[0] in _PROMISES for names in held.values() for name in names):
        found += _in_directives(held, _directives(after))
    return sorted(found, key=lambda it: list(Effect).index(it.effect))


def announced_in(changelog: str) -> dict[str, set[str]]:
    """The coordinates that a changelog names under the headings of its next release."""
    shown = re.sub(r"<!--.*?-->|^```.*?^```", "", changelog, flags=re.DOTALL | re.MULTILINE)
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", shown, re.DOTALL | re.MULTILINE)
    parts = re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", unreleased[1] if unreleased else "", re.DOTALL | re.MULTILINE)
    return {heading: set(re.findall(r"`([^`\n]+)`", part)) for heading, part in parts}


def is_announced(change: Change, announced: Mapping[str, set[str]]) -> bool:
    """Whether a changelog tells of a change: of what goes under Removed, of any other under Changed."""
    return change.coordinate in announced.get("Removed" if change.removes else "Changed", ())


def _parsed(text: str) -> DocumentNode:
    """A schema in SDL, or as introspection answers."""
    try:
        document = parse(_printed(text) if text.lstrip().startswith("{") else text)
    except GraphQLError as error:
        line = error.locations[0].line if error.locations else 1
        raise BadInput(f"This is no schema in SDL: {error.message} That is in line {line}.") from error
    if any(isinstance(it, ExecutableDefinitionNode) for it in document.definitions):
        raise BadInput("This is no schema in SDL: it holds an operation or a fragment.")
    return document


def _printed(text: str) -> str:
    try:
        answer = json.loads(text)
        return print_schema(build_client_schema(answer.get("data", answer)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput("This is no schema: neither SDL, nor JSON as introspection answers.") from error


def _in_requests(before: DocumentNode, after: DocumentNode) -> Iterator[Change]:
    try:
        # the directives of federation are used, and defined by the gateway
        schemas = [build_ast_schema(it, assume_valid=True, assume_valid_sdl=True) for it in (before, after)]
    except TypeError as error:
        raise BadInput(f"This is no schema in SDL: {error}") from error
    for operation in OperationType:
        was, is_ = (it.get_root_type(operation) for it in schemas)
        if was is None and operation is OperationType.QUERY:
            raise BadInput("This is no schema in SDL: it has no type Query.")
        if was is not None and (is_ is None or is_.name != was.name):
            told = f"has {is_.name if is_ else 'no type'} in place of {was.name}"
            yield Change(Effect.BREAKING, "schema", f"schema, for {operation.value}, {told}.")
    for change in find_schema_changes(*schemas):
        place = _COORDINATE.search(change.description)
        coordinate = place[0] if place else change.description.partition(" ")[0]
        # what gateways bring with them shows in some copies of a schema, and not in others
        brought = coordinate.startswith(("@", "_")) or "__" in coordinate
        if change.type is SafeChangeType.DESCRIPTION_CHANGED or brought:
            continue
        effect = Effect.COMPATIBLE
        if isinstance(change, BreakingChange | DangerousChange):
            effect = (
                Effect.BREAKING if isinstance(change, BreakingChange) or _now_needed(coordinate, *schemas) else Effect.DANGEROUS
            )
        yield Change(effect, coordinate, change.description)


def _now_needed(coordinate: str, before: GraphQLSchema, after: GraphQLSchema) -> bool:
    """Whether what could be left out has to be given, because its default is gone."""
    was, is_ = (_given_at(coordinate, it) for it in (before, after))
    return was is not None and is_ is not None and not _is_required(was) and _is_required(is_)


def _given_at(coordinate: str, schema: GraphQLSchema) -> GraphQLArgument | GraphQLInputField | None:
    type_name, _, rest = coordinate.partition(".")
    field_name, _, argument = rest.partition("(")
    field = getattr(schema.get_type(type_name), "fields", {}).get(field_name)
    if argument and field is not None:
        return getattr(field, "args", {}).get(argument.rstrip(":)"))
    return field if isinstance(field, GraphQLInputField) else None


def _is_required(given: GraphQLArgument | GraphQLInputField) -> bool:
    return is_required_argument(given) if isinstance(given, GraphQLArgument) else is_required_input_field(given)


def _in_directives(before: Mapping[str, dict[str, str]], now: Mapping[str, dict[str, str]]) -> Iterator[Change]:
    for coordinate, held in before.items():
        # what is not there any more is reported as a whole
        holds = now.get(coordinate, held)
        for key in {**held, **holds}:
            was, is_ = held.get(key), holds.get(key)
            if was == is_:
                continue
            told = f"has {is_} in place of {was}" if was and is_ else f"gained {is_}" if is_ else f"lost {was}"
            effect = _effect(key.partition("(")[0], gained=was is None, lost=is_ is None)
            yield Change(effect, coordinate, f"{coordinate} {told}.")


def _effect(directive: str, *, gained: bool, lost: bool) -> Effect:
    if (directive in _PROMISES and lost) or (directive in _TAKES and gained):
        return Effect.BREAKING
    if directive in {*_PROMISES, *_TAKES, "deprecated"} - {"link"} or (directive == "tag" and gained):
        return Effect.COMPATIBLE
    return Effect.DANGEROUS


def _directives(document: DocumentNode) -> dict[str, dict[str, str]]:
    """What stands at each coordinate, by its name, or by all of its text where there may be several."""
    found: dict[str, dict[str, str]] = {}
    for coordinate, node in _places(document):
        held = found.setdefault(coordinate, {})
        for directive in getattr(node, "directives", None) or ():
            text = _text(directive)
            name = directive.name.value
            # of what is linked another version may be, in place of this
            key = re.sub(r"/v[\d.]+", "", text).removeprefix("@")
            held[key if name in _REPEATABLE else name] = text
    return found


def _text(directive: DirectiveNode) -> str:
    if directive.name.value == "link":
        # which version is spoken; what is imported of it shows where it is used
        url = next((print_ast(it) for it in directive.arguments or () if it.name.value == "url"), "")
        return f"@link({url})"
    text = re.sub(r"\s+", " ", print_ast(directive))
    if directive.name.value == "key":
        # that a key can be resolved is what is meant if nothing is said
        text = re.sub(r'"\s*(.*?)\s*"', r'"\1"', text.replace(", resolvable: true", ""))
    return text


def _places(document: DocumentNode) -> Iterator[tuple[str, Node]]:
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
