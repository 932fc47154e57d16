"""Conversion of arguments to Python values, compiled once a field.

It does what `strawberry.types.arguments.convert_arguments` does, which inspects the types for each value anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from graphql import GraphQLArgument, GraphQLInputObjectType, GraphQLInputType, GraphQLList, GraphQLNonNull
from strawberry.schema.config import StrawberryConfig
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryList, StrawberryOptional, get_object_definition
from strawberry.types.lazy_type import LazyType
from strawberry.types.unset import UNSET

# Converts a value that is neither null nor omitted. None: the value stays as it is.
Convert = Callable[[Any], Any] | None


class ArgumentConverter:
    """Compiles the conversion of arguments. The conversion of an input type is compiled once, for it may contain itself."""

    def __init__(self, config: StrawberryConfig) -> None:
        self._names = config.name_converter
        self._by_type: dict[type, Convert] = {}

    def compile(
        self, arguments: list[StrawberryArgument], declared: Mapping[str, GraphQLArgument]
    ) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return a function that converts arguments from GraphQL names and values to Python names and values."""
        names = [(self._names.from_argument(it), it) for it in arguments]
        conversions = [(name, it.python_name, self._conversion(declared[name].type, it.type)) for name, it in names]
        return lambda values: _converted(values, conversions)

    def _conversion(self, graphql_type: GraphQLInputType, type_: Any) -> Convert:
        """Return the conversion of values of a type, which both GraphQL and Python describe."""
        while isinstance(graphql_type, GraphQLNonNull):
            graphql_type = graphql_type.of_type
        while isinstance(type_, StrawberryOptional | LazyType):
            type_ = type_.of_type if isinstance(type_, StrawberryOptional) else type_.resolve_type()
        if isinstance(graphql_type, GraphQLList):
            assert isinstance(type_, StrawberryList), "a list has items"
            item = self._conversion(graphql_type.of_type, type_.of_type)
            # graphql-core gives the same default to every request, so the list is copied in any case
            return list if item is None else lambda values: [_convert(item, it) for it in values]
        if isinstance(graphql_type, GraphQLInputObjectType):
            if type_ not in self._by_type:
                self._by_type[type_] = self._input_conversion(graphql_type, type_)
            return self._by_type[type_]
        return None

    def _input_conversion(self, graphql_type: GraphQLInputObjectType, input_type: type) -> Convert:
        definition = get_object_definition(input_type, strict=True)
        assert definition.is_input, "an argument has an input type"
        assert definition.from_input is None, "input types of Headwater are dataclasses"
        # an omitted field without a default is null
        omitted = {
            it.python_name: None for it in definition.fields if it.default_value is MISSING and it.default_factory is MISSING
        }
        conversions: list[tuple[str, str, Convert]] = []

        def convert(values: dict[str, Any]) -> Any:
            return input_type(**{**omitted, **_converted(values, conversions)})

        # a field of the type itself finds this conversion
        self._by_type[input_type] = convert
        for it in definition.fields:
            name = self._names.from_field(it)
            declared = graphql_type.fields[name].type
            conversions.append((name, it.python_name, self._conversion(declared, it.resolve_type(type_definition=definition))))
        return convert


def _converted(values: Mapping[str, Any], conversions: list[tuple[str, str, Convert]]) -> dict[str, Any]:
    """Convert those values that are given, by their Python names."""
    return {
        python_name: values[name] if conversion is None else _convert(conversion, values[name])
        for name, python_name, conversion in conversions
        if name in values
    }


def _convert(conversion: Callable[[Any], Any], value: Any) -> Any:
    return value if value is None or value is UNSET else conversion(value)
