"""Generated code serializes each leaf as graphql-core does, and leaves every value that fails to `exactly`."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asyncpg.pgproto import pgproto

from schema.assets.product import Product, ProductStatus
from schema.language.columns import Column
from schema.language.pagination import OrderDirection
from schema.planning.plan import FieldPlan, ValuePlan
from schema.planning.shaping import generate_shape
from schema.root import schema

TYPES = schema._schema.type_map
LEAVES = ["String", "ID", "Boolean", "Int", "Float", "UUID", "DateTime", "JSON", "ProductStatus"]
TEXT = "2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101"
INSTANT = datetime(2025, 3, 1, 12, 0, 0, 123456, UTC)


class Text(str):
    """A string of another class."""


VALUES: list[Any] = [
    None, "", "text", Text("text"), "3", True, False, 0, 1, -(2**31), 2**31 - 1, 2**31, 0.0, 1.5, 2.0, math.inf, -math.inf,
    math.nan, UUID(TEXT), pgproto.UUID(TEXT), INSTANT, INSTANT.replace(microsecond=0),
    INSTANT.astimezone(timezone(timedelta(hours=2))),
    INSTANT.astimezone(timezone(timedelta())), ProductStatus("ACTIVE"), "ACTIVE", OrderDirection("ASC"), {"a": 1}, [1],
    ValueError("no value"), object,
]  # fmt: skip


def shape_one(source: Any, value: ValuePlan, column: Column | None = None) -> Any:
    """Shape one object with one field, and return the value of the field, or "exactly" if the generated code did not shape it."""
    field = FieldPlan("key", "Parent", "field", [], value, attribute="attribute", column=column)
    (shaped,) = generate_shape([field])([source], [], lambda _: {"key": "exactly"})
    return shaped["key"]


def outcome(function: Callable[[Any], Any], value: Any) -> Any:
    """Return what a serializer returns, "exactly" if it fails."""
    try:
        return None if value is None else function(value)
    except Exception:
        return "exactly"


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("is_non_null", [True, False], ids=["non-null", "nullable"])
def test_a_leaf_equals_what_its_serializer_returns(name: str, is_non_null: bool) -> None:
    type_: Any = TYPES[name]
    plan = ValuePlan(is_non_null, name, serialize=type_.coerce_output_value, enum=getattr(type_, "wrapped_cls", None))
    for value in VALUES:
        expected = outcome(type_.coerce_output_value, value)
        if expected is None and is_non_null:
            expected = "exactly"
        for shaped in (
            shape_one(SimpleNamespace(attribute=value), plan),
            shape_one(SimpleNamespace(row={}, pinned=value), plan, Column(None, lambda _, pinned: pinned, ())),
            # a column of an enum holds the name
            expected if plan.enum else shape_one(SimpleNamespace(row={"column": value}), plan, Column("column", None, ())),
        ):
            assert (type(shaped), repr(shaped)) == (type(expected), repr(expected)), value


@pytest.mark.parametrize(("stored", "expected"), [*((it.name, it.name) for it in ProductStatus), ("?", "exactly"), (None, None)])
def test_a_column_of_an_enum_holds_the_name_of_a_member(stored: str | None, expected: str | None) -> None:
    type_: Any = TYPES["ProductStatus"]
    plan = ValuePlan(False, "ProductStatus", serialize=type_.coerce_output_value, enum=type_.wrapped_cls)
    source = SimpleNamespace(row={"column": stored})
    assert shape_one(source, plan, Column("column", None, ())) == expected
    plan.is_non_null = True
    assert shape_one(source, plan, Column("column", None, ())) == (expected or "exactly")


def test_a_resolver_reads_the_member_of_a_column() -> None:
    status = Product.of({"status": "DEPRECATED"}, None).status
    assert isinstance(status, Enum)
    assert status is ProductStatus("DEPRECATED")
    with pytest.raises(KeyError, match="UNKNOWN"):
        _ = Product.of({"status": "UNKNOWN"}, None).status
