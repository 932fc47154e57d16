"""Generated code that shapes the objects of a response.

One function is generated for each object of a plan. Its source refers to slots by number only: names and literals of the document
are constants that are passed in. Values that it does not handle, such as null in a non-null field, are left to `exactly`, which
completes one object field by field.
"""

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLString

from schema.planning.plan import FAILED, FieldPlan, Shape


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
            if field.column is None:
                before.append(f"{value} = getattr(source, {constant(field.attribute)})")
            elif field.column.compute is None:
                before.append(f"{value} = row[{constant(field.column.attribute)}]")
            else:
                before.append(f"{value} = {constant(field.column.compute)}(row, source.pinned)")
            serialize = field.value.serialize
            if serialize is GraphQLString.coerce_output_value:
                serialized = f"{constant(serialize)}({value})"
                before.append(f"if {value}.__class__ is not str and {value} is not None: {value} = {serialized}")
            else:
                before.append(f"if {value} is not None: {value} = {constant(serialize)}({value})")
            if field.value.is_non_null:
                before.append(f"if {value} is None: raise KeyError")
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
    namespace: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<shape>", "exec"), namespace)
    shape: Shape = namespace["bind"](*constants)
    return shape
