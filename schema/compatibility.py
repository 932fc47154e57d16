"""What has become of a schema since an earlier one, and whether those who rely on it would notice."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from graphql import (
    DirectiveNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    GraphQLError,
    Node,
    SchemaDefinitionNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    build_ast_schema,
    parse,
    print_ast,
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


# graphql-core compares what may be asked, and what is answered. These it passes over, and gateways go by them: some promise
# something, and some take something away. Any other says how much something weighs, or means to somebody.
_PROMISES = {"key", "shareable", "interfaceObject"}
_TAKES = {"inaccessible", "external", "override", "oneOf", "authenticated", "requiresScopes", "policy"}
_REPEATABLE = {"key", "tag", "link"}

_COORDINATE = re.compile(r"@\w+(?:\(\w+:\))?|\w+\.\w+(?:\(\w+:\))?|(?<=union type )\w+")


def changes_between(earlier: str, later: str) -> list[Change]:
    """What is different in a later SDL, what breaks first; but for descriptions, which promise nothing."""
    before, after = _parsed(earlier), _parsed(later)
    found = [*_in_requests(before, after), *_in_directives(before, after)]
    return sorted(found, key=lambda it: list(Effect).index(it.effect))


def announced_in(changelog: str) -> set[str]:
    """The coordinates that a changelog names among what its next release changes or removes."""
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE)
    parts = re.findall(
        r"^### (?:Changed|Removed)\n(.*?)(?=^### |\Z)", unreleased[1] if unreleased else "", re.DOTALL | re.MULTILINE
    )
    return {name for part in parts for name in re.findall(r"`([^`\n]+)`", part)}


def _parsed(sdl: str) -> DocumentNode:
    try:
        return parse(sdl)
    except GraphQLError as error:
        line = error.locations[0].line if error.locations else 1
        raise BadInput(f"This is no schema in SDL: {error.message} That is in line {line}.") from error


def _in_requests(before: DocumentNode, after: DocumentNode) -> Iterator[Change]:
    try:
        # the directives of federation are used, and defined by the gateway
        schemas = [build_ast_schema(it, assume_valid=True, assume_valid_sdl=True) for it in (before, after)]
    except TypeError as error:
        raise BadInput(f"This is no schema in SDL: {error}") from error
    for change in find_schema_changes(*schemas):
        if change.type is SafeChangeType.DESCRIPTION_CHANGED:
            continue
        effect = Effect.COMPATIBLE
        if isinstance(change, BreakingChange | DangerousChange):
            effect = Effect.BREAKING if isinstance(change, BreakingChange) else Effect.DANGEROUS
        place = _COORDINATE.search(change.description)
        yield Change(effect, place[0] if place else change.description.partition(" ")[0], change.description)


def _in_directives(before: DocumentNode, after: DocumentNode) -> Iterator[Change]:
    now = _directives(after)
    for coordinate, held in _directives(before).items():
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
    if directive in {*_PROMISES, *_TAKES, "deprecated"} or (directive == "tag" and gained):
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
            held[text.removeprefix("@") if name in _REPEATABLE else name] = text
    return found


def _text(directive: DirectiveNode) -> str:
    if directive.name.value == "link":
        # which version is spoken; what is imported of it shows where it is used
        url = next((print_ast(it) for it in directive.arguments or () if it.name.value == "url"), "")
        return f"@link({url})"
    return re.sub(r"\s+", " ", print_ast(directive))


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
