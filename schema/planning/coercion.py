"""Coercion of variables, compiled once an operation.

It does what `graphql.execution.values.get_variable_values` does, which looks up the types of each value anew. That function still
coerces whatever this one does not expect, and reports all errors.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    is_required_input_field,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.utilities.coerce_input_value import coerce_default_value

# Coerces a value. Undefined: this function does not know how.
Coerce = Callable[[Any], Any]

_MAX_ERRORS = 50


class InputCoercions:
    """Compiles the coercion of input types. That of an input object is compiled once, for it may contain itself."""

    def __init__(self) -> None:
        self._by_type: dict[GraphQLInputObjectType, Coerce] = {}

    def compile(self, type_: GraphQLInputType) -> Coerce:
        """Return the coercion of the values of a type."""
        if isinstance(type_, GraphQLNonNull):
            coerce = self._non_null(type_.of_type)
            return lambda value: Undefined if value is None else coerce(value)
        coerce_nullable = self._non_null(type_)
        return lambda value: None if value is None else coerce_nullable(value)

    def _non_null(self, type_: GraphQLInputType) -> Coerce:
        if isinstance(type_, GraphQLList):
            return _list_coercion(self.compile(type_.of_type))
        if isinstance(type_, GraphQLInputObjectType):
            if type_ not in self._by_type:
                self._by_type[type_] = self._object_coercion(type_)
            return self._by_type[type_]
        assert isinstance(type_, GraphQLLeafType), "an input type is a list, an input object or a leaf"
        return _leaf_coercion(type_)

    def _object_coercion(self, type_: GraphQLInputObjectType) -> Coerce:
        names = type_.fields.keys()
        fields: list[_InputField] = []

        def coerce(value: Any) -> Any:
            if type(value) is not dict or not value.keys() <= names:
                return Undefined
            coerced: dict[str, Any] = {}
            for name, out_name, coerce_field, declared in fields:
                if name in value:
                    coerced_field = coerce_field(value[name])
                    if coerced_field is Undefined:
                        return Undefined
                    coerced[out_name] = coerced_field
                elif is_required_input_field(declared):
                    return Undefined
                elif (default := coerce_default_value(declared)) is not Undefined:
                    coerced[out_name] = default
            if type_.is_one_of and (len(value) != 1 or len(coerced) != 1 or None in coerced.values()):
                return Undefined
            return type_.out_type(coerced)

        # a field of the type itself finds this coercion
        self._by_type[type_] = coerce
        fields += [_InputField(name, it.out_name or name, self.compile(it.type), it) for name, it in type_.fields.items()]
        return coerce


class _InputField(NamedTuple):
    name: str
    out_name: str
    coerce: Coerce
    declared: GraphQLInputField


class _Variable(NamedTuple):
    name: str
    coerce: Coerce
    signature: GraphQLVariableSignature
    # coerced value of one that is left out; Undefined: it has no default
    default: Any
    is_required: bool


class VariableCoercion:
    """Coercion of the variables of one operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode, coercions: InputCoercions) -> None:
        self._schema = schema
        self._nodes = operation.variable_definitions or ()
        self._variables: list[_Variable] = []
        for node in self._nodes:
            signature = get_variable_signature(schema, node)
            assert not isinstance(signature, GraphQLError), "validation refuses a variable of a type that is no input type"
            default = Undefined
            if node.default_value is not None:
                alone = get_variable_values(schema, [node], {})
                assert isinstance(alone, VariableValues), "validation refuses an invalid default"
                default = alone.coerced[signature.name]
            self._variables.append(
                _Variable(
                    signature.name,
                    coercions.compile(signature.type),
                    signature,
                    default,
                    default is Undefined and isinstance(signature.type, GraphQLNonNull),
                )
            )

    def values(self, inputs: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """Return the coerced values of the variables, or the errors of those that are invalid."""
        try:
            values = self._expected_values(inputs)
        except RecursionError:
            values = None
        return values or get_variable_values(self._schema, self._nodes, dict(inputs), max_errors=_MAX_ERRORS)

    def _expected_values(self, inputs: Mapping[str, Any]) -> VariableValues | None:
        """Return the coerced values, or None if one may be invalid."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, coerce, signature, default, is_required in self._variables:
            if name in inputs:
                value = inputs[name]
                sources[name] = VariableValueSource(signature, value)
                coerced_value = coerce(value)
                if coerced_value is Undefined:
                    return None
                coerced[name] = coerced_value
            elif is_required:
                return None
            else:
                sources[name] = VariableValueSource(signature)
                if default is not Undefined:
                    coerced[name] = default
        return VariableValues(sources, coerced)


def _list_coercion(coerce_item: Coerce) -> Coerce:
    def coerce(value: Any) -> Any:
        # graphql-core makes a list of any other value
        if type(value) is not list:
            return Undefined
        coerced = [coerce_item(item) for item in value]
        return Undefined if any(item is Undefined for item in coerced) else coerced

    return coerce


def _leaf_coercion(type_: GraphQLLeafType) -> Coerce:
    coerce_leaf = type_.coerce_input_value

    def coerce(value: Any) -> Any:
        try:
            return coerce_leaf(value)
        except Exception:
            return Undefined

    return coerce
