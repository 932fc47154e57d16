"""Bad input gets a code and the field at fault, writes nothing, and does not affect other requests."""

import asyncio
import json
from typing import Any

import pytest

from db.sql import text
from schema.execution import authorization
from schema.temporal.history import HISTORY_COUNT_BY_SUBJECT
from tests.builders import REGISTER, UPDATE, Api, product_fields

_ROW_COUNTS = text(
    "SELECT (SELECT count(*) FROM change WHERE tenant_id = CAST(:tenant AS bigint)) AS changes,"
    " (SELECT count(*) FROM asset WHERE tenant_id = CAST(:tenant AS bigint)) AS assets,"
    " (SELECT count(*) FROM domain WHERE tenant_id = CAST(:tenant AS bigint)) AS domains"
)


async def row_counts(api: Api) -> tuple[int, ...]:
    async with api.database.snapshot(1) as connection:
        row = await connection.fetch_one(_ROW_COUNTS)
        return tuple(row or ())


@pytest.mark.parametrize(
    "query",
    [
        '{ bad: product(name: "a\\u0000") { name } good: product(name: "taken") { name } }',
        '{ bad: entity(ref: { key: { type: "T", key: "a\\u0000" } }) { key }'
        ' good: entity(ref: { key: { type: "T", key: "1" } }) { key } }',
        '{ bad: domain(name: "a\\u0000") { name } good: domain(name: "d") { name } }',
    ],
)
async def test_a_key_that_cannot_be_stored_fails_without_the_keys_beside_it(api: Api, query: str) -> None:
    type_ = 'putEntityType(input: { code: "T", label: "t" }) { entityType { code } }'
    entity = 'createEntity(input: { type: "T", key: "1", displayName: "one" }) { changed }'
    product = 'registerProduct(input: { name: "taken", domain: "d", owner: "o", schema: {} }) { changed }'
    await api(f"mutation {{ {type_} {entity} {product} }}")
    answer = await api(query)
    assert answer.body["data"]["bad"] is None
    assert answer.body["data"]["good"] is not None
    assert [(it["path"], it["extensions"]["code"]) for it in answer.errors] == [(["bad"], "BAD_INPUT")]


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"at": "2026-01-01T00:00:00"}, "BAD_INPUT", "at"),
        ({"at": "2026-01-01T00:00:00.1234567Z"}, "BAD_INPUT", "at"),
        ({"at": "2026-02-30"}, "BAD_INPUT", "at"),
        ({"at": "2026-01-01T25:00:00Z"}, "BAD_INPUT", "at"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "BAD_INPUT", "at"),
        ({"at": 5}, "BAD_INPUT", "at"),
        ({"at": "2999-01-01"}, "BAD_INPUT", "at"),
        ({"version": "1.2"}, "BAD_INPUT", "version"),
        ({"version": "01.2.3"}, "BAD_INPUT", "version"),
        ({"version": "1.2.3\n"}, "BAD_INPUT", "version"),
        ({"name": "taken"}, "CONFLICT", "name"),
        ({"name": ""}, "BAD_INPUT", "name"),
        ({"name": " \t"}, "BAD_INPUT", "name"),
        ({"name": "\u200b\ufeff"}, "BAD_INPUT", "name"),
        ({"name": " padded"}, "BAD_INPUT", "name"),
        ({"name": "two\nlines"}, "BAD_INPUT", "name"),
        ({"at": "0001-01-01"}, "BAD_INPUT", "at"),
        ({"schema": json.loads('{"a":' * 65 + "1" + "}" * 65)}, "BAD_INPUT", "schema"),
        ({"name": "n" * 300}, "BAD_INPUT", "name"),
        ({"name": "a\0b"}, "BAD_INPUT", "name"),
        ({"name": None}, "BAD_INPUT", "name"),
        ({"name": 5}, "BAD_INPUT", "name"),
        ({"domain": ""}, "BAD_INPUT", "domain"),
        ({"owner": ""}, "BAD_INPUT", "owner"),
        ({"description": "d" * 10_001}, "BAD_INPUT", "description"),
        ({"schema": []}, "BAD_INPUT", "schema"),
        ({"schema": "{}"}, "BAD_INPUT", "schema"),
        ({"schema": {"a": "\0"}}, "BAD_INPUT", "schema"),
        ({"tags": ["", "a"]}, "BAD_INPUT", "tags"),
        ({"tags": [str(number) for number in range(51)]}, "BAD_INPUT", "tags"),
        ({"status": "GONE"}, "BAD_INPUT", "status"),
        ({"uid": "rubbish"}, "BAD_INPUT", "uid"),
        ({"colour": "red"}, "BAD_INPUT", "colour"),
        ({"idempotencyKey": "k" * 201}, "BAD_INPUT", "idempotencyKey"),
    ],
)
async def test_a_bad_registration_names_the_field_and_writes_nothing(
    api: Api, values: dict[str, Any], code: str, field: str
) -> None:
    await api.register("taken")
    before = await row_counts(api)
    answer = await api(REGISTER, input={**product_fields("free", domain="new"), **values})
    assert answer.code_and_field == (code, field)
    assert answer.error["message"]
    assert await row_counts(api) == before
    assert (await api('{ product(name: "taken") { name } }')).data["product"] == {"name": "taken"}


