"""Entities for a gateway: found by any key, at the instant of the id, each independently of the others."""

import re
from typing import Any
from uuid import uuid4

import pytest
from graphql import GraphQLEnumType, GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType, get_named_type, is_leaf_type
from strawberry.federation.schema_directives import Tag
from strawberry.types.base import get_object_definition

from db.errors import Timeout
from schema import root
from schema.language.fields import scope_of
from schema.root import schema
from tests.builders import Api, day, iso

ENTITIES = "query ($refs: [_Any!]!) { _entities(representations: $refs) { ... on Product { id name } } }"


ASSETS = "query ($refs: [_Any!]!) { _entities(representations: $refs) { __typename ... on Asset { id label } } }"


def asset(**keys: Any) -> dict[str, Any]:
    return {"__typename": "Asset", **keys}


def product(**keys: Any) -> dict[str, Any]:
    return {"__typename": "Product", **keys}


async def test_the_error_of_a_long_invalid_representation_is_short(api: Api) -> None:
    long = "\x7f" * 10_000
    for bad in ({"__typename": long}, {"__typename": [long]}, product(uid=long), product(id=long), asset(uid=long)):
        answer = await api("query ($ref: _Any!) { _entities(representations: [$ref, $ref, $ref]) { __typename } }", ref=bad)
        assert len(answer.errors) == 3
        assert len(str(answer.body)) < 5_000


async def test_the_service_field_returns_the_schema(api: Api) -> None:
    assert (await api("{ _service { sdl } }")).data["_service"]["sdl"] == schema.as_str()


async def test_an_id_is_resolved_at_its_instant_and_other_keys_now(api: Api) -> None:
    uid = (await api.register())["uid"]
    await api.update("orders", name="purchases", at=day(10))
    pinned, current = f"Product:{uid}@{iso(day(5))}", f"Product:{uid}"
    answer = await api(
        ENTITIES,
        refs=[product(id=pinned), product(id=current), product(uid=uid), product(name="purchases"), product(name="orders")],
    )
    assert answer.data["_entities"] == [
        {"id": pinned, "name": "orders"},
        {"id": current, "name": "purchases"},
        {"id": current, "name": "purchases"},
        {"id": current, "name": "purchases"},
        None,
    ]


async def test_representations_of_one_type_take_one_statement(api: Api) -> None:
    uids = [(await api.register(name))["uid"] for name in ("a", "b", "c")]
    api.statements.clear()
    entities = (await api(ENTITIES, refs=[product(id=f"Product:{uid}") for uid in uids])).data["_entities"]
    assert [it["name"] for it in entities] == ["a", "b", "c"]
    assert len(api.statements) == 1


async def test_representations_of_one_type_and_form_open_no_transaction(api: Api) -> None:
    await api.register("a")
    uid = (await api.register("b"))["uid"]
    mixed = "query ($refs: [_Any!]!) { _entities(representations: $refs) { ... on Asset { label } } products { totalCount } }"
    for document, refs, statements in (
        # the first sets the tenant of the session
        (ENTITIES, [product(name="a")], None),
        (ENTITIES, [product(name="a"), product(name="b"), product(name="a"), product(name="c"), product()], 1),
        (ENTITIES, [product(uid=uid), product(uid=uid.upper()), product(uid="urn:uuid:" + uid)], 1),
        (ENTITIES, [product(name="a"), product(uid=uid)], 4),
        (ASSETS, [asset(uid=uid)], 1),
        (mixed, [product(name="a")], 5),
    ):
        before = api.statements.all_statements
        answer = await api(document, refs=refs)
        found = [it and it.get("name", it.get("label")) for it in answer.body["data"]["_entities"]]
        assert found == {5: ["a", "b", "a", None, None], 3: ["b"] * 3, 2: ["a", "b"]}.get(len(refs), found)
        assert statements in (None, taken := api.statements.all_statements - before), (refs, taken)


async def test_an_asset_is_found_without_knowing_its_kind(api: Api) -> None:
    product_uid = (await api.register())["uid"]
    await api.put_types()
    entity_uid = (await api.create("t", type="TABLE"))["uid"]
    await api.update("orders", name="purchases", at=day(10))
    pinned = f"Product:{product_uid}@{iso(day(5))}"
    keys: list[dict[str, str]] = [
        {"id": pinned},
        {"id": f"Entity:{entity_uid}"},
        {"uid": product_uid},
        {"uid": entity_uid},
        {"uid": str(uuid4())},
        {"id": f"Product:{entity_uid}"},
        {"id": f"LineageLink:{entity_uid}"},
    ]
    api.statements.clear()
    answer = await api(ASSETS, refs=[asset(**it) for it in keys])
    current = {"__typename": "Product", "id": f"Product:{product_uid}", "label": "purchases"}
    table = {"__typename": "Entity", "id": f"Entity:{entity_uid}", "label": "t"}
    assert answer.data["_entities"] == [{**current, "id": pinned, "label": "orders"}, table, current, table, None, None, None]
    # the kinds of the uids; products at the instant; products and entities, by id or uid
    assert len(api.statements) == 4


