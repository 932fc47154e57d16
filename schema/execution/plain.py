"""Fast completion of lists whose items are selected plainly: attributes, and attributes of attributes, without arguments.

graphql-core completes each field of each item separately, which is most of the time that a long list takes. Where only attributes
are selected, one function completes an item, and it is built once. A value that it cannot complete, such as null in a non-null
field, is left to graphql-core, which reports the error and its path.
"""

import asyncio
from collections.abc import Callable, Iterable
from inspect import isawaitable
from typing import Any

from graphql import (
    GraphQLInterfaceType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path, Undefined
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.language.cost_meter import CostMeter

# Attribute of a resolver that only reads an attribute: the name of that attribute.
ATTRIBUTE = "_headwater_attribute"

# Items of a list that are completed before other tasks get a turn.
CHUNK_SIZE = 200

Complete = Callable[[Any], Any]


class NotPlain(Exception):
    """A type, a selection or a value that graphql-core has to complete."""


class PlainSelections(StrawberryGraphQLCoreExecutionContext):
    """Execution context that completes lists of plainly selected items, and leaves all else to Strawberry."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # by type and id of the selection; the selection is kept as well, so that its id is not reused
        self._completers: dict[tuple[str, int], tuple[FieldDetailsList, Complete | None]] = {}
        # counts the objects of the result
        self._cost_meter: CostMeter = getattr(self.context_value, "cost_meter", None) or CostMeter()

    def collect_and_execute_subfields(self, return_type: GraphQLObjectType, *rest: Any) -> Any:
        # introspection costs nothing: it has its own limit and reads nothing from the database
        if not return_type.name.startswith("__"):
            self._cost_meter.objects += 1
        return super().collect_and_execute_subfields(return_type, *rest)

    def complete_iterable_value(
        self,
        item_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        items: Iterable[Any],
        position_context: Any,
    ) -> Any:
        complete = self._completer(item_type, field_details_list) if isinstance(items, list) else None
        if complete is not None:
            if isinstance(items, list) and len(items) > CHUNK_SIZE:
                return self._complete_in_chunks(complete, item_type, field_details_list, info, path, items, position_context)
            objects_before = self._cost_meter.objects
            try:
                return [complete(item) for item in items]
            except Exception:
                # graphql-core counts the objects again, and reports the error
                self._cost_meter.objects = objects_before
        return super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)

    async def _complete_in_chunks(
        self,
        complete: Complete,
        item_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        items: list[Any],
        position_context: Any,
    ) -> Any:
        """Complete a long list, and let other tasks run between chunks."""
        completed: list[Any] = []
        objects_before = self._cost_meter.objects
        try:
            for start in range(0, len(items), CHUNK_SIZE):
                completed += [complete(item) for item in items[start : start + CHUNK_SIZE]]
                await asyncio.sleep(0)
        except Exception:
            # graphql-core counts the objects again, and reports the error
            self._cost_meter.objects = objects_before
            result = super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)
            return await result if isawaitable(result) else result
        return completed

    def _completer(self, item_type: GraphQLOutputType, selection: FieldDetailsList) -> Complete | None:
        """Return the function that completes an item; None: graphql-core has to."""
        key = (str(item_type), id(selection))
        if key not in self._completers:
            try:
                complete = self._build(item_type, selection)
            except NotPlain:
                complete = None
            self._completers[key] = selection, complete
        return self._completers[key][1]

    def _build(self, type_: GraphQLOutputType, selection: FieldDetailsList) -> Complete:
        """Build the function that completes a value of a type."""
        if not isinstance(type_, GraphQLNonNull):
            complete = self._build_non_null(type_, selection)
            return lambda value: None if value is None else complete(value)
        return self._build_non_null(type_.of_type, selection)

    def _build_non_null(self, type_: GraphQLOutputType, selection: FieldDetailsList) -> Complete:
        """Build the function that completes a value of a type and fails on null."""
        match type_:
            case GraphQLList():
                complete = self._build(type_.of_type, selection)
                return lambda values: [complete(value) for value in _require_list(values)]
            case GraphQLObjectType():
                return self._build_object(type_, selection)
            case GraphQLInterfaceType() if type_.resolve_type is not None:
                # an interface with resolve_type names its types like their classes
                by_class = {it.name: self._build_object(it, selection) for it in self.schema.get_possible_types(type_)}
                return lambda value: by_class[type(value).__name__](value)
            case _ if isinstance(type_, GraphQLLeafType):
                serialise = type_.coerce_output_value
                return lambda value: _require_value(serialise(_require_value(value)))
        raise NotPlain

    def _build_object(self, type_: GraphQLObjectType, selection: FieldDetailsList) -> Complete:
        fields, deferred, _ = self.collect_subfields(type_, selection)
        if deferred:
            raise NotPlain
        steps = [(name, *self._build_field(type_, details)) for name, details in fields.items()]
        cost_meter = self._cost_meter

        def complete_object(value: Any) -> dict[str, Any]:
            cost_meter.objects += 1
            return {name: complete(getattr(value, attribute)) for name, attribute, complete in steps}

        return complete_object

    def _build_field(self, type_: GraphQLObjectType, details: FieldDetailsList) -> tuple[str, Complete]:
        """Return the attribute that a field reads, and the function that completes it."""
        field_name = details[0].node.name.value
        if field_name == "__typename":
            return "__class__", lambda _: type_.name
        field = self.schema.get_field(type_, field_name)
        attribute = getattr(field.resolve, ATTRIBUTE, None) if field else None
        if field is None or attribute is None:
            raise NotPlain
        return attribute, self._build(field.type, details)


def attribute(name: str) -> Callable[..., Any]:
    """Return a resolver that reads an attribute."""

    def resolve(source: Any, _: Any) -> Any:
        return getattr(source, name)

    setattr(resolve, ATTRIBUTE, name)
    return resolve


def _require_value(value: Any) -> Any:
    if value is None or value is Undefined:
        raise NotPlain
    return value


def _require_list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise NotPlain
    return values
