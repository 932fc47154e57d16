"""Operations generated from the schema: every field of every type, with each of its arguments in turn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
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

# Values of an argument or an input field, by its coordinate, by its type and name, or by its type alone.
Values = Mapping[str, Sequence[Any]]

# Fields that need an argument although none is required by its type, and groups of arguments of which one may be set.
NEEDED_ARGUMENT = {"Query.product": "name"}
# Arguments that are set with another one, so that all its values select something.
COMPANIONS = {
    f"Query.{name}.filter": {"subjects": ["PRODUCT", "ENTITY", "LINEAGE_LINK", "RELATIONSHIP"]} for name in ("changes", "diff")
}
EXCLUSIVE_ARGUMENTS = [{"first", "last"}, {"name", "uid"}]


class Step(NamedTuple):
    """A field on the path to a selection, and the object type selected in it."""

    parent: str
    name: str
    type: str


@dataclass(frozen=True)
class GeneratedOperation:
    """A document with its variables. If `page` is set, the variable named `cursor` takes the end cursor of that operation."""

    coordinate: str
    text: str
    variables: dict[str, Any]
    path: list[str] = field(default_factory=list)
    page: "GeneratedOperation | None" = None
    cursor: str = ""

    def after(self, cursor: str) -> "GeneratedOperation":
        """Return the operation with a cursor."""
        return GeneratedOperation(self.coordinate, self.text, {**self.variables, self.cursor: cursor}, self.path)


class Document:
    """Builder of a document and of the variables of its arguments."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._declared: list[str] = []
        self.variables: dict[str, Any] = {}

    def operation(self, coordinate: str, selection: str, path: Sequence[Step] = (), *, kind: str = "query") -> GeneratedOperation:
        """Build the operation around a selection."""
        declarations = f"({', '.join(self._declared)})" if self._declared else ""
        return GeneratedOperation(coordinate, f"{kind}{declarations} {selection}", self.variables, [step.name for step in path])

    def along(self, path: Sequence[Step], selection: str, *, of_one: bool = False) -> str:
        """Return a root selection that has a selection at the end of a path; with `of_one`, of the first item of each page."""
        for step in reversed(path):
            page = {"first": 1} if of_one and "first" in _fields(step.parent)[step.name].args else {}
            field_type = get_named_type(_fields(step.parent)[step.name].type).name
            typed = selection if step.type == field_type else _on(step.type, selection)
            selection = f"{{ __typename {self.call(step.parent, step.name, page)} {typed} }}"
        return selection

    def call(self, parent: str, name: str, values: Mapping[str, Any] | None = None) -> str:
        """Return a field with arguments: the given values, those that it needs, and a small page size."""
        arguments = _fields(parent)[name].args
        chosen = dict(values or {})
        for argument in arguments:
            needed = is_required_argument(arguments[argument]) or argument in ("first", NEEDED_ARGUMENT.get(f"{parent}.{name}"))
            excluded = any(argument in group and group & chosen.keys() for group in EXCLUSIVE_ARGUMENTS)
            if needed and argument not in chosen and not excluded:
                chosen[argument] = alternatives(f"{parent}.{name}.{argument}", argument, arguments[argument].type, self._values)[
                    0
                ]
        if not chosen:
            return name
        return f"{name}({', '.join(f'{it}: {self.declare(arguments[it], value)}' for it, value in chosen.items())})"

    def declare(self, argument: GraphQLArgument, value: Any) -> str:
        """Declare a variable for a value, and return its name."""
        name = f"v{len(self.variables)}"
        self._declared.append(f"${name}: {argument.type}")
        self.variables[name] = value
        return f"${name}"

    def select(self, type_: GraphQLNamedType, depth: int) -> str:
        """Return a selection of all fields of a type down to a depth; of an abstract type, also those of its object types."""
        if is_leaf_type(type_):
            return ""
        fields = {} if isinstance(type_, GraphQLUnionType) else _fields(type_.name)
        if not isinstance(type_, GraphQLObjectType):
            # valid values of a required argument depend on the object type
            fields = {name: it for name, it in fields.items() if not any(map(is_required_argument, it.args.values()))}
        parts = ["__typename", *(self.field(type_.name, name, depth) for name in fields)]
        if not isinstance(type_, GraphQLObjectType):
            for possible in _object_types(type_):
                rest = [self.field(possible.name, name, depth) for name in _additional_fields(type_.name, possible.name)]
                if any(rest):
                    parts.append(f"... on {possible.name} {{ {' '.join(rest)} }}")
        return f"{{ {' '.join(filter(None, parts))} }}"

    def field(self, parent: str, name: str, depth: int) -> str:
        """Return a field with its selection; empty if that would exceed the depth."""
        type_ = get_named_type(_fields(parent)[name].type)
        if is_leaf_type(type_):
            return self.call(parent, name)
        return f"{self.call(parent, name)} {self.select(type_, depth - 1)}" if depth > 0 else ""