async def test_an_asset_without_a_valid_key_fails_without_the_others(api: Api) -> None:
    uid = (await api.register())["uid"]
    answer = await api(ASSETS, refs=[asset(), asset(id="rubbish"), asset(uid="rubbish"), asset(name="orders"), asset(uid=uid)])
    assert [it is None for it in answer.body["data"]["_entities"]] == [True, True, True, True, False]
    assert {it["extensions"]["code"] for it in answer.errors} == {"BAD_INPUT"}
    assert len(answer.errors) == 4


async def test_more_representations_than_the_limit_are_refused(api: Api) -> None:
    answer = await api(ENTITIES, refs=[1] * 1_001)
    assert answer.code_and_field == ("LIMIT_EXCEEDED", "representations")
    assert len((await api(ENTITIES, refs=[1] * 1_000)).errors) == 1_000


def test_every_type_with_keys_has_a_reference_resolver() -> None:
    keyed = {it["type"] for it in re.finditer(r"^(?:type|interface) (?P<type>\w+).* @key", schema.as_str(), re.MULTILINE)}
    assert keyed == schema.references.keys() == {
        "Asset", "Domain", "Entity", "EntityType", "LineageLink", "Product", "Relationship",
    }  # fmt: skip


OBJECTS = """
  query ($refs: [_Any!]!) {
    _entities(representations: $refs) {
      __typename
      ... on Node { id }
      ... on Entity { displayName }
      ... on LineageLink { confidence source { id } }
      ... on Relationship { attributes origin { id } }
      ... on Domain { name owners }
      ... on EntityType { label domain { id } }
    }
  }
"""


def entity_ref(code: Any = "PERSON", key: Any = "4101") -> dict[str, Any]:
    return {"__typename": "Entity", "key": key, "type": {"code": code}}


async def test_an_entity_is_found_by_its_type_and_key(api: Api) -> None:
    await api.put_types()
    uids = [(await api.create(name, type="PERSON", key=key))["uid"] for name, key in (("ann", "4101"), ("bo", "4102"))]
    update = "mutation ($input: UpdateEntityInput!) { updateEntity(input: $input) { changed } }"
    assert (await api(update, input={"entity": {"uid": uids[1]}, "addKeys": ["crm-2"]})).data
    refs = [entity_ref(), entity_ref(key="crm-2"), entity_ref(key="nobody"), entity_ref("TABLE"), entity_ref("NOTHING")]
    api.statements.clear()
    answer = await api(OBJECTS, refs=[*refs, {**entity_ref(), "id": f"Entity:{uids[1]}"}])
    assert [it and it["displayName"] for it in answer.data["_entities"]] == ["ann", "bo", None, None, None, "bo"]
    assert answer.data["_entities"][0]["id"] == f"Entity:{uids[0]}"
    # one for the keys, one for the id
    assert len(api.statements) == 2
    # without a transaction; the first such request sets the tenant of the session
    for _ in range(2):
        before = api.statements.all_statements
        assert [it and it["label"] for it in (await api(ASSETS, refs=refs)).data["_entities"]] == ["ann", "bo", None, None, None]
    assert api.statements.all_statements - before == 1


async def test_entity_types_are_found_by_their_code(api: Api) -> None:
    await api.put_types()
    refs = [{"__typename": "EntityType", "code": it} for it in ("PERSON", "TABLE", "NOTHING")]
    api.statements.clear()
    assert (await api(OBJECTS, refs=refs)).data["_entities"] == [
        {"__typename": "EntityType", "label": "Person", "domain": {"id": "Domain:people"}},
        {"__typename": "EntityType", "label": "Table", "domain": None},
        None,
    ]
    assert len(api.statements) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"key": "4101"},
        {"type": {"code": "PERSON"}},
        {"key": "4101", "type": None},
        {"key": "4101", "type": "PERSON"},
        {"key": "4101", "type": {"label": "Person"}},
        {"key": 4101, "type": {"code": "PERSON"}},
        {"key": None, "type": {"code": "PERSON"}},
        {"key": "a\0b", "type": {"code": "PERSON"}},
        {"key": "4101", "type": {"code": "PERSON\0"}},
        {"name": "ann"},
    ],
    ids=str,
)
async def test_an_invalid_key_of_an_entity_fails_without_the_others(api: Api, bad: dict[str, Any]) -> None:
    await api.put_types()
    await api.create("ann", type="PERSON", key="4101")
    answer = await api(OBJECTS, refs=[{"__typename": "Entity", **bad}, entity_ref()])
    assert [it and it["displayName"] for it in answer.body["data"]["_entities"]] == [None, "ann"]
    assert [it["extensions"]["code"] for it in answer.errors] == ["BAD_INPUT"]
    assert answer.errors[0]["extensions"]["field"] in ("representations", "key", "code")