@pytest.mark.parametrize("missing", ["name", "domain", "owner", "schema"])
async def test_a_registration_without_a_required_field_names_it(api: Api, missing: str) -> None:
    values = product_fields()
    del values[missing]
    assert (await api(REGISTER, input=values)).code_and_field == ("BAD_INPUT", missing)


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("{ products { nope } }", "BAD_INPUT", "nope"),
        ("{ products(nope: 1) { totalCount } }", "BAD_INPUT", "nope"),
        ("{ products(first: 0) { totalCount } }", "BAD_INPUT", "first"),
        ("{ products(first: -1) { totalCount } }", "BAD_INPUT", "first"),
        ("{ products(first: 100000) { totalCount } }", "LIMIT_EXCEEDED", "first"),
        ("{ products(last: 0) { totalCount } }", "BAD_INPUT", "last"),
        ("{ products(first: 1, last: 1) { totalCount } }", "BAD_INPUT", "last"),
        ('{ products(after: "rubbish") { totalCount } }', "BAD_INPUT", "after"),
        ('{ products(before: "") { totalCount } }', "BAD_INPUT", "before"),
        ('{ products(asOf: "2026-01-01T00:00:00") { totalCount } }', "BAD_INPUT", "asOf"),
        ('{ product(name: "x", asOf: "yesterday") { name } }', "BAD_INPUT", "asOf"),
        ('{ node(id: "rubbish") { id } }', "BAD_INPUT", "id"),
        ('{ node(id: "Product:2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101@2026-01-01") { id } }', "BAD_INPUT", "id"),
        ('{ node(id: "Product:2B5A1F0E-7C1D-4F3B-9A55-0D6C2A7BE101") { id } }', "BAD_INPUT", "id"),
        ('{ asset(ref: { uid: "rubbish" }) { id } }', "BAD_INPUT", "uid"),
        ('mutation { deleteProduct(input: { product: { name: "none" } }) { changed } }', "NOT_FOUND", "product"),
        ('mutation { updateProduct(input: { product: { name: "nobody" }, owner: "x" }) { changed } }', "NOT_FOUND", "product"),
        ('mutation { updateProduct(input: { product: {}, owner: "x" }) { changed } }', "BAD_INPUT", "product"),
        ('{ product(name: "x", asOf: "9999-12-31T23:59:59.999999Z") { name } }', "BAD_INPUT", "asOf"),
        ('{ node(id: "AssetVersion:2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101@0001-01-01T00:00:00Z") { id } }', "BAD_INPUT", "id"),
        ('{ product(name: "a\\u0000") { name } }', "BAD_INPUT", "name"),
        ('{ products(filter: { owners: ["a\\u0000"] }) { totalCount } }', "BAD_INPUT", "owners"),
        ("{ products(", "BAD_INPUT", None),
        ("query A { viewer: products { totalCount } } query B { products { totalCount } }", "BAD_INPUT", None),
    ],
)
async def test_a_bad_query_gets_a_code_and_the_field(api: Api, query: str, code: str, field: str | None) -> None:
    assert (await api(query)).code_and_field == (code, field)
    assert (await api("{ products { totalCount } }")).data["products"]["totalCount"] == 0


async def test_a_product_named_by_both_uid_and_name_is_refused(api: Api) -> None:
    product = await api.register()
    ref = {"uid": product["uid"], "name": "orders"}
    assert (await api(UPDATE, input={"product": ref, "owner": "x"})).code_and_field == ("BAD_INPUT", "product")


async def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.register(name)
    cursor = (await api("{ products(first: 1) { pageInfo { endCursor } } }")).data["products"]["pageInfo"]["endCursor"]
    for arguments in (
        "orderBy: { field: NAME, direction: DESC }",
        "orderBy: { field: CREATED_AT }",
        'search: "a"',
        'filter: { owners: ["ann"] }',
        'asOf: "2026-05-01"',
    ):
        query = "query ($after: String) { products(after: $after, " + arguments + ") { totalCount } }"
        assert (await api(query, after=cursor)).code_and_field == ("BAD_INPUT", "after")
    history = 'query ($after: String) { product(name: "a") { history(after: $after) { totalCount } } }'
    assert (await api(history, after=cursor)).code_and_field == ("BAD_INPUT", "after")