def generate_queries(own: Values, tested: Values) -> Iterator[GeneratedOperation]:
    """Generate a query of all fields of each type, and queries of each field with each tested value of each of its arguments.

    The path to the type, and the other arguments, use the own values.
    """
    for type_name, path in paths().items():
        if path:
            document = Document(own)
            yield document.operation(type_name, document.along(path, document.select(SCHEMA.type_map[type_name], 1)), path)
        for name, definition in _fields(type_name).items():
            coordinate = f"{type_name}.{name}"
            if path and not definition.args:
                continue
            needed = {
                it: alternatives(f"{coordinate}.{it}", it, argument.type, tested)[0]
                for it, argument in definition.args.items()
                if is_required_argument(argument) or it == NEEDED_ARGUMENT.get(coordinate)
            }
            yield _field_query(own, path, coordinate, definition, needed, 1 if path else 2)
            for it, argument in definition.args.items():
                if it in ("after", "before"):
                    # a cursor belongs to the list of one parent
                    page = _field_query(own, path, coordinate, definition, needed, 1, of_one=True)
                    with_cursor = _field_query(own, path, coordinate, definition, {**needed, it: None}, 1, of_one=True)
                    (variable,) = [key for key, value in with_cursor.variables.items() if value is None]
                    yield GeneratedOperation(
                        f"{coordinate}({it})", with_cursor.text, with_cursor.variables, page.path, page, variable
                    )
                    continue
                for value in alternatives(f"{coordinate}.{it}", it, argument.type, tested):
                    chosen = {**COMPANIONS.get(f"{coordinate}.{it}", {}), it: value}
                    yield _field_query(own, path, f"{coordinate}({it})", definition, chosen, 1)
    yield from _product_walks(own, tested)


def _product_walks(own: Values, tested: Values) -> Iterator[GeneratedOperation]:
    """Generate walks from products that are named, which select no more than the assets: one statement answers each."""
    names = alternatives("Query.product.name", "name", _fields("Query")["product"].args["name"].type, tested)
    for name in names:
        for walk, nested in product(
            ("upstream", "downstream"), ("", "upstream(maxDepth: 1) { __typename nodes { __typename uid } }")
        ):
            document = Document(own)
            call = document.call("Query", "product", {"name": name})
            nodes = f"nodes {{ __typename uid label {nested} }}"
            yield document.operation("Query.product", f"{{ __typename {call} {{ __typename {walk} {{ __typename {nodes} }} }} }}")


def _field_query(
    own: Values,
    path: Sequence[Step],
    coordinate: str,
    definition: GraphQLField,
    arguments: Mapping[str, Any],
    depth: int,
    *,
    of_one: bool = False,
) -> GeneratedOperation:
    """Build a query of one field, at the end of a path. The coordinate may name the tested argument in parentheses."""
    parent, name = coordinate.partition("(")[0].split(".")
    document = Document(own)
    type_ = get_named_type(definition.type)
    call = f"{document.call(parent, name, arguments)} {document.select(type_, depth)}"
    step = Step(parent, name, type_.name)
    return document.operation(coordinate, document.along(path, f"{{ __typename {call} }}", of_one=of_one), [*path, step])