async def test_links_relationships_and_domains_are_found_at_the_instant_of_their_id(api: Api) -> None:
    await api.put_types()
    await api.put_relationship_type()
    for name in ("a", "b", "c"):
        await api.register(name, domain="people & ops")
    ann = {"uid": (await api.create("ann"))["uid"]}
    links, relationships = [], []
    for instant, confidence in ((day(0), 0.5), (day(10), 1.0)):
        links = [(await api.link("a", it, at=instant, confidence=confidence))["uid"] for it in ("b", "c")]
        related = [await api.relate("steward", {"product": it}, ann, at=instant, attributes={"at": confidence}) for it in "ab"]
        relationships = [it.data["relate"]["relationship"]["uid"] for it in related]
    for name in ("a", "b", "c"):
        await api.update(name, domain="sales", at=day(10))
    domain = "people%20%26%20ops"
    for type_name, keys, statements, then, now in (
        ("LineageLink", links, 2, {"confidence": 0.5}, {"confidence": 1.0}),
        ("Relationship", relationships, 3, {"attributes": {"at": 0.5}}, {"attributes": {"at": 1.0}}),
        ("Domain", [domain], 2, {"name": "people & ops", "owners": ["ann"]}, None),
        ("Domain", ["sales"], 2, None, {"name": "sales", "owners": ["ann"]}),
    ):
        for suffix, state in ((f"@{iso(day(5))}", then), ("", now)):
            ids = [f"{type_name}:{key}{suffix}" for key in keys]
            api.statements.clear()
            found = (await api(OBJECTS, refs=[{"__typename": type_name, "id": it} for it in ids])).data["_entities"]
            if state is None:
                assert found == [None]
                continue
            expected = [{"__typename": type_name, "id": it, **state} for it in ids]
            assert [{name: it[name] for name in expected[0]} for it in found] == expected
            # the ends of links and relationships, and the owners of domains, take one
            assert len(api.statements) == statements, ids
    refs = [
        {"__typename": "Relationship", "uid": relationships[0]},
        {"__typename": "LineageLink", "uid": links[1]},
        {"__typename": "Domain", "name": "sales"},
        {"__typename": "Domain", "name": "people & ops"},
        {"__typename": "LineageLink", "id": f"LineageLink:{uuid4()}"},
        {"__typename": "LineageLink", "id": f"Relationship:{relationships[0]}"},
        {"__typename": "Domain", "id": f"LineageLink:{links[0]}"},
        {"__typename": "EntityType", "code": "NOTHING"},
    ]
    assert [it and it["id"] for it in (await api(OBJECTS, refs=refs)).data["_entities"]] == [
        f"Relationship:{relationships[0]}",
        f"LineageLink:{links[1]}",
        "Domain:sales",
        *[None] * 5,
    ]


async def test_an_invalid_key_of_a_link_or_a_domain_fails_without_the_others(api: Api) -> None:
    await api.register("a")
    bad: list[dict[str, Any]] = [
        {"__typename": name, **keys}
        for name in ("LineageLink", "Relationship", "Domain", "EntityType")
        for keys in ({}, {"id": "rubbish"}, {"uid": "rubbish"}, {"id": f"{name}:%41"}, {"name": 5})
    ]
    bad += [{"__typename": "Domain", "name": "a\0b"}, {"__typename": "Domain", "id": "Domain:%FF"}]
    answer = await api(OBJECTS, refs=[*bad, {"__typename": "Domain", "name": "sales"}])
    assert answer.body["data"]["_entities"] == [
        *[None] * len(bad),
        {"__typename": "Domain", "id": "Domain:sales", "name": "sales", "owners": ["ann"]},
    ]
    assert sorted(it["path"][1] for it in answer.errors) == list(range(len(bad)))
    assert {it["extensions"]["code"] for it in answer.errors} == {"BAD_INPUT"}


