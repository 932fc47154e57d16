"""The registries of types through the API: put, list, remove, and refusals while a type is in use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from db.assets import entity
from db.assets.asset import IdentitySpec
from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.filters import TENANT
from db.registries import detail_type, entity_type
from db.registries.detail_format import FORMATS
from db.registries.detail_type import DetailTypeRow
from db.registries.entity_type import EntityTypeRow
from db.registries.type_registry import read_type_registry_locked
from db.sql import compose
from db.tables import domain, entity_detail
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.language.scopes import Scope, parse_scopes
from schema.root import schema
from tests.builders import Api, ApiResponse, Statements, day, iso
from tests.db.plans import explained_plans

PUT_ENTITY_TYPE = """
  mutation ($input: PutEntityTypeInput!) { putEntityType(input: $input) {
    entityType { code label domain { name } source { service endpoint lookupField isLocal } }
  } }
"""
PUT_DETAIL_TYPE = "mutation ($input: PutDetailTypeInput!) { putDetailType(input: $input) { detailType { code label format } } }"
REMOVE_ENTITY_TYPE = "mutation ($input: RemoveTypeInput!) { removeEntityType(input: $input) { code } }"
REMOVE_DETAIL_TYPE = "mutation ($input: RemoveTypeInput!) { removeDetailType(input: $input) { code } }"
TYPES = """{
  entityTypes { nodes { code label domain { name } source { service endpoint lookupField isLocal } } }
  detailTypes { nodes { code label format } }
}"""
CREATE = "mutation ($input: CreateEntityInput!) { createEntity(input: $input) { entity { uid } } }"
UPDATE = "mutation ($input: UpdateEntityInput!) { updateEntity(input: $input) { changed } }"
DELETE = "mutation ($input: DeleteEntityInput!) { deleteEntity(input: $input) { changed } }"
RESTORE = "mutation ($input: RestoreEntityInput!) { restoreEntity(input: $input) { changed } }"
DETAIL_NOW = 'query ($uid: UUID!) { entity(ref: { uid: $uid }) { detail(type: "email") } }'

SOURCE = {"service": "crm", "endpoint": "/customers", "lookupField": "email"}
SOURCE_ROW = {"service": "crm", "endpoint": "/customers", "lookup_field": "email", "is_local": False}

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'headwater' AND wait_event_type = 'Lock'"
)
# Many entities and details of other types than those of the test.
_FILL = """
INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'TABLE', 'Table');
INSERT INTO detail_type (tenant_id, code, label) VALUES (1, 'owner', 'Owner');
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT 1, gen_random_uuid(), 'ENTITY', CASE WHEN n <= 20 THEN 'PERSON' ELSE 'TABLE' END FROM generate_series(1, 4000) n;
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value)
SELECT 1, id, CASE type WHEN 'PERSON' THEN 'email' ELSE 'owner' END, '2026-01-01', 'infinity', 'x' FROM asset;
ANALYZE;
"""


async def put_entity_type(api: Api, code: str = "PERSON", **changes: Any) -> ApiResponse:
    return await api(PUT_ENTITY_TYPE, input={"code": code, "label": code.title(), **changes})


async def put_detail_type(api: Api, code: str = "email", **changes: Any) -> ApiResponse:
    return await api(PUT_DETAIL_TYPE, input={"code": code, "label": code.title(), **changes})


async def person(api: Api, *, at: float = 0, **details: str) -> str:
    """Create a person. Its types must be registered."""
    listed = [{"type": code, "value": value} for code, value in details.items()]
    given = {"type": "PERSON", "displayName": "Ann", "details": listed, "at": iso(day(at))}
    uid: str = (await api(CREATE, input=given)).data["createEntity"]["entity"]["uid"]
    return uid


async def listed_types(api: Api) -> dict[str, Any]:
    return {name: page["nodes"] for name, page in (await api(TYPES)).data.items()}


async def codes(api: Api) -> tuple[list[str], list[str]]:
    data = await listed_types(api)
    return [it["code"] for it in data["entityTypes"]], [it["code"] for it in data["detailTypes"]]


async def test_a_type_is_registered_and_listed_in_order_of_its_code(api: Api) -> None:
    assert (await listed_types(api)) == {"entityTypes": [], "detailTypes": []}
    await put_entity_type(api, "table")
    person = (await put_entity_type(api, "person", domain="people", source={**SOURCE, "isLocal": True})).data
    assert person["putEntityType"]["entityType"] == {
        "code": "person",
        "label": "Person",
        "domain": {"name": "people"},
        "source": {**SOURCE, "isLocal": True},
    }
    assert (await put_detail_type(api, "phone", format="phone")).data["putDetailType"]["detailType"]["format"] == "phone"
    await put_detail_type(api, "email")
    assert (await listed_types(api)) == {
        "entityTypes": [
            person["putEntityType"]["entityType"],
            {"code": "table", "label": "Table", "domain": None, "source": None},
        ],
        "detailTypes": [
            {"code": "email", "label": "Email", "format": None},
            {"code": "phone", "label": "Phone", "format": "phone"},
        ],
    }


async def test_a_list_costs_one_statement(api: Api) -> None:
    for code in ("a", "b", "c"):
        await put_entity_type(api, code, domain="sales", source=SOURCE)
        await put_detail_type(api, code)
    api.statements.clear()
    assert await codes(api) == (["a", "b", "c"], ["a", "b", "c"])
    assert len(api.statements) == 2


@pytest.mark.parametrize("nothing", [{}, {"domain": None, "source": None}], ids=["left out", "null"])
async def test_putting_an_entity_type_again_replaces_it(api: Api, nothing: dict[str, Any]) -> None:
    await put_entity_type(api, domain="people", source=SOURCE)
    again = (await put_entity_type(api, label="Somebody", **nothing)).data["putEntityType"]["entityType"]
    assert again == {"code": "PERSON", "label": "Somebody", "domain": None, "source": None}
    assert (await listed_types(api))["entityTypes"] == [again]


@pytest.mark.parametrize("nothing", [{}, {"format": None}], ids=["left out", "null"])
async def test_putting_a_detail_type_again_replaces_it(api: Api, nothing: dict[str, Any]) -> None:
    await put_detail_type(api, format="email")
    again = (await put_detail_type(api, label="Address", **nothing)).data["putDetailType"]["detailType"]
    assert again == {"code": "email", "label": "Address", "format": None}
    assert (await listed_types(api))["detailTypes"] == [again]


async def test_a_source_is_not_local_by_default(api: Api) -> None:
    for given, local in (({}, False), ({"isLocal": None}, False), ({"isLocal": False}, False), ({"isLocal": True}, True)):
        put = (await put_entity_type(api, source={**SOURCE, **given})).data["putEntityType"]["entityType"]
        assert put["source"] == {**SOURCE, "isLocal": local}


async def test_codes_are_case_sensitive(api: Api) -> None:
    await put_entity_type(api, "Person", label="one")
    await put_entity_type(api, "person", label="two")
    labels = {it["code"]: it["label"] for it in (await listed_types(api))["entityTypes"]}
    assert labels == {"Person": "one", "person": "two"}


@pytest.mark.parametrize("code", ["a", "dbt.model:v2_b-1", "A" * 100])
async def test_a_malformed_code_is_refused(api: Api, code: str) -> None:
    assert (await put_entity_type(api, code, label="x")).data["putEntityType"]["entityType"]["code"] == code
    assert (await put_detail_type(api, code, label="x")).data["putDetailType"]["detailType"]["code"] == code


@pytest.mark.parametrize("format_", FORMATS)
async def test_every_format_can_be_registered(api: Api, format_: str) -> None:
    assert (await put_detail_type(api, format=format_)).data["putDetailType"]["detailType"]["format"] == format_


NO_PATHS = [
    "customers",
    "https://crm.example/customers",
    "//evil.example",
    "/../admin",
    "/customers/./x",
    "/customers/%2e%2E/admin",
    "/customers/%252e%252e/admin",
    "/customers/..;x=1/admin",
    "/customers%2f..%2f..",
    "/customers%5c..",
    "/customers\\..",
    "/customers?all=1",
    "/customers#one",
    "/custom ers",
    "/customers%0d%0aX: y",
    "/customers\t",
    "/k\u00fcnden",
    "/customers/{key}/{key}",
    "/customers/{id}",
    "/customers/{",
    "/customers/%zz",
]


@pytest.mark.parametrize("endpoint", NO_PATHS)
async def test_an_endpoint_that_is_not_a_plain_path_is_refused(api: Api, endpoint: str) -> None:
    answer = await api(PUT_ENTITY_TYPE, input={"code": "A", "label": "A", "source": {**SOURCE, "endpoint": endpoint}})
    assert answer.code_and_field == ("BAD_INPUT", "endpoint")
    assert await codes(api) == ([], [])


@pytest.mark.parametrize("endpoint", ["/", "/customers", "/v1/customers/{key}.json", "/a;b=c/@me/%C3%A9/..x/x..", "/a//b/"])
async def test_an_endpoint_that_is_a_path_is_stored_unchanged(api: Api, endpoint: str) -> None:
    answer = await api(PUT_ENTITY_TYPE, input={"code": "A", "label": "A", "source": {**SOURCE, "endpoint": endpoint}})
    assert answer.data["putEntityType"]["entityType"]["source"]["endpoint"] == endpoint


CODES = ["", "1st", "_x", "a b", "a/b", "pérson", "person\n", "a\0", "A" * 101]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        *(({"code": code}, "code") for code in CODES),
        ({"label": ""}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"label": None}, "label"),
        ({"domain": ""}, "domain"),
        ({"domain": "two\nlines"}, "domain"),
        ({"source": {**SOURCE, "service": ""}}, "service"),
        ({"source": {**SOURCE, "endpoint": " "}}, "endpoint"),
        ({"source": {**SOURCE, "endpoint": "e" * 2_001}}, "endpoint"),
        ({"source": {**SOURCE, "lookupField": "a\0"}}, "lookupField"),
        ({"source": {"service": "crm", "endpoint": "x"}}, "lookupField"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_bad_entity_type_names_the_field_and_writes_nothing(api: Api, given: dict[str, Any], field: str) -> None:
    given = {"code": "PERSON", "label": "Person", "domain": "new", "source": SOURCE, **given}
    assert (await api(PUT_ENTITY_TYPE, input=given)).code_and_field == ("BAD_INPUT", field)
    assert await codes(api) == ([], [])
    async with api.database.snapshot(1) as connection:
        assert await connection.fetch(compose(select(domain).where(domain.c.tenant_id == TENANT))) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"code": "a b"}, "code"),
        ({"label": " padded"}, "label"),
        ({"format": ""}, "format"),
        ({"format": "EMAIL"}, "format"),
        ({"format": "a\0"}, "format"),
    ],
)
async def test_a_bad_detail_type_names_the_field_and_writes_nothing(api: Api, given: dict[str, Any], field: str) -> None:
    answer = await api(PUT_DETAIL_TYPE, input={"code": "email", "label": "Email", "format": "email", **given})
    assert answer.code_and_field == ("BAD_INPUT", field)
    assert await codes(api) == ([], [])


async def test_an_unknown_format_is_refused_with_the_known_ones(api: Api) -> None:
    message = (await put_detail_type(api, format="address")).error["message"]
    assert all(it in message for it in FORMATS)


async def test_a_domain_may_be_introduced_by_a_type(api: Api) -> None:
    await put_entity_type(api, domain="people")
    assert (await api.register(domain="people"))["name"] == "orders"


async def test_an_unused_type_can_be_removed(api: Api) -> None:
    for code in ("a", "b"):
        await put_entity_type(api, code)
        await put_detail_type(api, code)
    assert (await api(REMOVE_ENTITY_TYPE, input={"code": "a"})).data["removeEntityType"] == {"code": "a"}
    assert (await api(REMOVE_DETAIL_TYPE, input={"code": "b"})).data["removeDetailType"] == {"code": "b"}
    assert await codes(api) == (["b"], ["a"])


@pytest.mark.parametrize("remove", [REMOVE_ENTITY_TYPE, REMOVE_DETAIL_TYPE])
async def test_an_unknown_type_cannot_be_removed(api: Api, remove: str) -> None:
    await put_entity_type(api, "a")
    await put_detail_type(api, "a")
    for code in ("b", "A", "", "not a code"):
        assert (await api(remove, input={"code": code})).code_and_field == ("NOT_FOUND", "code")
    assert await codes(api) == (["a"], ["a"])


async def test_a_type_in_use_cannot_be_removed_and_the_error_counts_the_entities(api: Api) -> None:
    await put_entity_type(api)
    await put_entity_type(api, "OTHER")
    for number in range(3):
        uid = await person(api)
        refused = await api(REMOVE_ENTITY_TYPE, input={"code": "PERSON"})
        assert refused.code_and_field == ("CONFLICT", "code")
        assert refused.error["message"].startswith(("1 entity has", "2 entities have", "3 entities have")[number])
    assert (await api(DELETE, input={"entity": {"uid": uid}})).data
    assert (await api(REMOVE_ENTITY_TYPE, input={"code": "PERSON"})).error["message"].startswith("3 entities")
    assert await codes(api) == (["OTHER", "PERSON"], [])
    await put_entity_type(api, label="Somebody", domain="people")


async def test_only_the_label_of_a_used_detail_type_can_change(api: Api) -> None:
    await put_entity_type(api)
    await put_detail_type(api, format="email")
    await put_detail_type(api, "name")
    uids = [await person(api, email=f"{name}@shop.example") for name in ("ann", "bob")]
    assert (
        await api(
            UPDATE,
            input={"entity": {"uid": uids[0]}, "details": [{"type": "email", "value": "ann@other.example"}], "at": iso(day(1))},
        )
    ).data
    assert (await api(UPDATE, input={"entity": {"uid": uids[0]}, "removeDetails": ["email"], "at": iso(day(2))})).data
    assert (await api(DELETE, input={"entity": {"uid": uids[1]}})).data
    refused = await api(REMOVE_DETAIL_TYPE, input={"code": "email"})
    assert refused.code_and_field == ("CONFLICT", "code")
    assert refused.error["message"].startswith("2 entities have or had")
    for format_ in ("phone", "text", None):
        refused = await put_detail_type(api, label="changed", format=format_)
        assert refused.code_and_field == ("CONFLICT", "format")
        assert refused.error["message"].startswith("2 entities have or had")
    assert (await put_detail_type(api, label="Address", format="email")).data
    assert (await listed_types(api))["detailTypes"] == [
        {"code": "email", "label": "Address", "format": "email"},
        {"code": "name", "label": "Name", "format": None},
    ]
    assert (await api(REMOVE_DETAIL_TYPE, input={"code": "name"})).data


async def test_a_detail_that_an_out_of_order_change_may_restore_keeps_its_type(api: Api) -> None:
    await put_entity_type(api)
    await put_detail_type(api, format="email")
    uid = await person(api)
    assert (
        await api(
            UPDATE, input={"entity": {"uid": uid}, "details": [{"type": "email", "value": "ann@shop.example"}], "at": iso(day(5))}
        )
    ).data
    assert (await api(DELETE, input={"entity": {"uid": uid}, "at": iso(day(3))})).data
    async with api.database.snapshot(1) as connection:
        assert await connection.fetch(compose(select(entity_detail).where(entity_detail.c.tenant_id == TENANT))) == []
    assert (await api(REMOVE_DETAIL_TYPE, input={"code": "email"})).code_and_field == ("CONFLICT", "code")
    assert (await put_detail_type(api, format="number")).code_and_field == ("CONFLICT", "format")
    assert (await api(RESTORE, input={"entity": {"uid": uid}, "at": iso(day(4))})).data
    assert (await api(DETAIL_NOW, uid=uid)).data["entity"]["detail"] == "ann@shop.example"


async def test_a_request_sees_the_types_that_it_put(api: Api) -> None:
    answer = await api(
        """mutation {
          a: putEntityType(input: { code: "PERSON", label: "Person" }) { entityType { code } }
          b: putDetailType(input: { code: "email", label: "Email", format: "email" }) { detailType { code } }
          c: createEntity(input: { type: "PERSON", displayName: "Ann", details: [{ type: "email", value: "ann@shop.example" }] })
            { entity { type { label } details { type { label } } } }
          d: putEntityType(input: { code: "PERSON", label: "Somebody" }) { entityType { code } }
          e: createEntity(input: { type: "PERSON", displayName: "Bob" }) { entity { type { label } } }
        }"""
    )
    assert answer.data["c"]["entity"] == {"type": {"label": "Person"}, "details": [{"type": {"label": "Email"}}]}
    assert answer.data["e"]["entity"] == {"type": {"label": "Somebody"}}


async def test_a_request_that_fails_in_part_registers_nothing(api: Api) -> None:
    answer = await api(
        """mutation {
          a: putEntityType(input: { code: "PERSON", label: "Person" }) { entityType { code } }
          b: removeDetailType(input: { code: "email" }) { code }
        }"""
    )
    assert (answer.code_and_field, answer.error["path"]) == (("NOT_FOUND", "code"), ["b"])
    assert await codes(api) == ([], [])


async def test_types_are_loaded_by_code_in_one_statement(database: Database, statements: Statements) -> None:
    async with database.transaction(1, Author("tester")) as connection:
        for code in ("a", "b"):
            await entity_type.put(connection, code, code.upper(), "sales", {**SOURCE_ROW})
            await detail_type.put(connection, code, code.upper(), "date")
        statements.clear()
        a, nothing, b, again = await entity_type.entity_types_by_code(connection, ["a", "A", "b", "a"])
        assert nothing is None
        assert a == again == EntityTypeRow("a", "A", "sales", SOURCE_ROW)
        assert b == EntityTypeRow("b", "B", "sales", SOURCE_ROW)
        assert await detail_type.DETAIL_TYPES.all(connection) == [
            DetailTypeRow("a", "A", "date"),
            DetailTypeRow("b", "B", "date"),
        ]
        assert len(statements) == 2


async def test_each_tenant_has_separate_types(own_api: Api, address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("INSERT INTO tenant (tenant_id, name) VALUES (7, 'other')")
    await owner.close()
    executor = Executor(schema, own_api.database)

    async def elsewhere(query: str, **content: Any) -> Any:
        response = await executor.execute(Request(query, {"input": content}), Principal(7, "them", frozenset(Scope)), "request")
        assert response.errors == []
        return response.data

    await put_entity_type(own_api, label="ours", domain="ours")
    await put_detail_type(own_api, label="ours", format="email")
    await person(own_api, email="ann@shop.example")
    await elsewhere(PUT_ENTITY_TYPE, code="PERSON", label="theirs")
    await elsewhere(PUT_DETAIL_TYPE, code="email", label="theirs", format="email")
    # the use of a type by another tenant does not matter
    await elsewhere(PUT_DETAIL_TYPE, code="email", label="theirs", format="text")
    listed = {name: page["nodes"] for name, page in (await elsewhere(TYPES)).items()}
    assert [(it["code"], it["label"], it["domain"]) for it in listed["entityTypes"]] == [("PERSON", "theirs", None)]
    assert listed["detailTypes"] == [{"code": "email", "label": "theirs", "format": "text"}]
    await elsewhere(REMOVE_ENTITY_TYPE, code="PERSON")
    await elsewhere(REMOVE_DETAIL_TYPE, code="email")
    assert await elsewhere(TYPES) == {"entityTypes": {"nodes": []}, "detailTypes": {"nodes": []}}
    ours = await listed_types(own_api)
    assert [(it["label"], it["domain"]) for it in ours["entityTypes"]] == [("ours", {"name": "ours"})]
    assert ours["detailTypes"] == [{"code": "email", "label": "ours", "format": "email"}]


@pytest.mark.parametrize("mutation", [PUT_ENTITY_TYPE, PUT_DETAIL_TYPE, REMOVE_ENTITY_TYPE, REMOVE_DETAIL_TYPE])
async def test_the_read_scope_lists_types_but_cannot_change_them(api: Api, mutation: str) -> None:
    await put_entity_type(api, "a")
    await put_detail_type(api, "a")
    executor, reader = Executor(schema, api.database), Principal(1, "reader", parse_scopes(["read"])[0])
    content = {"code": "a"} if "remove" in mutation else {"code": "a", "label": "changed"}
    response = await executor.execute(Request(mutation, {"input": content}), reader, "request")
    assert [it["extensions"]["code"] for it in response.errors] == ["FORBIDDEN"]
    listed = await executor.execute(Request(TYPES), reader, "request")
    assert listed.data == {
        "entityTypes": {"nodes": [{"code": "a", "label": "A", "domain": None, "source": None}]},
        "detailTypes": {"nodes": [{"code": "a", "label": "A", "format": None}]},
    }


@asynccontextmanager
async def unfinished(api: Api, address: str) -> AsyncIterator[tuple[WriteConnection, Callable[[], Awaitable[None]]]]:
    """Open a transaction that commits at the end, and give a function that waits until another writer is blocked by it."""
    observer = await asyncpg.connect(address)

    async def queued() -> None:
        while True:
            if await observer.fetchval(_WAITING):
                return
            await asyncio.sleep(0.005)

    try:
        async with asyncio.timeout(20), api.database.transaction(1, Author("other")) as connection:
            yield connection, queued
    finally:
        await observer.close()


async def create_person(connection: WriteConnection, **details: str) -> None:
    await entity.create(connection, IdentitySpec(type="PERSON"), "Ann", details)


@pytest.mark.parametrize(
    ("mutation", "content", "field"),
    [
        (REMOVE_ENTITY_TYPE, {"code": "PERSON"}, "code"),
        (REMOVE_DETAIL_TYPE, {"code": "email"}, "code"),
        (PUT_DETAIL_TYPE, {"code": "email", "label": "Email", "format": "number"}, "format"),
    ],
)
async def test_removing_a_type_waits_for_a_writer_that_uses_it_and_is_refused(
    own_api: Api, address: str, mutation: str, content: dict[str, str], field: str
) -> None:
    await put_entity_type(own_api)
    await put_detail_type(own_api, format="email")
    async with unfinished(own_api, address) as (connection, queued):
        await create_person(connection, email="ann@shop.example")
        running = asyncio.create_task(own_api(mutation, input=content))
        await queued()
    refused = await running
    assert refused.code_and_field == ("CONFLICT", field)
    assert refused.error["message"].startswith("1 entity")
    assert await codes(own_api) == (["PERSON"], ["email"])


async def test_a_format_cannot_change_between_the_check_and_the_write_of_a_detail(own_api: Api, address: str) -> None:
    await put_entity_type(own_api)
    await put_detail_type(own_api, format="email")
    async with unfinished(own_api, address) as (connection, queued):
        types = await read_type_registry_locked(connection, ["email"])
        assert types.formats["email"] == "email"
        running = asyncio.create_task(own_api(PUT_DETAIL_TYPE, input={"code": "email", "label": "Email", "format": "number"}))
        await queued()
        await entity.create(connection, IdentitySpec(type="PERSON"), "Ann", {"email": "ann@shop.example"})
    assert (await running).code_and_field == ("CONFLICT", "format")


@pytest.mark.parametrize("registry", ["entity types", "detail types"])
async def test_an_entity_of_a_type_that_is_being_removed_is_refused(own_api: Api, address: str, registry: str) -> None:
    await put_entity_type(own_api)
    await put_detail_type(own_api, format="email")
    given = {"type": "PERSON", "displayName": "Ann", "details": [{"type": "email", "value": "ann@shop.example"}]}
    async with unfinished(own_api, address) as (connection, queued):
        if registry == "entity types":
            await entity_type.remove(connection, "PERSON")
        else:
            await detail_type.remove(connection, "email")
        running = asyncio.create_task(own_api(CREATE, input=given))
        await queued()
    refused = await running
    assert refused.code_and_field == ("CONFLICT", None)
    assert "removed" in refused.error["message"]
    assert await codes(own_api) == (([], ["email"]) if registry == "entity types" else (["PERSON"], []))


async def test_a_label_may_change_while_entities_of_the_type_are_written(own_api: Api, address: str) -> None:
    await put_entity_type(own_api)
    await put_detail_type(own_api, format="email")
    async with unfinished(own_api, address) as (connection, _):
        await create_person(connection, email="ann@shop.example")
        async with asyncio.timeout(5):
            assert (await put_entity_type(own_api, label="Somebody")).data
            assert (await put_detail_type(own_api, label="Address", format="email")).data


async def test_the_last_of_two_concurrent_registrations_of_a_detail_type_wins(own_api: Api, address: str) -> None:
    async with unfinished(own_api, address) as (connection, queued):
        await detail_type.put(connection, "email", "Email", "text")
        running = asyncio.create_task(put_detail_type(own_api, format="email"))
        await queued()
    assert (await running).data["putDetailType"]["detailType"]["format"] == "email"
    assert (await listed_types(own_api))["detailTypes"] == [{"code": "email", "label": "Email", "format": "email"}]


@pytest.mark.parametrize(
    ("remove", "code", "index"),
    [(REMOVE_ENTITY_TYPE, "PERSON", "asset_by_type"), (REMOVE_DETAIL_TYPE, "email", "entity_detail_by_value")],
)
async def test_counting_what_uses_a_type_takes_an_index(own_api: Api, address: str, remove: str, code: str, index: str) -> None:
    await put_entity_type(own_api)
    await put_detail_type(own_api)
    owner = await asyncpg.connect(address)
    await owner.execute(_FILL)
    await owner.close()
    with explained_plans(own_api.database) as explained:
        assert (await own_api(remove, input={"code": code})).error["message"].startswith("20 entities")
    assert index in explained.indexes
    assert not explained.scanned_tables & {"asset", "entity_detail"}