def alternatives(coordinate: str, name: str, type_: Any, values: Values) -> list[Any]:
    """Return the values to test for an argument or an input field."""
    if isinstance(type_, GraphQLNonNull):
        return alternatives(coordinate, name, type_.of_type, values)
    if isinstance(type_, GraphQLList):
        return [[it] for it in alternatives(coordinate, name, type_.of_type, values)]
    for key in (coordinate, f"{type_.name}:{name}", type_.name):
        if key in values:
            return list(values[key])
    if isinstance(type_, GraphQLEnumType):
        return list(type_.values)
    assert isinstance(type_, GraphQLInputObjectType), f"add values for {coordinate}, of type {type_.name}"
    each = {it: alternatives(f"{type_.name}.{it}", it, field.type, values) for it, field in type_.fields.items()}
    if type_.is_one_of:
        return [{it: value} for it, known in each.items() for value in known]
    needed = {it: each[it][0] for it, field in type_.fields.items() if is_required_input_field(field)}
    return [{**needed, it: value} for it, known in each.items() for value in known]


@cache
def paths() -> dict[str, list[Step]]:
    """Return each object type that a query reaches with a shortest path to it, preferably of fields that are not lists."""
    shortest: dict[str, list[Step]] = {"Query": []}
    for type_name in (queue := ["Query"]):
        for name, definition in sorted(_fields(type_name).items(), key=lambda it: is_list_type(get_nullable_type(it[1].type))):
            type_ = get_named_type(definition.type)
            # the types in the unions of federation, and nodes, are reached by other fields, too
            if is_leaf_type(type_) or isinstance(type_, GraphQLUnionType) or type_.name == "Node":
                continue
            for possible in _object_types(type_):
                if possible.name not in shortest:
                    shortest[possible.name] = [*shortest[type_name], Step(type_name, name, possible.name)]
                    queue.append(possible.name)
    return shortest


@cache
def _additional_fields(abstract: str, possible: str) -> list[str]:
    """Return the fields of an object type that its abstract type lacks, unless their types differ between object types."""
    type_ = SCHEMA.type_map[abstract]
    common = {} if isinstance(type_, GraphQLUnionType) else _fields(abstract)
    types: dict[str, set[str]] = {}
    for it in _object_types(type_):
        for name, definition in it.fields.items():
            types.setdefault(name, set()).add(str(definition.type))
    return [name for name in _fields(possible) if name not in common and len(types[name]) == 1]


def _fields(type_name: str) -> dict[str, GraphQLField]:
    type_ = SCHEMA.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
    fields: dict[str, GraphQLField] = type_.fields
    return fields


def _object_types(type_: GraphQLNamedType) -> list[GraphQLObjectType]:
    """Return the type itself if it is an object type, else its possible object types."""
    if isinstance(type_, GraphQLObjectType):
        return [type_]
    assert isinstance(type_, GraphQLInterfaceType | GraphQLUnionType)
    return list(SCHEMA.get_possible_types(type_))


def _on(type_name: str, selection: str) -> str:
    return f"{{ __typename ... on {type_name} {selection} }}"


def fields_with_values(data: Any) -> Iterator[str]:
    """Yield the coordinates of the fields that are neither null nor an empty list in a response."""
    if isinstance(data, list):
        for it in data:
            yield from fields_with_values(it)
    elif isinstance(data, dict) and "__typename" in data:
        for name, value in data.items():
            if name != "__typename" and value not in (None, []):
                yield f"{data['__typename']}.{name}"
                yield from fields_with_values(value)