def test_root_fields_are_tagged_by_the_scope_that_they_require() -> None:
    for name in ("Query", "Mutation"):
        for field in get_object_definition(getattr(root, name), strict=True).fields:
            tags = [it.name for it in field.directives if isinstance(it, Tag)]
            tag = {"domain": "write", "self": None}.get(scope := str(scope_of(field)), scope)
            assert tags == ([f"headwater/{tag}"] if tag else []), field.python_name


def test_types_without_identity_are_shareable() -> None:
    """Every type with leaf fields only, except payloads and types that only this service has."""
    plain = {
        name
        for name, it in schema._schema.type_map.items()
        if isinstance(it, GraphQLObjectType)
        and not name.startswith("_")
        and all(is_leaf_type(get_named_type(field.type)) and not field.args for field in it.fields.values())
    }
    own = {it for it in plain if it.endswith("Payload")} | {"ApiKey", "RelationshipType", "DetailType"}
    shareable = set(re.findall(r"^type (\w+)[^\n{]* @shareable", schema.as_str(), re.MULTILINE))
    assert shareable == plain - own


# What names of types begin with, so that types of other subgraphs have other names; and the names that do not, and why.
OWN = (
    "Analytics",
    "Api",
    "Asset",
    "Detail",
    "Domain",
    "Entity",
    "Lineage",
    "Product",
    "Record",
    "Relationship",
    "Search",
    "Tenant",
)
OTHER_NAMES = {
    "Node": "shared: Relay defines it",
    "PageInfo": "shared: Relay defines it",
    "SchemaField": "shared: a field of a schema, of data products of any subgraph",
    "FieldChange": "shared: a field with its values before and after",
    "OrderDirection": "an input: ASC and DESC, in any subgraph",
    "AssociationOrderField": "an enum of the orders of links and relationships",
    "ChangeKind": "an enum of recorded changes",
    "ChangeSubject": "a union of what recorded changes change",
    "SubjectKind": "an enum of that",
    "DifferenceKind": "an enum of recorded differences",
    "Viewer": "who asks: in Headwater, by its keys",
    "ViewerLimits": "what the viewer may ask for",
}


def test_names_of_types_are_not_those_of_other_subgraphs() -> None:
    roots = {schema._schema.query_type, schema._schema.mutation_type}
    names = {
        name
        for name, it in schema._schema.type_map.items()
        if isinstance(it, GraphQLObjectType | GraphQLInterfaceType | GraphQLEnumType | GraphQLUnionType)
        and it not in roots
        and not name.startswith(("_", "link__", *OWN))
        and not name.endswith("Payload")
    }
    assert names - OTHER_NAMES.keys() == set()


async def test_a_bad_representation_fails_without_the_others(api: Api) -> None:
    uid = (await api.register())["uid"]
    bad: list[Any] = [
        {"__typename": "Nothing", "id": "x"},
        product(id="rubbish"),
        product(),
        product(uid=5),
        {},
        product(name={"a": 1}),
        product(name="a\0b"),
    ]
    answer = await api(
        ENTITIES, refs=[*bad, product(uid=uid), product(uid=str(uuid4())), product(name="orders", info="x", of="y")]
    )
    assert answer.body["data"]["_entities"][len(bad) :] == [
        {"id": f"Product:{uid}", "name": "orders"},
        None,
        {"id": f"Product:{uid}", "name": "orders"},
    ]
    assert sorted(it["path"] for it in answer.errors) == [["_entities", number] for number in range(len(bad))]
    assert {it["extensions"]["code"] for it in answer.errors} == {"BAD_INPUT"}


async def test_a_look_up_that_fails_is_the_error_of_its_representations(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise Timeout("The database took longer than a request may.")

    uid = (await api.register())["uid"]
    monkeypatch.setattr("schema.assets.federation.PRODUCT_BY_NAME._find", fail)
    answer = await api(ENTITIES, refs=[product(uid=uid), product(name="orders"), product(id=f"Product:{uid}")])
    found = {"id": f"Product:{uid}", "name": "orders"}
    assert answer.body["data"]["_entities"] == [found, None, found]
    assert [(it["path"], it["extensions"]["code"]) for it in answer.errors] == [(["_entities", 1], "TIMEOUT")]
    monkeypatch.setattr("schema.lazy.NODE_BY_UID._find", fail)
    answer = await api(ENTITIES, refs=[product(uid=uid), asset(uid=uid)])
    assert answer.body["data"]["_entities"] == [found, None]
    assert [it["path"] for it in answer.errors] == [["_entities", 1]]
