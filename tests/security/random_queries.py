"""Questions made out of the schema itself: every field of every type, with each of its arguments given in turn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from schema.root import schema

SCHEMA = schema._schema
COMPOSITE = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType

# What may be given for an argument or an input field, under its coordinate, its type and name, or its type alone.
Values = Mapping[str, Sequence[Any]]

# No argument of these is required, and yet they want one; of these arguments a field takes one.
WANTED = {"Query.entity": "key"}
ONE_OF = [{"first", "last"}, {"key", "uid"}]


class Step(NamedTuple):
    """A field on the way to what a question is about, and which of its possible types is meant."""

    parent: str
    name: str
    type: str


@dataclass(frozen=True)
class Question:
    """A document with its variables. What asks for the rest of a list takes its cursor from the answer to another question."""

    about: str
    text: str
    variables: dict[str, Any]
    path: list[str] = field(default_factory=list)
    page: "Question | None" = None
    cursor: str = ""

    def following(self, cursor: str) -> "Question":
        """The same, from that cursor on."""
        return Question(self.about, self.text, {**self.variables, self.cursor: cursor}, self.path)


class Document:
    """A document as it is written, with what it gives for the arguments of its fields."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._declared: list[str] = []
        self.variables: dict[str, Any] = {}

    def question(self, about: str, selected: str, path: Sequence[Step] = (), *, operation: str = "query") -> Question:
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        return Question(about, f"{operation}{declared} {selected}", self.variables, [step.name for step in path])

    def along(self, path: Sequence[Step], selected: str) -> str:
        """What is selected at the end of a path."""
        for step in reversed(path):
            typed = (
                selected if step.type == get_named_type(_fields(step.parent)[step.name].type).name else _on(step.type, selected)
            )
            selected = f"{{ __typename {self.call(step.parent, step.name)} {typed} }}"
        return selected

    def call(self, parent: str, name: str, given: Mapping[str, Any] | None = None) -> str:
        """A field with its arguments: those that are given, those that it needs, and a small page of a list."""
        arguments = _fields(parent)[name].args
        chosen = dict(given or {})
        for argument in arguments:
            needed = is_required_argument(arguments[argument]) or argument in ("first", WANTED.get(f"{parent}.{name}"))
            if needed and argument not in chosen and not any(argument in some and some & chosen.keys() for some in ONE_OF):
                known = alternatives(f"{parent}.{name}.{argument}", argument, arguments[argument].type, self._values)
                chosen[argument] = known[0]
        if not chosen:
            return name
        return f"{name}({', '.join(f'{it}: {self.declare(arguments[it], value)}' for it, value in chosen.items())})"

    def declare(self, argument: GraphQLArgument, value: Any) -> str:
        """A variable that holds a value."""
        name = f"v{len(self.variables)}"
        self._declared.append(f"${name}: {argument.type}")
        self.variables[name] = value
        return f"${name}"

    def select(self, type_: GraphQLNamedType, depth: int) -> str:
        """The fields of a type, and what is below them down to a depth; of an abstract one also those of the types it may be."""
        if is_leaf_type(type_):
            return ""
        own = {} if isinstance(type_, GraphQLUnionType) else _fields(type_.name)
        if not isinstance(type_, GraphQLObjectType):
            # what may be given depends on which type it is
            own = {name: it for name, it in own.items() if not any(map(is_required_argument, it.args.values()))}
        parts = ["__typename", *(self.field(type_.name, name, depth) for name in own)]
        if not isinstance(type_, GraphQLObjectType):
            for possible in _possible(type_):
                rest = [self.field(possible.name, name, depth) for name in _beside(type_.name, possible.name)]
                if any(rest):
                    parts.append(f"... on {possible.name} {{ {' '.join(rest)} }}")
        return f"{{ {' '.join(filter(None, parts))} }}"

    def field(self, parent: str, name: str, depth: int) -> str:
        type_ = get_named_type(_fields(parent)[name].type)
        if is_leaf_type(type_):
            return self.call(parent, name)
        return f"{self.call(parent, name)} {self.select(type_, depth - 1)}" if depth > 0 else ""


