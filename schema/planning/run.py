"""Runs of plans: values are found and completed for all parents of a level at once."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from inspect import isawaitable
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any

import strawberry
from graphql import ExecutionResult, FragmentDefinitionNode, GraphQLError, located_error
from graphql.execution.values import VariableValues
from graphql.pyutils import inspect

from schema.language.fields import FindAll
from schema.planning.paths import (
    FindPath,
    PathOf,
    path_from,
    path_of_field,
    path_of_item,
    path_of_root,
    path_of_selected,
)
from schema.planning.plan import FAILED, FieldPlan, ObjectPlan, Plan, Resolver, ValuePlan
from schema.planning.shaping import are_serialized

# Items of a list that are completed before other tasks get a turn.
CHUNK_SIZE = 500


class _Resolution:
    """The part of GraphQLResolveInfo that resolvers read: the context, and the selection and the path of the field."""

    __slots__ = ("_path", "context", "field_nodes", "fragments", "of_selection", "variable_values")

    def __init__(
        self,
        context: Any,
        field: FieldPlan,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        path: FindPath,
    ) -> None:
        self.context = context
        self.field_nodes = field.nodes
        self.fragments = fragments
        self.variable_values = variables
        # what resolvers have found in the selection, which the plan keeps
        self.of_selection = field.of_selection
        self._path = path

    @property
    def path(self) -> "_Resolution":
        return self

    def as_list(self) -> list[str | int]:
        return self._path()


async def run_plan(plan: Plan, variables: VariableValues, context: Any) -> ExecutionResult:
    """Run a plan in the context of its resolvers. The result equals that of the general executor."""
    run = _PlanRun(plan, variables, context)
    try:
        data = await run.data()
    finally:
        # the root of the operation costs nothing
        context.cost_meter.objects += run.objects - 1
    return ExecutionResult(data, run.errors or None)


class _PlanRun:
    """One run of a plan. Collects the errors and counts the objects."""

    def __init__(self, plan: Plan, variables: VariableValues, context: Any) -> None:
        self.errors: list[GraphQLError] = []
        self.objects = 0
        self._plan = plan
        self._variables = variables
        self._context = context
        # number of values that failed in non-null positions
        self._failures = 0

    async def data(self) -> dict[str, Any] | None:
        """Run the plan and return the data of the response."""
        (data,) = await self._objects(self._plan.root, [None], path_of_root, is_serial=self._plan.is_serial)
        return None if data is FAILED else data

    # Values of fields

    async def _field(self, field: FieldPlan, sources: Sequence[Any], path: PathOf) -> list[Any]:
        """Find and complete the values of a field that may have to wait."""
        field_path = path_of_field(path, field.key)
        if field.resolver is not None and field.resolver.find_all is not None:
            values = await self._find_all(field, field.resolver, field.resolver.find_all, sources, field_path)
            return await self._complete_async(field, field.value, values, field_path)
        values = self._values(field, sources, field_path)
        waiting = (
            [index for index, value in enumerate(values) if isawaitable(value)]
            if field.resolver and field.resolver.is_async
            else []
        )
        if len(waiting) == 1:
            (index,) = waiting
            try:
                values[index] = await values[index]
            except Exception as error:
                values[index] = error
        elif waiting:
            awaited = await asyncio.gather(*(values[index] for index in waiting), return_exceptions=True)
            for index, value in zip(waiting, awaited, strict=True):
                values[index] = value
        return await self._complete_async(field, field.value, values, field_path)

    def _field_now(self, field: FieldPlan, sources: Sequence[Any], path: PathOf) -> list[Any]:
        """Find and complete the values of a field that has nothing to wait for."""
        field_path = path_of_field(path, field.key)
        return self._complete(field, field.value, self._values(field, sources, field_path), field_path)

    def _values(self, field: FieldPlan, sources: Sequence[Any], path: PathOf) -> list[Any]:
        """Find the values of a field. Those of a resolver may be awaitable."""
        if field.resolver is None:
            return self._attributes(field, sources)
        return self._resolve(field, field.resolver, sources, path)

    def _attributes(self, field: FieldPlan, sources: Sequence[Any]) -> list[Any]:
        attribute, column = field.attribute, field.column
        assert attribute is not None, "a field has an attribute or a resolver"
        try:
            if column is not None and column.compute is not None:
                return [column.compute(it.row, it.pinned) for it in sources]
            return list(map(attrgetter(attribute), sources))
        except Exception:
            # read each by itself, so that only those fail that have no value
            values: list[Any] = []
            for source in sources:
                try:
                    values.append(getattr(source, attribute))
                except Exception as error:
                    values.append(error)
            return values

    async def _find_all(
        self, field: FieldPlan, resolver: Resolver, find_all: FindAll, sources: Sequence[Any], path: PathOf
    ) -> list[Any]:
        """Find the values of all sources at once. A failure is that of each of them."""
        try:
            arguments = resolver.arguments.values(self._variables)
            info = self._info(field, lambda: path(0))
            values = list(await find_all(sources, info, **arguments))
            if len(values) != len(sources):
                raise ValueError(f"{field.parent_name}.{field.name} found {len(values)} values for {len(sources)} parents.")
        except Exception as error:
            return [error] * len(sources)
        return values

    def _resolve(self, field: FieldPlan, resolver: Resolver, sources: Sequence[Any], path: PathOf) -> list[Any]:
        """Call a resolver for each source. A value is what it returned, or the exception that it raised."""
        try:
            arguments = resolver.arguments.values(self._variables)
        except Exception as error:
            return [error] * len(sources)
        values: list[Any] = []
        for index, source in enumerate(sources):
            if resolver.info_parameter is not None:
                info = self._info(field, lambda index=index: path(index))  # type: ignore[misc]
                options = {**arguments, resolver.info_parameter: info}
            else:
                options = arguments
            try:
                values.append(resolver.function(source, **options) if resolver.takes_source else resolver.function(**options))
            except Exception as error:
                values.append(error)
        return values

    def _info(self, field: FieldPlan, path: FindPath) -> "strawberry.Info[Any, None]":
        """Build the info object of a resolver."""
        resolution: Any = _Resolution(self._context, field, self._plan.fragments, self._variables, path)
        return strawberry.Info(resolution, None)  # type: ignore[arg-type]

    # Completion of values

    async def _complete_async(self, field: FieldPlan, plan: ValuePlan, values: list[Any], path: PathOf) -> list[Any]:
        """Complete values. Between chunks of a long list, other tasks get a turn."""
        if plan.item is not None:
            items, lists = self._flatten(field, values)
            item_path = path_of_item(lists, path)
            if plan.is_async:
                completed = await self._complete_async(field, plan.item, items, item_path)
            elif len(items) <= CHUNK_SIZE:
                completed = self._complete(field, plan.item, items, item_path)
            else:
                completed = []
                for start in range(0, len(items), CHUNK_SIZE):
                    chunk = items[start : start + CHUNK_SIZE]
                    completed += self._complete(field, plan.item, chunk, path_from(item_path, start))
                    await asyncio.sleep(0)
            return self._regroup(field, plan, lists, completed, path)
        if not plan.is_async:
            return self._complete(field, plan, values, path)
        sole = _sole_type(plan, values)
        if sole is not None:
            completed = await self._objects(sole, values, path)
            return completed if plan.is_non_null else _failed_to_null(completed)
        groups = self._groups(plan, values)
        completed = self._settle_exceptional(field, plan, values, path)
        shaped = await _all(self._objects(it, [values[i] for i in of], path_of_selected(path, of)) for it, of in groups)
        return self._scatter(plan, completed, groups, shaped)

    def _complete(self, field: FieldPlan, plan: ValuePlan, values: list[Any], path: PathOf) -> list[Any]:
        """Complete values that have nothing to wait for."""
        if plan.item is not None:
            items, lists = self._flatten(field, values)
            completed = self._complete(field, plan.item, items, path_of_item(lists, path))
            return self._regroup(field, plan, lists, completed, path)
        if plan.serialize is not None:
            if are_serialized(plan, values):
                return values
            return [self._leaf(field, plan, value, path, index) for index, value in enumerate(values)]
        sole = _sole_type(plan, values)
        if sole is not None:
            completed = self._objects_now(sole, values, path)
            return completed if plan.is_non_null else _failed_to_null(completed)
        groups = self._groups(plan, values)
        completed = self._settle_exceptional(field, plan, values, path)
        shaped = [self._objects_now(it, [values[i] for i in of], path_of_selected(path, of)) for it, of in groups]
        return self._scatter(plan, completed, groups, shaped)

    def _leaf(self, field: FieldPlan, plan: ValuePlan, value: Any, path: PathOf, index: int) -> Any:
        if value is not None and not isinstance(value, BaseException):
            assert plan.serialize is not None, "a leaf has a serializer"
            try:
                value = plan.serialize(value)
            except Exception as error:
                value = error
        if value is None or isinstance(value, BaseException):
            return self._exceptional(field, plan, value, path, index)
        return value

    def _exceptional(self, field: FieldPlan, plan: ValuePlan, value: BaseException | None, path: PathOf, index: int) -> Any:
        """Complete null or an exception. Record the error, if it is one, and return None or FAILED."""
        if isinstance(value, BaseException):
            if not isinstance(value, Exception):
                raise value
            self._record(value, field, path(index))
        elif plan.is_non_null:
            self._record(
                TypeError(f"Cannot return null for non-nullable field {field.parent_name}.{field.name}."), field, path(index)
            )
        if not plan.is_non_null:
            return None
        self._failures += 1
        return FAILED

    def _record(self, error: Exception, field: FieldPlan, path: list[str | int]) -> None:
        self.errors.append(located_error(error, field.nodes, path))

    # Lists

    def _flatten(self, field: FieldPlan, values: list[Any]) -> tuple[list[Any], list[Any]]:
        """Return the items of all lists, and the lists, each as a list, None or an exception."""
        if set(map(type, values)) == {list}:
            return list(chain.from_iterable(values)), values
        lists: list[Any] = []
        items: list[Any] = []
        for value in values:
            if not isinstance(value, list) and value is not None and not isinstance(value, BaseException):
                if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
                    value = list(value)
                else:
                    value = GraphQLError(f"Expected Iterable, but did not find one for field '{field.parent_name}.{field.name}'.")
            lists.append(value)
            if isinstance(value, list):
                items += value
        return items, lists

    def _regroup(self, field: FieldPlan, plan: ValuePlan, lists: list[Any], items: list[Any], path: PathOf) -> list[Any]:
        """Return the completed lists."""
        assert plan.item is not None, "the plan is that of a list"
        may_fail = plan.item.is_non_null and self._failures
        if not may_fail and set(map(type, lists)) == {list}:
            return [items[stop - len(value) : stop] for value, stop in zip(lists, accumulate(map(len, lists)), strict=True)]
        completed: list[Any] = []
        start = 0
        for index, value in enumerate(lists):
            if not isinstance(value, list):
                completed.append(self._exceptional(field, plan, value, path, index))
                continue
            part: Any = items[start : start + len(value)] if len(lists) > 1 else items
            start += len(value)
            if may_fail and FAILED in part:
                part = FAILED if plan.is_non_null else None
            completed.append(part)
        return completed

    # Objects

    def _groups(self, plan: ValuePlan, values: list[Any]) -> list[tuple[ObjectPlan, list[int]]]:
        """Return the indexes of the objects among values, by their types. A value of another type becomes an exception."""
        indexes: dict[ObjectPlan, list[int]] = {}
        for index, value in enumerate(values):
            if value is None or isinstance(value, BaseException):
                continue
            plan_of_type = plan.object if plan.objects is None else plan.objects.get(type(value))
            if plan.expected is not None and not isinstance(value, plan.expected):
                values[index] = TypeError(f"Expected value of type '{plan.type_name}' but got: {inspect(value)}.")
            elif plan_of_type is None:
                values[index] = TypeError(
                    f"Abstract type '{plan.type_name}' was resolved to a type '{type(value).__name__}' that does not exist"
                    " inside the schema."
                )
            else:
                indexes.setdefault(plan_of_type, []).append(index)
        return list(indexes.items())

    def _settle_exceptional(self, field: FieldPlan, plan: ValuePlan, values: list[Any], path: PathOf) -> list[Any]:
        """Return the completed nulls and exceptions among values, and None for each object."""
        return [
            self._exceptional(field, plan, value, path, index) if value is None or isinstance(value, BaseException) else None
            for index, value in enumerate(values)
        ]

    def _scatter(
        self, plan: ValuePlan, completed: list[Any], groups: list[tuple[ObjectPlan, list[int]]], shaped: Sequence[list[Any]]
    ) -> list[Any]:
        """Put the objects of each group at their indexes."""
        for (_, indexes), objects in zip(groups, shaped, strict=True):
            for index, shaped_object in zip(indexes, objects, strict=True):
                completed[index] = None if shaped_object is FAILED and not plan.is_non_null else shaped_object
        return completed

    async def _objects(self, plan: ObjectPlan, sources: Sequence[Any], path: PathOf, *, is_serial: bool = False) -> list[Any]:
        """Complete the objects of one type. One that failed is FAILED."""
        if not sources:
            return []
        self.objects += len(sources)
        deferred: list[list[Any]] = [[]] * len(plan.deferred)
        waiting = []
        for slot, field in enumerate(plan.deferred):
            if not field.is_async:
                deferred[slot] = self._field_now(field, sources, path)
            elif is_serial:
                deferred[slot] = await self._field(field, sources, path)
                if deferred[slot][0] is FAILED:
                    # the fields after one that failed are not run
                    return [FAILED]
            else:
                waiting.append((slot, field))
        if len(waiting) == 1:
            ((slot, field),) = waiting
            deferred[slot] = await self._field(field, sources, path)
        elif waiting:
            completed = await asyncio.gather(*(self._field(field, sources, path) for _, field in waiting))
            for (slot, _), values in zip(waiting, completed, strict=True):
                deferred[slot] = values
        return self._shaped(plan, sources, deferred, path)

    def _objects_now(self, plan: ObjectPlan, sources: Sequence[Any], path: PathOf) -> list[Any]:
        """Complete the objects of one type, whose fields have nothing to wait for."""
        self.objects += len(sources)
        return self._shaped(plan, sources, [self._field_now(field, sources, path) for field in plan.deferred], path)

    def _shaped(self, plan: ObjectPlan, sources: Sequence[Any], deferred: list[list[Any]], path: PathOf) -> list[Any]:
        return plan.shape(sources, deferred, lambda index: self._shape_exactly(plan, sources[index], deferred, path, index))

    def _shape_exactly(self, plan: ObjectPlan, source: Any, deferred: list[list[Any]], path: PathOf, index: int) -> Any:
        """Shape one object field by field. Return FAILED at the first non-null field that failed."""
        shaped: dict[str, Any] = {}
        for field in plan.fields:
            if field.constant is not None:
                value: Any = field.constant
            elif field.slot is not None:
                value = deferred[field.slot][index]
            else:
                (value,) = self._attributes(field, [source])
                value = self._leaf(field, field.value, value, path_of_field(path, field.key), index)
            if value is FAILED:
                self._failures += 1
                return FAILED
            shaped[field.key] = value
        return shaped


async def _all(coroutines: Iterable[Coroutine[Any, Any, list[Any]]]) -> list[list[Any]]:
    """Run coroutines concurrently, or a single one at once."""
    listed = list(coroutines)
    if len(listed) == 1:
        return [await listed[0]]
    return await asyncio.gather(*listed) if listed else []


def _sole_type(plan: ValuePlan, values: Sequence[Any]) -> ObjectPlan | None:
    """Return the plan of the objects if all values are of one type; None: there are nulls, exceptions or several types."""
    classes = set(map(type, values))
    if plan.objects is not None:
        return plan.objects.get(next(iter(classes))) if len(classes) == 1 else None
    if plan.expected is not None:
        are_objects = classes == {plan.expected} or all(issubclass(it, plan.expected) for it in classes)
    else:
        are_objects = not any(it is type(None) or issubclass(it, BaseException) for it in classes)
    return plan.object if are_objects else None


def _failed_to_null(values: list[Any]) -> list[Any]:
    return [None if it is FAILED else it for it in values] if FAILED in values else values
