"""Statements select the columns that an operation reads: each field gives the same value alone as among all others."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type

from schema.language.columns import column_of
from schema.planning.plan import strawberry_field
from schema.root import schema
from tests.builders import Api

pytestmark = pytest.mark.api

AT = 'asOf: "2026-10-01"'
# Ways to read assets. Each has its own statement.
PATHS = {
    "by name": f'{{ product(name: "orders", {AT}) {{ FIELDS }} }}',
    "by uid": f'{{ entity(ref: {{ uid: "UID" }}, {AT}) {{ FIELDS }} }}',
    "list of products": f"{{ products({AT}) {{ nodes {{ FIELDS }} }} }}",
    "list of entities": f"{{ entities({AT}) {{ nodes {{ FIELDS }} }} }}",
    "order by the period": f"{{ products(orderBy: {{ field: UPDATED_AT }}, {AT}) {{ nodes {{ FIELDS }} }} }}",
    "in domains": f"{{ domains({AT}) {{ nodes {{ products(first: 1) {{ nodes {{ FIELDS }} }} }} }} }}",
    "product with a walk": f'{{ product(name: "orders", {AT}) {{ downstream(first: 5) {{ nodes {{ FIELDS }} }} }} }}',
    "walks": f"{{ products(first: 3, {AT}) {{ nodes {{ upstream(first: 2) {{ nodes {{ FIELDS }} }} }} }} }}",
    "ends of links": f'{{ product(name: "orders", {AT}) {{ downstream(first: 4) {{ links {{ target {{ FIELDS }} }} }} }} }}',
}


def columns(type_name: str) -> Iterator[str]:
    """Yield the fields of a type that are read from the row."""
    type_ = schema._schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    for name, field in type_.fields.items():
        if "strawberry-definition" in field.extensions and column_of(strawberry_field(field)) is not None:
            yield name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ name }}"


# Fields with resolvers that read the row.
RESOLVED = {
    "Product": [
        "fields { name }",
        "history { totalCount }",
        "relationships(first: 2) { nodes { uid } }",
        'related(key: "steward", first: 2) { nodes { uid } }',
        "upstream(maxDepth: 1, first: 2) { links { uid } }",
        "downstream(maxDepth: 1, first: 2) { edges { links { uid } } }",
    ],
    "Entity": [
        "type { code }",
        "details { value }",
        'detail(type: "email")',
        "relationships(first: 2) { nodes { uid } }",
        "upstream(maxDepth: 1, first: 2) { links { uid } }",
    ],
}


def contains(whole: Any, part: Any) -> bool:
    """True if a part has the same objects, lists and values, apart from the fields that it leaves out."""
    if isinstance(part, dict):
        return all(contains(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


# Kinds that the assets of a path can have, if not both.
KINDS = {"by name": "Product", "by uid": "Entity", "list of entities": "Entity"} | dict.fromkeys(
    ("list of products", "order by the period", "in domains"), "Product"
)


@pytest.mark.parametrize("path", PATHS)
async def test_a_field_alone_has_the_value_that_it_has_among_all(demo_api: Api, path: str) -> None:
    entities = (await demo_api(f"{{ entities(first: 1, {AT}) {{ nodes {{ uid }} }} }}")).data["entities"]["nodes"]
    query = PATHS[path].replace("UID", entities[0]["uid"])
    fields = {f"... on {kind} {{ {field} }}" for kind in ("Product", "Entity") for field in [*columns(kind), *RESOLVED[kind]]}
    fields = {it for it in fields if KINDS.get(path, "") in it}
    whole = (await demo_api(query.replace("FIELDS", " ".join(fields)))).data
    assert '"validFrom": ' in json.dumps(whole)
    for field in fields:
        alone = (await demo_api(query.replace("FIELDS", field))).data
        assert contains(whole, alone), field