def questions(own: Values, given: Values) -> Iterator[Question]:
    """Of every type that a query reaches: all of its fields; and of each field, each of its arguments with all that is given for
    it. What leads there, and the other arguments, are one's own."""
    for type_name, path in paths().items():
        if path:
            document = Document(own)
            yield document.question(type_name, document.along(path, document.select(SCHEMA.type_map[type_name], 1)), path)
        for name, described in _fields(type_name).items():
            coordinate = f"{type_name}.{name}"
            if path and not described.args:
                continue
            whole = {
                it: alternatives(f"{coordinate}.{it}", it, argument.type, given)[0]
                for it, argument in described.args.items()
                if is_required_argument(argument) or it == WANTED.get(coordinate)
            }
            page = _asked(own, path, coordinate, described, whole, 1 if path else 2)
            yield page
            for it, argument in described.args.items():
                if it in ("after", "before"):
                    empty = _asked(own, path, coordinate, described, {**whole, it: None}, 1)
                    (variable,) = [key for key, value in empty.variables.items() if value is None]
                    yield Question(f"{coordinate}({it})", empty.text, empty.variables, page.path, page, variable)
                    continue
                for value in alternatives(f"{coordinate}.{it}", it, argument.type, given):
                    yield _asked(own, path, f"{coordinate}({it})", described, {it: value}, 1, it)


def _asked(
    own: Values, path: Sequence[Step], about: str, described: GraphQLField, given: Mapping[str, Any], depth: int, with_: str = ""
) -> Question:
    coordinate = about.partition("(")[0]
    parent, name = coordinate.split(".")
    document = Document(own)
    type_ = get_named_type(described.type)
    call = f"{document.call(parent, name, given)} {document.select(type_, depth)}"
    step = Step(parent, name, type_.name)
    return document.question(about, document.along(path, f"{{ __typename {call} }}"), [*path, step])


def alternatives(coordinate: str, name: str, type_: Any, values: Values) -> list[Any]:
    """What can be given for an argument or an input field: all that is known of it, each in turn."""
    if isinstance(type_, GraphQLNonNull):
        return alternatives(coordinate, name, type_.of_type, values)
    if isinstance(type_, GraphQLList):
        return [[it] for it in alternatives(coordinate, name, type_.of_type, values)]
    for key in (coordinate, f"{type_.name}:{name}", type_.name):
        if key in values:
            return list(values[key])
    if isinstance(type_, GraphQLEnumType):
        return list(type_.values)
    assert isinstance(type_, GraphQLInputObjectType), f"What can be given for {coordinate}, of type {type_.name}?"
    each = {it: alternatives(f"{type_.name}.{it}", it, field.type, values) for it, field in type_.fields.items()}
    if type_.is_one_of:
        return [{it: value} for it, found in each.items() for value in found]
    needed = {it: each[it][0] for it, field in type_.fields.items() if is_required_input_field(field)}
    return [{**needed, it: value} for it, found in each.items() for value in found]


@cache
def paths() -> dict[str, list[Step]]:
    """Each object type that a query reaches, and the shortest way there; of several, one that is no list."""
    found: dict[str, list[Step]] = {"Query": []}
    for type_name in (waiting := ["Query"]):
        for name, described in sorted(_fields(type_name).items(), key=lambda it: is_list_type(get_nullable_type(it[1].type))):
            type_ = get_named_type(described.type)
            # what a gateway's way in leads to, others lead to as well
            if is_leaf_type(type_) or isinstance(type_, GraphQLUnionType):
                continue
            for possible in _possible(type_):
                if possible.name not in found:
                    found[possible.name] = [*found[type_name], Step(type_name, name, possible.name)]
                    waiting.append(possible.name)
    return found


@cache
def _beside(abstract: str, possible: str) -> list[str]:
    """The fields that a possible type has beside those of the abstract one, where they mean the same in all possible types."""
    type_ = SCHEMA.type_map[abstract]
    own = {} if isinstance(type_, GraphQLUnionType) else _fields(abstract)
    meanings: dict[str, set[str]] = {}
    for it in _possible(type_):
        for name, described in it.fields.items():
            meanings.setdefault(name, set()).add(str(described.type))
    return [name for name in _fields(possible) if name not in own and len(meanings[name]) == 1]


def _fields(type_name: str) -> dict[str, GraphQLField]:
    type_ = SCHEMA.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
    fields: dict[str, GraphQLField] = type_.fields
    return fields


def _possible(type_: GraphQLNamedType) -> list[GraphQLObjectType]:
    """What something of a type may be."""
    if isinstance(type_, GraphQLObjectType):
        return [type_]
    assert isinstance(type_, GraphQLInterfaceType | GraphQLUnionType)
    return list(SCHEMA.get_possible_types(type_))


def _on(type_name: str, selected: str) -> str:
    return f"{{ __typename ... on {type_name} {selected} }}"


def answered(data: Any) -> Iterator[str]:
    """The coordinates of the fields that an answer says something for: not null, and no empty list."""
    if isinstance(data, list):
        for it in data:
            yield from answered(it)
    elif isinstance(data, dict) and "__typename" in data:
        for name, value in data.items():
            if name != "__typename" and value not in (None, []):
                yield f"{data['__typename']}.{name}"
                yield from answered(value)
