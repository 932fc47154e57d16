"""Isolation of two tenants with assets of the same names: no field, argument, mutation, export or load reveals the other one."""

import asyncio
import io
import json
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLObjectType

from db.assets import product
from db.author import Author
from db.instants import write_instant
from db.lineage.figures import read_figures
from db.temporal.change_log import has_changes
from db.temporal.verification import verify_tenant
from db.tenancy import api_key
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.jsonl_writer import lines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from schema.execution.operation import Execution, Response
from schema.language.cursors import CursorCipher
from tests.builders import day, iso
from tests.databases import shared_database
from tests.randomness import seeds, size
from tests.security.isolation_layers import files_not_run, without_predicates, without_row_level_security
from tests.security.random_queries import SCHEMA, GeneratedOperation, fields_with_values, generate_queries
from tests.security.two_tenants import (
    FIRST_IDS,
    SECRET,
    Tenant,
    TwoTenants,
    absent_tenant,
    create_two_tenants,
    mutation,
    name_of,
    values_of,
)

# They share a template, the documents that they send, and the answers with both layers.
pytestmark = [pytest.mark.slow(45), pytest.mark.xdist_group("tenants")]

_CURSOR = re.compile(r'("(?:cursor|startCursor|endCursor)": )"([\w-]+)"')
_LIST = re.compile(r'\["[0-9a-f]{12}",')
_KEY = re.compile(r"hw_1_[\w-]+")
CIPHERS = [CursorCipher(SECRET, tenant_id) for tenant_id in (*FIRST_IDS, 4)]
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

# Fields that have no value in any response of these tests, and why.
FIELDS_WITHOUT_VALUES = {"Product.url": "no field of a product holds an address"}


@pytest.fixture(scope="module")
def template(server: str) -> Iterator[TwoTenants]:
    with shared_database(server) as address, asyncio.Runner() as runner:
        yield runner.run(create_two_tenants(address))


@pytest.fixture
async def tenants(template: TwoTenants, server: str) -> AsyncIterator[TwoTenants]:
    """Both tenants, in a separate database for each test."""
    async with template.copied(server) as tenants:
        yield tenants


def with_decoded_cursors(answer: Any) -> str:
    """Return a response as text, with its cursors opened by the ciphers of their tenants."""
    return _CURSOR.sub(lambda it: it[1] + opened_cursor(it[2]), json.dumps(answer))


def opened_cursor(cursor: str) -> str:
    """Return the content of a cursor of any tenant as JSON."""
    (content,) = filter(None, (it.open(cursor) for it in CIPHERS))
    digest, parts = content
    return json.dumps([digest.hex(), *parts], default=write_instant)


def as_dict(response: Response) -> dict[str, Any]:
    return {"data": response.data, "errors": response.errors, "ran": response.ran}


def leaks(answer: Any, secrets: list[str], of: Tenant) -> list[str]:
    """Return what a response reveals: secrets of a tenant, its database ids, and database ids of any tenant outside cursors."""
    ids = rf"\b{str(FIRST_IDS[of.tenant_id])[:5]}\d{{6}}\b"
    text = with_decoded_cursors(answer)
    prefixes = [str(it)[:5] for it in FIRST_IDS.values()]
    bare = re.findall(rf"\b(?:{'|'.join(prefixes)})\d{{6}}\b", json.dumps(answer))
    return [*(it for it in secrets if it in text), *re.findall(ids, text), *bare]


def without_instants(answer: Any) -> str:
    """Return a response as text, with the current instants and the keys replaced. Instants of the mutations are whole days."""
    text = _INSTANT.sub(lambda it: it[0] if it[0].endswith("T00:00:00Z") else "now", with_decoded_cursors(answer))
    return _KEY.sub("key", text)


def normalized(answer: Any, named: Tenant, absent: Tenant) -> str:
    """Return a response with the values of one tenant replaced by those of the absent one.

    The hash of its list is removed from each cursor, for it depends on the arguments.
    """
    text = _LIST.sub("[", without_instants(answer)).replace(named.marker, absent.marker)
    for uid, absent_uid in zip(named.uids.values(), absent.uids.values(), strict=True):
        text = text.replace(uid, absent_uid)
    return text


def fields_of_objects() -> Iterator[str]:
    for type_ in SCHEMA.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__"):
            yield from (f"{type_.name}.{name}" for name in type_.fields)


async def with_cursor(tenants: TwoTenants, operation: GeneratedOperation, of: Tenant) -> GeneratedOperation:
    """Return the operation with the cursor that it needs, as a tenant received it."""
    if operation.page is None:
        return operation
    cursor = await tenants.end_cursor(of, operation.page)
    assert cursor is not None, f"{operation.coordinate}: the first page has no end cursor"
    return operation.after(cursor)


