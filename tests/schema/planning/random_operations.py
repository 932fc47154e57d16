"""Random operations on a schema: aliases, fragments, directives, variables and merged fields."""

import random
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_composite_type,
)


class RandomOperation:
    """A random query on a schema whose arguments are numbers, with two sets of values for its variables."""

    def __init__(self, schema: GraphQLSchema, chance: random.Random, depth: int = 4) -> None:
        self._schema = schema
        self._chance = chance
        self._fragments: list[str] = []
        self._declared: dict[str, str] = {}
        self.variables: dict[str, Any] = {}
        self.other_variables: dict[str, Any] = {}
        assert schema.query_type is not None
        selection = self._selection(schema.query_type, depth)
        declared = f"({', '.join(f'${name}: {type_}' for name, type_ in self._declared.items())})" if self._declared else ""
        self.text = f"query{declared} {selection} {' '.join(self._fragments)}"

    def _selection(self, type_: GraphQLNamedType, depth: int) -> str:
        parts = [self._part(type_, depth) for _ in range(self._chance.randint(1, 4))]
        # an empty selection is invalid, and so is one whose fields are all skipped
        return f"{{ {' '.join(parts)} kind: __typename }}"

    def _part(self, type_: GraphQLNamedType, depth: int) -> str:
        form = self._chance.random()
        if form < 0.1:
            return f"__typename {self._directive()}"
        if form < 0.25 and depth:
            condition = self._chance.choice(self._conditions(type_))
            return f"... on {condition.name} {self._directive()} {self._selection(condition, depth)}"
        if form < 0.35 and depth:
            condition = self._chance.choice(self._conditions(type_))
            number = len(self._fragments)
            self._fragments.append("")
            self._fragments[number] = f"fragment f{number} on {condition.name} {self._selection(condition, depth - 1)}"
            return f"...f{number} {self._directive()}"
        fields = self._fields(type_, depth)
        if not fields:
            return "__typename"
        name, field = self._chance.choice(list(fields.items()))
        named = get_named_type(field.type)
        arguments = f"({', '.join(f'{it}: {self._number()}' for it in field.args)})" if field.args else ""
        # fields with one key must agree in their arguments, so a key with arguments occurs once
        key = f"{name}{self._chance.randrange(10**6)}" if field.args else self._chance.choice([name, f"also_{type_.name}_{name}"])
        below = self._selection(named, depth - 1) if is_composite_type(named) else ""
        return f"{key}: {name}{arguments} {self._directive()} {below}"

    def _fields(self, type_: GraphQLNamedType, depth: int) -> dict[str, GraphQLField]:
        if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            return {}
        return {
            name: it
            for name, it in type_.fields.items()
            if not name.startswith("_") and (depth or not is_composite_type(get_named_type(it.type)))
        }

    def _conditions(self, type_: GraphQLNamedType) -> list[GraphQLNamedType]:
        if isinstance(type_, GraphQLObjectType):
            return [type_, *type_.interfaces]
        return [type_, *self._schema.get_possible_types(type_)]  # type: ignore[arg-type]

    def _directive(self) -> str:
        if self._chance.random() > 0.2:
            return ""
        name = self._chance.choice(["skip", "include"])
        if self._chance.random() < 0.5:
            return f"@{name}(if: {self._chance.choice(['true', 'false'])})"
        return f"@{name}(if: ${self._variable('Boolean!', self._chance.random() < 0.5)})"

    def _number(self) -> str:
        number = self._chance.randint(0, 3)
        return str(number) if self._chance.random() < 0.5 else f"${self._variable('Int!', number)}"

    def _variable(self, type_: str, value: Any) -> str:
        name = f"v{len(self._declared)}"
        if self._chance.random() < 0.3:
            # the default is used
            type_ = f"{type_} = {str(value).lower()}"
        else:
            self.variables[name] = value
        self._declared[name] = type_
        self.other_variables[name] = not value if isinstance(value, bool) else self._chance.randint(0, 3)
        return name
