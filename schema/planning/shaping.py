"""Generated code that shapes the objects of a response.

One function is generated for each object of a plan. Its source refers to slots by number only: names and literals of the document
are constants that are passed in. Values that it does not handle, such as null in a non-null field, are left to `exactly`, which
completes one object field by field.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from graphql import GraphQLBoolean, GraphQLFloat, GraphQLID, GraphQLInt, GraphQLString

from schema.planning.plan import FAILED, FieldPlan, Shape, ValuePlan

# Conditions under which a value is what its serializer returns, by serializer. A number minus itself is 0 if it is finite.
_IS_SERIALIZED = {
    GraphQLString.coerce_output_value: "{0}.__class__ is str",
    GraphQLID.coerce_output_value: "{0}.__class__ is str",
    GraphQLBoolean.coerce_output_value: "{0}.__class__ is bool",
    GraphQLInt.coerce_output_value: f"{{0}}.__class__ is int and {-(2**31)} <= {{0}} < {2**31}",
    GraphQLFloat.coerce_output_value: "{0}.__class__ is float and {0} - {0} == 0.0",
}

# Types whose values are what these serializers return.
_SERIALIZED_TYPES = {
    GraphQLString.coerce_output_value: {str},
    GraphQLID.coerce_output_value: {str},
    GraphQLBoolean.coerce_output_value: {bool},
    GraphQLInt.coerce_output_value: {int},
}

# Generated functions that are kept. Objects with the same kinds of fields share one, whatever the fields are named.
_CACHED_FUNCTIONS = 1_024


def generate_shape(fields: Sequence[FieldPlan]) -> Shape:
    """Generate the function that shapes objects with these fields."""
    constants: list[Any] = [FAILED]
    before: list[str] = []
    entries: list[str] = []

    def constant(value: Any) -> str:
        constants.append(value)
        return f"k{len(constants) - 1}"

    for number, field in enumerate(fields):
        value = f"v{number}"
        if field.constant is not None:
            value = constant(field.constant)
        elif field.slot is not None:
            before.append(f"{value} = deferred[{field.slot}][index]")
            if field.value.is_non_null:
                before.append(f"if {value} is k0: raise KeyError")
        else:
            before += _leaf(field, value, constant)
        entries.append(f"{constant(field.key)}: {value}")
    if any(field.column is not None and field.slot is None for field in fields):
        before.insert(0, "row = source.row")
    lines = [
        f"def bind({', '.join(f'k{number}' for number in range(len(constants)))}):",
        " def shape(sources, deferred, exactly):",
        "  shaped = []",
        "  for index, source in enumerate(sources):",
        "   try:",
        *(f"    {line}" for line in before),
        f"    shaped.append({{{', '.join(entries)}}})",
        "   except Exception:",
        "    shaped.append(exactly(index))",
        "  return shaped",
        " return shape",
    ]
    return _compile("\n".join(lines))(*constants)


def are_serialized(plan: ValuePlan, values: Sequence[Any]) -> bool:
    """True if all values of a leaf are known to be what its serializer returns."""
    types = _SERIALIZED_TYPES.get(plan.serialize)  # type: ignore[arg-type]
    if types is None or set(map(type, values)) != types:
        return False
    return types != {int} or (min(values) >= -(2**31) and max(values) < 2**31)


@lru_cache(maxsize=_CACHED_FUNCTIONS)
def _compile(source: str) -> Callable[..., Shape]:
    """Return the function that binds the constants of generated code. Compiling takes most of the time of planning."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "<shape>", "exec"), namespace)
    bind: Callable[..., Shape] = namespace["bind"]
    return bind


def _leaf(field: FieldPlan, value: str, constant: Callable[[Any], str]) -> list[str]:
    """Return the lines that read and serialize a leaf."""
    plan, column = field.value, field.column
    assert plan.serialize is not None, "a leaf has a serializer"
    names = {it.name: plan.serialize(it) for it in plan.enum or ()}
    if column is None:
        # the name of an attribute of a Python class
        read = f"source.{field.attribute}"
    elif column.compute is not None:
        read = f"{constant(column.compute)}(row, source.pinned)"
    else:
        read = f"row[{constant(column.attribute)}]"
        if plan.enum is not None:
            # a column holds the name of the member; another value raises KeyError
            return [f"{value} = {constant(names if plan.is_non_null else {**names, None: None})}[{read}]"]
    serialized = f"{constant(plan.serialize)}({value})"
    lines = [f"{value} = {read}"]
    if plan.enum is not None:
        lines += [f"if {value}.__class__ is {constant(plan.enum)}: {value} = {constant(names)}[{value}._name_]", "else:"]
    elif plan.serialize in _IS_SERIALIZED:
        lines.append(f"if not ({_IS_SERIALIZED[plan.serialize].format(value)}):")
    else:
        lines.append("if True:")
    lines.append(f" if {value} is not None: {value} = {serialized}")
    if plan.is_non_null:
        lines.append(f" if {value} is None: raise KeyError")
    return lines