async def test_no_field_returns_anything_of_another_tenant(tenants: TwoTenants) -> None:
    secrets = await tenants.secrets(tenants.other)
    values = values_of(tenants.own)
    covered = {it for response in tenants.responses for it in fields_with_values(response)}
    assert leaks(tenants.responses, secrets, tenants.other) == []
    for operation in generate_queries(values, values):
        response = await tenants.execute(tenants.own, await with_cursor(tenants, operation, tenants.own))
        assert not response.errors, (operation, response.errors)
        assert leaks(response.data, secrets, tenants.other) == [], operation
        covered.update(fields_with_values(response.data))
    # a new field is queried automatically; if it has no value, add a mutation that gives it one
    assert set(fields_of_objects()) - covered == FIELDS_WITHOUT_VALUES.keys()


async def test_queries_of_another_tenants_objects_are_answered_like_queries_of_absent_objects(tenants: TwoTenants) -> None:
    secrets, absent = await tenants.secrets(tenants.other), absent_tenant(tenants.other)
    own = values_of(tenants.own)
    queries = zip(
        generate_queries(own, own),
        generate_queries(own, values_of(tenants.other)),
        generate_queries(own, values_of(absent)),
        strict=True,
    )
    compared = 0
    for of_own, of_other, of_absent in queries:
        if of_other.page is not None:
            response = await tenants.execute(tenants.own, await with_cursor(tenants, of_other, tenants.other))
            assert leaks(response.data, secrets, tenants.other) == [], of_other
            # the cursor of another tenant is none, not even that of a list with the same arguments
            cursor = await tenants.end_cursor(tenants.other, of_other.page)
            assert cursor is not None
            refused = await tenants.execute(tenants.own, of_own.after(cursor))
            assert {it["extensions"]["code"] for it in refused.errors} == {"BAD_INPUT"}, of_own
            assert all("is not a cursor" in it["message"] for it in refused.errors), of_own
        elif of_own.variables != of_other.variables:
            answers = [as_dict(await tenants.execute(tenants.own, it)) for it in (of_other, of_absent)]
            assert leaks(answers[1], secrets, tenants.other) == [], of_absent
            other_answer, absent_answer = (normalized(it, tenants.other, absent) for it in answers)
            assert other_answer == absent_answer, of_other
            compared += 1
    assert compared > 100


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(quick=1, soak=10))
async def test_both_executors_answer_alike(tenants: TwoTenants, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field, with each of its arguments, has the value and the cost that graphql-core gives it."""
    values = values_of(tenants.own)
    operations = random.Random(seed).sample(list(generate_queries(values, values)), k=size(quick=60, soak=400))
    operations = [await with_cursor(tenants, it, tenants.own) for it in operations]
    planned = [await tenants.execute(tenants.own, it) for it in operations]
    monkeypatch.setattr(Execution, "plan", None)
    for operation, by_plan in zip(operations, planned, strict=True):
        general = await tenants.execute(tenants.own, operation)
        assert without_instants(as_dict(by_plan)) == without_instants(as_dict(general)), operation
        assert by_plan.cost == general.cost, operation


def attempts(named: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Return inputs of every mutation that name objects of a tenant. Those that may succeed come last."""
    only, uids = named.unique_name, named.uids
    product, person, link, relationship = (uids[it] for it in ("raw", "person", "link 0", "relationship steward person"))
    own, at = {"product": "raw"}, {"at": iso(day(22))}
    refs: list[Mapping[str, Any]] = [
        {"uid": product},
        {"uid": person},
        {"product": only},
        {"entity": {"type": only, "key": only}},
    ]
    refs.append({"entity": {"type": "PERSON", "key": only}})
    by_uid = [{"uid": it} for it in (product, person, link, relationship)]
    keyed = [it["entity"] for it in refs if "entity" in it]
    products = [*by_uid, {"name": only}]
    entities = [*by_uid, *({"key": it} for it in keyed)]
    links = [*by_uid, *({"ends": {"source": it, "target": own}} for it in refs)]
    links += ({"ends": {"source": own, "target": it, "producer": only}} for it in refs)
    relationships = [*by_uid, *({"ends": {"type": "steward", "origin": it, "related": own}} for it in refs)]
    ends = {"origin": "PRODUCT", "related": only, "reverseKey": "back", "cardinality": "ONE_TO_ONE"}
    detail = {"type": only, "value": "1"}
    state = {"domain": f"domain {named.marker}", "owner": "o", "schema": {}}
    return {
        "updateProduct": [{"product": it, "owner": "thief"} for it in ({"uid": product}, {"uid": person}, {"name": only})],
        "deleteProduct": [{"product": it} for it in products],
        "restoreProduct": [{"product": it} for it in ({"uid": uids["gone"]}, *products)],
        "updateEntity": [
            *({"entity": it, "displayName": "thief", "details": [detail]} for it in entities),
            {"entity": {"key": {"type": "PERSON", "key": "8"}}, "addKeys": [only, f"person {named.marker}"]},
        ],
        "deleteEntity": [{"entity": it} for it in entities],
        "restoreEntity": [{"entity": it} for it in ({"uid": uids["lone"]}, *entities)],
        "updateLineage": [{"link": it, "transformation": "thief", **at} for it in links],
        "restoreLineage": [{"link": it, **at} for it in links],
        "removeLineage": [{"link": it} for it in links],
        "updateRelationship": [{"relationship": it, "attributes": {"by": "thief"}, **at} for it in relationships],
        "unrelate": [{"relationship": it} for it in relationships],
        "registerLineage": [
            *({"source": it, "target": own, **at} for it in refs),
            *({"source": own, "target": it} for it in refs),
            *({"source": it, "target": {"uid": product}, "createMissing": True} for it in refs[2:4]),
        ],
        "relate": [
            *({"type": "steward", "origin": it, "related": {"entity": {"type": "PERSON", "key": "7"}}} for it in refs),
            *({"type": "steward", "origin": own, "related": it} for it in refs),
            {"type": only, "origin": own, "related": {"entity": {"type": "PERSON", "key": "7"}}},
        ],
        "removeEntityType": [{"code": only}],
        "removeDetailType": [{"code": only}],
        "removeRelationshipType": [{"code": only}, {"code": f"PRODUCT {only} PERSON"}],
        "putRelationshipType": [{"key": "x", **ends}, {"key": only, **ends, "related": "PERSON"}],
        "createEntity": [
            {"type": only, "key": only, "displayName": "thief"},
            {"type": "PERSON", "key": only, "displayName": "thief", "details": [detail]},
            {"type": "PERSON", "displayName": "thief", "uid": uids["other"], "key": only, "idempotencyKey": named.marker},
        ],
        "registerProduct": [{"name": only, **state, "uid": uids["index"]}, {"name": f"x {only}", **state, "uid": uids["table"]}],
        "putEntityType": [{"code": only, "label": "l", "domain": f"domain {named.marker}"}],
        "putDetailType": [{"code": only, "label": "l"}],
        "revokeKey": [{"prefix": it} for it in (named.keys["key"], f"hw_1_{name_of(named.keys['key'])}")],
        "createKey": [{"label": "l", "scopes": [f"write:domain {named.marker}"]}],
    }


async def run_attempts(tenants: TwoTenants, named: Tenant) -> list[dict[str, Any]]:
    """Run all attempts in the own tenant, and return the responses."""
    return [
        as_dict(await tenants.execute(tenants.own, mutation(tenants.own, field_name, input_)))
        for field_name, inputs in attempts(named).items()
        for input_ in inputs
    ]


async def test_no_mutation_changes_or_reveals_anything_of_another_tenant(tenants: TwoTenants, server: str) -> None:
    secrets, absent = await tenants.secrets(tenants.other), absent_tenant(tenants.other)
    before = await tenants.rows(tenants.other)
    assert attempts(tenants.other).keys() == SCHEMA.type_map["Mutation"].fields.keys()  # type: ignore[attr-defined]
    async with tenants.copied(server) as copy:
        of_absent = await run_attempts(copy, absent)
    assert leaks(of_absent, secrets, tenants.other) == []
    of_other = await run_attempts(tenants, tenants.other)
    for answers in zip(of_other, of_absent, strict=True):
        assert len({normalized(it, tenants.other, absent) for it in answers}) == 1, answers
    assert {it["data"] is None for it in of_other} == {True, False}
    assert await tenants.rows(tenants.other) == before


async def exported(tenants: TwoTenants, tenant: Tenant, *instants: Any) -> list[str]:
    """Export a tenant: all its history, and its state at instants."""
    exported_lines = []
    for instant in (None, *instants):
        async with tenants.database.snapshot(tenant.tenant_id) as connection:
            exported_lines += [line.decode() async for line in lines(connection, instant)]
    return exported_lines


async def test_an_export_contains_nothing_of_another_tenant(tenants: TwoTenants) -> None:
    own_lines = await exported(tenants, tenants.own, day(9), day(15), day(25))
    assert leaks("".join(own_lines), await tenants.secrets(tenants.other), tenants.other) == []
    other_lines = await exported(tenants, tenants.other)
    assert {json.loads(it)["kind"] for it in own_lines} == {json.loads(it)["kind"] for it in other_lines}


async def load(tenants: TwoTenants, tenant: Tenant, content: list[str], *, dry_run: bool) -> tuple[str, list[str]]:
    """Load lines into a tenant, skipping invalid ones. Return the summary and the row errors."""
    row_errors: list[str] = []
    author = Author(f"loader {tenant.marker}")
    loading = Load(
        tenants.database,
        tenant.tenant_id,
        author,
        advanced=lambda rows, position: None,
        rejected=lambda row_error: row_errors.append(repr(row_error)),
        on_error=OnError.SKIP,
        dry_run=dry_run,
    )
    await loading.run(io.BytesIO("".join(content).encode()), JsonLines)
    return str(loading.summary), row_errors


async def test_loading_another_tenants_export_is_like_loading_that_of_an_absent_tenant_and_changes_nothing_there(
    tenants: TwoTenants,
) -> None:
    secrets, absent = await tenants.secrets(tenants.other), absent_tenant(tenants.other)
    before = await tenants.rows(tenants.other)
    lines_ = await exported(tenants, tenants.other)
    # uids of associations are derived from those of their ends, which the random uids of the absent tenant are not
    associations = {uid for label, uid in tenants.other.uids.items() if label.startswith(("link", "relationship"))}
    deletions = [it for it in lines_ if json.loads(it)["kind"] == "delete" and json.loads(it)["uid"] not in associations]
    states = [it for it in lines_ if json.loads(it)["kind"] != "delete"]
    of_other = [*deletions, *states, *deletions]
    text = "\0".join(of_other)
    for uid, absent_uid in zip(tenants.other.uids.values(), absent.uids.values(), strict=True):
        text = text.replace(uid, absent_uid)
    of_absent = text.replace(tenants.other.marker, absent.marker).split("\0")
    other_result = await load(tenants, tenants.own, of_other, dry_run=True)
    absent_result = await load(tenants, tenants.own, of_absent, dry_run=True)
    assert absent_result[1], "some lines are rejected"
    assert leaks(absent_result, secrets, tenants.other) == []
    assert normalized(other_result, tenants.other, absent) == normalized(absent_result, tenants.other, absent)
    await load(tenants, tenants.own, of_other, dry_run=False)
    assert await tenants.rows(tenants.other) == before
    for tenant in (tenants.own, tenants.other):
        async with tenants.database.snapshot(tenant.tenant_id) as connection:
            assert (await verify_tenant(connection)).differences == []


async def all_answers(tenants: TwoTenants) -> list[str]:
    """Return the responses of the own tenant to all queries, without instants, and its figures."""
    values = values_of(tenants.own)
    operations = [await with_cursor(tenants, it, tenants.own) for it in generate_queries(values, values)]
    answers = [without_instants(as_dict(await tenants.execute(tenants.own, it))) for it in operations]
    async with tenants.database.snapshot(tenants.own.tenant_id) as connection:
        return [*answers, str(await read_figures(connection))]


async def check_isolation(tenants: TwoTenants, answers: list[str]) -> None:
    """Check that all answers stay the same with one layer disabled: for a third tenant, attempts, exports and loads."""
    before = await tenants.rows(tenants.other)
    responses = await tenants.write(third := Tenant(3, "marker-c"))
    assert leaks(responses, await tenants.secrets(tenants.other), tenants.other) == []
    assert await all_answers(tenants) == answers
    async with tenants.database.snapshot(4) as connection:
        assert not await has_changes(connection)
    async with tenants.database.snapshot(tenants.own.tenant_id) as connection:
        assert await api_key.find(connection, name_of(tenants.own.keys["key"])) is not None
        assert await api_key.find(connection, name_of(tenants.other.keys["key"])) is None
    limited = Author("limited", domains=frozenset({"sales"}))
    async with tenants.database.transaction(tenants.own.tenant_id, limited) as connection:
        await product.update(connection, UUID(tenants.own.uids["raw"]), {"owner": "limited"})
    results = [*await exported(tenants, tenants.own, day(15)), *map(str, await run_attempts(tenants, tenants.other))]
    assert leaks(results, await tenants.secrets(third), third) == []
    await load(tenants, tenants.own, (await exported(tenants, tenants.other))[::-1], dry_run=False)
    assert await tenants.rows(tenants.other) == before
    for tenant in (tenants.own, tenants.other, third):
        async with tenants.database.snapshot(tenant.tenant_id) as connection:
            assert (await verify_tenant(connection)).differences == []


@pytest.fixture(scope="module")
async def answers(template: TwoTenants, server: str) -> list[str]:
    """All responses with both layers."""
    async with template.copied(server) as tenants:
        return await all_answers(tenants)


async def test_row_level_security_alone_isolates_tenants(tenants: TwoTenants, answers: list[str]) -> None:
    with without_predicates(tenants.database) as statements:
        await check_isolation(tenants, answers)
    # policies do not apply to the owner of the tables, so statements that only the owner runs have one layer
    assert {it for it in files_not_run(statements) if not it.startswith(("bulk/purge_", "bulk/_purge_"))} == set()


async def test_tenant_predicates_alone_isolate_tenants(tenants: TwoTenants, answers: list[str]) -> None:
    await without_row_level_security(tenants.address)
    await check_isolation(tenants, answers)
