"""Lists whose items are selected plainly: attributes, and attributes of attributes, without a resolver or an argument.

graphql-core completes each field of each item by itself, which is most of what a long list costs. Where nothing but attributes is
selected, what an item becomes is known before the first is seen, and is one function. Whatever is not as it should be, such as a
null where there may be none, is left to graphql-core, which tells what and where.
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

from schema.language.cost import CostMeter

# Marks a field's resolver: the field is the attribute of this name.
ATTRIBUTE = "_headwater_attribute"

# How many items of a list are completed at once.
AT_ONCE = 200

Complete = Callable[[Any], Any]


class NotPlain(Exception):
    """Something here that only graphql-core can deal with."""


class PlainSelections(StrawberryGraphQLCoreExecutionContext):
    """Executes as Strawberry does, but for lists whose items are selected plainly."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # by type and selection; that is kept too, so that its id stays its own
        self._known: dict[tuple[str, int], tuple[FieldDetailsList, Complete | None]] = {}
        # counts the objects of the answer
        self._cost_meter: CostMeter = getattr(self.context_value, "cost_meter", None) or CostMeter()

    def collect_and_execute_subfields(self, return_type: GraphQLObjectType, *rest: Any) -> Any:
        # introspection costs nothing: it is bounded, and asks for nothing that would have to be found
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
        complete = self._plain(item_type, field_details_list) if isinstance(items, list) else None
        if complete is not None:
            if isinstance(items, list) and len(items) > AT_ONCE:
                return self._at_length(complete, item_type, field_details_list, info, path, items, position_context)
            counted = self._cost_meter.objects
            try:
                return [complete(item) for item in items]
            except Exception:
                # told better, and counted, by what follows
                self._cost_meter.objects = counted
        return super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)

    async def _at_length(
        self,
        complete: Complete,
        item_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        items: list[Any],
        position_context: Any,
    ) -> Any:
        """The same for a long list, with pauses in which others get their turn."""
        completed: list[Any] = []
        counted = self._cost_meter.objects
        try:
            for start in range(0, len(items), AT_ONCE):
                completed += [complete(item) for item in items[start : start + AT_ONCE]]
                await asyncio.sleep(0)
        except Exception:
            # told better, and counted, by what follows
            self._cost_meter.objects = counted
            told = super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)
            return await told if isawaitable(told) else told
        return completed

    def _plain(self, item_type: GraphQLOutputType, selection: FieldDetailsList) -> Complete | None:
        key = (str(item_type), id(selection))
        if key not in self._known:
            try:
                complete = self._completing(item_type, selection)
            except NotPlain:
                complete = None
            self._known[key] = selection, complete
        return self._known[key][1]

    def _completing(self, type_: GraphQLOutputType, selection: FieldDetailsList) -> Complete:
        """What completes a value of a type."""
        if not isinstance(type_, GraphQLNonNull):
            complete = self._completing_some(type_, selection)
            return lambda value: None if value is None else complete(value)
        return self._completing_some(type_.of_type, selection)

    def _completing_some(self, type_: GraphQLOutputType, selection: FieldDetailsList) -> Complete:
        """What completes a value that is not null; null is an error to it."""
        match type_:
            case GraphQLList():
                complete = self._completing(type_.of_type, selection)
                return lambda values: [complete(value) for value in _listed(values)]
            case GraphQLObjectType():
                return self._completing_object(type_, selection)
            case GraphQLInterfaceType() if type_.resolve_type is not None:
                # an interface that says by itself which type a value has says so by its class
                by_class = {it.name: self._completing_object(it, selection) for it in self.schema.get_possible_types(type_)}
                return lambda value: by_class[type(value).__name__](value)
            case _ if isinstance(type_, GraphQLLeafType):
                serialise = type_.coerce_output_value
                return lambda value: _given(serialise(_given(value)))
        raise NotPlain

    def _completing_object(self, type_: GraphQLObjectType, selection: FieldDetailsList) -> Complete:
        fields, deferred, _ = self.collect_subfields(type_, selection)
        if deferred:
            raise NotPlain
        steps = [(name, *self._step(type_, details)) for name, details in fields.items()]
        spent = self._cost_meter

        def complete_object(value: Any) -> dict[str, Any]:
            spent.objects += 1
            return {name: complete(getattr(value, attribute)) for name, attribute, complete in steps}

        return complete_object

    def _step(self, type_: GraphQLObjectType, details: FieldDetailsList) -> tuple[str, Complete]:
        """The attribute that a field is, and what completes it."""
        selected = details[0].node.name.value
        if selected == "__typename":
            return "__class__", lambda _: type_.name
        field = self.schema.get_field(type_, selected)
        attribute = getattr(field.resolve, ATTRIBUTE, None) if field else None
        if field is None or attribute is None:
            raise NotPlain
        return attribute, self._completing(field.type, details)


def attribute(name: str) -> Callable[..., Any]:
    """The resolver of a field that is an attribute."""

    def resolve(source: Any, _: Any) -> Any:
        return getattr(source, name)

    setattr(resolve, ATTRIBUTE, name)
    return resolve


def _given(value: Any) -> Any:
    if value is None or value is Undefined:
        raise NotPlain
    return value


def _listed(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise NotPlain
    return values
