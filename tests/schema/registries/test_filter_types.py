"""Tests of the types that filters name: an unknown one is refused by each filter alike, with the known ones."""

import pytest

from tests.builders import Api

# An operation whose filter names a type, the field that names it, and the registry.
FILTERS = {
    "entities by type": ('{ entities(filter: { types: ["PERSON", "%s"] }) { totalCount } }', "types", "entity"),
    "entities of a domain": (
        '{ domain(name: "people") { entities(filter: { types: ["%s"] }) { totalCount } } }',
        "types",
        "entity",
    ),
    "entities by key": ('{ entities(filter: { keys: [{ type: "%s", key: "1" }] }) { totalCount } }', "keys.type", "entity"),
    "entities by detail": ('{ entities(filter: { details: [{ type: "%s" }] }) { totalCount } }', "details.type", "detail"),
    "a walk": (
        '{ product(name: "orders") { upstream(filter: { assets: { entityTypes: ["%s"] } }) { totalCount } } }',
        "entityTypes",
        "entity",
    ),
    "relationships": ('{ relationships(filter: { types: ["%s"] }) { totalCount } }', "types", "relationship"),
    "relationships of an asset": (
        '{ product(name: "orders") { relationships(types: ["%s"]) { totalCount } } }',
        "types",
        "relationship",
    ),
}


@pytest.fixture
async def api(shared_api: Api) -> Api:
    await shared_api.put_types()
    await shared_api.register("orders")
    for key in ("steward", "owner"):
        await shared_api.put_relationship_type(key)
    return shared_api


@pytest.mark.parametrize(
    ("operation", "field", "registry"), [pytest.param(*filter_, id=name) for name, filter_ in FILTERS.items()]
)
async def test_an_unknown_type_is_refused_with_the_known_ones_the_nearest_first(
    api: Api, operation: str, field: str, registry: str
) -> None:
    misspelt, known = {
        "entity": ("TABEL", "TABLE, PERSON"),
        "detail": ("phonenumber", "phone, homepage, born, email, height, note"),
        "relationship": ("stewards", "steward, owner"),
    }[registry]
    refused = await api(operation % misspelt)
    assert refused.code_and_field == ("BAD_INPUT", field)
    assert refused.error["message"] == f"There is no {registry} type '{misspelt}'. There are {known}."
    assert (await api(operation % r"a\u0000b")).code_and_field == ("BAD_INPUT", field)


async def test_an_error_names_twenty_types(api: Api) -> None:
    for start in range(0, 30, 10):
        puts = (
            f'p{it}: putEntityType(input: {{ code: "TYPE_{it}", label: "T" }}) {{ entityType {{ code }} }}' for it in range(10)
        )
        await api("mutation { " + " ".join(it.replace("TYPE_", f"TYPE_{start // 10}") for it in puts) + " }")
    message = (await api('{ entities(filter: { types: ["TYPE_299"] }) { totalCount } }')).error["message"]
    assert message.startswith("There is no entity type 'TYPE_299'. There are TYPE_29, ")
    assert message.endswith(" and 12 more.")
    assert message.count(",") == 19


async def test_known_types_take_one_statement_an_operation(api: Api) -> None:
    await api.create(details={"email": "ann@shop.example", "height": "1.7"})
    filter_ = '{ types: ["PERSON"], details: [{ type: "email", contains: "@" }, { type: "height", from: "1.65" }] }'
    walk = 'upstream(filter: { assets: { entityTypes: ["PERSON"] } }) { totalCount }'
    entities = f"{{ entities(filter: {filter_}) {{ totalCount nodes {{ label {walk} }} }} }}"
    api.statements.clear()
    assert (await api(entities)).data["entities"] == {"totalCount": 1, "nodes": [{"label": "Ann", "upstream": {"totalCount": 0}}]}
    read = [it for it in api.statements.executed if "FROM detail_type" in it and "code, format" in it]
    assert len(read) == 1
    assert len(api.statements) == 4, "the types, the page, the count and the walk"