async def test_an_unexpected_exception_is_masked(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(*_: Any) -> None:
        raise RuntimeError("SELECT secret FROM somewhere")

    monkeypatch.setattr("schema.assets.product.product_query.list_products", failing)
    answer = await api("{ products { nodes { name } } }")
    assert answer.code_and_field == ("INTERNAL", None)
    assert "secret" not in str(answer.body)


@pytest.mark.parametrize(
    "query",
    [
        '{ product(name: "orders") { name } products(first: -1) { totalCount } }',
        """{ a: products { totalCount }
          b: product(name: "orders") { history(first: -1) { totalCount } c: history { totalCount } } }""",
        """mutation { updateProduct(input: { product: { name: "orders" }, owner: "bob" }) {
          product { a: history { totalCount } history(first: -1) { totalCount } } } }""",
    ],
)
async def test_a_field_that_fails_beside_running_fields_returns_its_connection_to_the_pool(api: Api, query: str) -> None:
    await api.register()
    for _ in range(12):
        answer = await api(query)
        assert {error["extensions"]["code"] for error in answer.errors} == {"BAD_INPUT"}
        assert api.database.connections_in_use == 0
    for _ in range(12):
        assert (await api('{ product(name: "orders") { owner } }')).data == {"product": {"owner": "ann"}}


async def test_a_cancelled_request_returns_its_connection_to_the_pool(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.register()
    started = asyncio.Event()

    async def slow(connection: Any, *_: Any) -> list[Any]:
        started.set()
        await connection.fetch(text("SELECT pg_sleep(0.3) FROM tenant WHERE tenant_id = CAST(:tenant AS bigint)"))
        return []

    monkeypatch.setattr(HISTORY_COUNT_BY_SUBJECT, "_find", slow)
    request = asyncio.create_task(api('{ product(name: "orders") { history { totalCount } } }'))
    await started.wait()
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert api.database.connections_in_use == 0
    assert (await api('{ product(name: "orders") { owner } }')).data


async def test_a_forged_cursor_is_refused(api: Api) -> None:
    await api.register("a")
    cursor = (await api("{ products(first: 1) { pageInfo { endCursor } } }")).data["products"]["pageInfo"]["endCursor"]
    for index, character in enumerate(cursor):
        forged = f"{cursor[:index]}{'B' if character == 'A' else 'A'}{cursor[index + 1 :]}"
        assert (await api("query ($after: String) { products(after: $after) { totalCount } }", after=forged)).code_and_field[
            0
        ] == "BAD_INPUT"


async def test_a_bad_value_fails_with_the_same_code_wherever_it_is_batched(api: Api) -> None:
    answer = await api('{ a: product(name: "\\u0000") { name } b: product(name: "x", asOf: "2026-01-01") { name } }')
    assert {error["extensions"]["code"] for error in answer.errors} == {"BAD_INPUT"}
    assert (await api("{ products { totalCount } }")).data


async def test_scopes_are_collected_only_from_the_operation_that_runs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed: list[str] = []
    original = authorization.operation_with_fragments

    def recording(operation: Any, document: Any) -> Any:
        analysed.append(operation.name.value)
        return original(operation, document)

    monkeypatch.setattr(authorization, "operation_with_fragments", recording)
    many = " ".join(f"query Q{number} {{ __typename }}" for number in range(50))
    for _ in range(2):
        response = await api.client.post("/graphql", json={"query": many, "operationName": "Q7"})
        assert response.json()["data"] == {"__typename": "Query"}
    assert analysed == ["Q7"]


async def test_content_with_an_idempotency_key_is_validated_as_without(api: Api) -> None:
    values = product_fields(schema=json.loads('{"a":' * 400 + "1" + "}" * 400), idempotencyKey="k")
    assert (await api(REGISTER, input=values)).code_and_field[0] == "BAD_INPUT"


@pytest.mark.parametrize("number", ["99999999999999999999", "9e9999"])
async def test_a_number_too_large_to_store_is_refused(api: Api, number: str) -> None:
    values = f'{{ name: "x", domain: "d", owner: "o", schema: {{ n: {number} }} }}'
    assert (await api(f"mutation {{ registerProduct(input: {values}) {{ changed }} }}")).code_and_field == ("BAD_INPUT", "schema")
