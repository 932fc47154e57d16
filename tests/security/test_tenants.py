"""Two tenants that hold the same names, asked through every field there is: neither ever learns of the other."""

import asyncio
import base64
import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLObjectType

from db.assets import product
from db.author import Author
from db.temporal.change_log import has_changes
from db.temporal.verification import verify_tenant
from db.tenancy import api_key
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.jsonl_writer import lines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from schema.execution.executor import Response
from tests.builders import day, iso
from tests.databases import shared_database
from tests.security.isolation_layers import files_not_run, without_predicates, without_row_level_security
from tests.security.random_queries import SCHEMA, Question, answered, questions
from tests.security.two_tenants import FIRST_IDS, Tenant, World, name_of, settle, stranger, values_of, written_down

_CURSOR = re.compile(r'("(?:cursor|startCursor|endCursor)": )"([\w-]+)"')
_LIST = re.compile(r'\["[0-9a-f]{12}",')
_KEY = re.compile(r"hw_1_[\w-]+")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

# Fields that nobody is answered by here, and why.
UNANSWERED: dict[str, str] = {}


@pytest.fixture(scope="module")
def settled(server: str) -> Iterator[World]:
    with shared_database(server) as address, asyncio.Runner() as runner:
        yield runner.run(settle(address))


@pytest.fixture
async def world(settled: World, server: str) -> AsyncIterator[World]:
    """Both tenants, in a database of this test's own."""
    async with settled.copied(server) as world:
        yield world


def opened(answer: Any) -> str:
    """An answer as text, with what its cursors say."""
    return _CURSOR.sub(lambda it: it[1] + base64.urlsafe_b64decode(it[2] + "=" * (-len(it[2]) % 4)).decode(), json.dumps(answer))


def whole(response: Response) -> dict[str, Any]:
    return {"data": response.data, "errors": response.errors, "ran": response.ran}


def leaks(answer: Any, secrets: list[str], of: Tenant) -> list[str]:
    """What an answer holds of what it should not: secrets of a tenant, its ids, and outside of cursors any id."""
    ids = rf"\b{str(FIRST_IDS[of.tenant_id])[:5]}\d{{6}}\b"
    text = opened(answer)
    anybody = [str(it)[:5] for it in FIRST_IDS.values()]
    bare = re.findall(rf"\b(?:{'|'.join(anybody)})\d{{6}}\b", json.dumps(answer))
    return [*(it for it in secrets if it in text), *re.findall(ids, text), *bare]


def timeless(answer: Any) -> str:
    """An answer as text, at no particular instant: those of the story are whole days. No two keys are alike."""
    text = _INSTANT.sub(lambda it: it[0] if it[0].endswith("T00:00:00Z") else "now", opened(answer))
    return _KEY.sub("key", text)


def alike(answer: Any, named: Tenant, nobody: Tenant) -> str:
    """An answer as if it had been asked about nobody's things. Which list a cursor belongs to depends on what was asked."""
    text = _LIST.sub("[", timeless(answer)).replace(named.mark, nobody.mark)
    for its, nobodys in zip(named.uids.values(), nobody.uids.values(), strict=True):
        text = text.replace(its, nobodys)
    return text


def fields_of_objects() -> Iterator[str]:
    for described in SCHEMA.type_map.values():
        if isinstance(described, GraphQLObjectType) and not described.name.startswith("__"):
            yield from (f"{described.name}.{name}" for name in described.fields)


async def continued(world: World, question: Question, owner: Tenant) -> Question:
    """The question, with the cursor that it wants as the owner of it got it."""
    if question.page is None:
        return question
    cursor = await world.cursor(owner, question.page)
    assert cursor is not None, f"{question.about}: there is nothing to go on from"
    return question.following(cursor)


async def test_no_field_answers_with_anything_of_another_tenant(world: World) -> None:
    secrets = await world.secrets(world.bee)
    values = values_of(world.ant)
    seen = {it for told in world.told for it in answered(told)}
    assert leaks(world.told, secrets, world.bee) == []
    for question in questions(values, values):
        response = await world.ask(world.ant, await continued(world, question, world.ant))
        assert not response.errors, (question, response.errors)
        assert leaks(response.data, secrets, world.bee) == [], question
        seen.update(answered(response.data))
    # what comes to the schema later is asked by itself; where nothing is answered, the story of the tenants has to tell of it
    assert set(fields_of_objects()) - seen == UNANSWERED.keys()


async def test_what_another_tenant_has_is_answered_like_what_nobody_has(world: World) -> None:
    secrets, nobody, own = await world.secrets(world.bee), stranger(world.bee), values_of(world.ant)
    asked = zip(questions(own, own), questions(own, values_of(world.bee)), questions(own, values_of(nobody)), strict=True)
    compared = 0
    for mine, its, nobodys in asked:
        if its.page is not None:
            # a cursor is a place in an order, whoever was given it
            response = await world.ask(world.ant, await continued(world, its, world.bee))
            assert leaks(response.data, secrets, world.bee) == [], its
        elif mine.variables != its.variables:
            answers = [whole(await world.ask(world.ant, it)) for it in (its, nobodys)]
            assert leaks(answers[1], secrets, world.bee) == [], nobodys
            assert alike(answers[0], world.bee, nobody) == alike(answers[1], world.bee, nobody), its
            compared += 1
    assert compared > 100


def attempts(named: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Every mutation, with the things of a tenant wherever its input can name some; what may well succeed comes last."""
    only, uids = named.only, named.uids
    product, person, link, join = (uids[it] for it in ("raw", "person", "link 0", "join steward person"))
    own, at = {"product": "raw"}, {"at": iso(day(22))}
    theirs: list[Mapping[str, Any]] = [
        {"uid": product},
        {"uid": person},
        {"product": only},
        {"entity": {"type": only, "key": only}},
    ]
    theirs.append({"entity": {"type": "PERSON", "key": only}})
    uses = [{"uid": it} for it in (product, person, link, join)]
    ends = {"origin": "PRODUCT", "related": only, "reverseKey": "back", "cardinality": "ONE_TO_ONE"}
    detail = {"type": only, "value": "1"}
    fresh = {"domain": f"domain {named.mark}", "owner": "o", "schema": {}}
    return {
        "updateProduct": [{"product": it, "owner": "thief"} for it in ({"uid": product}, {"uid": person}, {"name": only})],
        "deleteProduct": uses,
        "restoreProduct": [{"uid": uids["gone"]}, *uses],
        "updateEntity": [{"uid": person, "displayName": "thief"}, {"uid": product, "details": [detail]}],
        "deleteEntity": uses,
        "restoreEntity": [{"uid": uids["lone"]}, *uses],
        "removeLineage": uses,
        "unrelate": uses,
        "registerLineage": [{"source": it, "target": own, **at} for it in theirs]
        + [{"source": own, "target": it} for it in theirs],
        "relate": [
            *({"type": "steward", "origin": it, "related": {"entity": {"type": "PERSON", "key": "7"}}} for it in theirs),
            *({"type": "steward", "origin": own, "related": it} for it in theirs),
            {"type": only, "origin": own, "related": {"entity": {"type": "PERSON", "key": "7"}}},
        ],
        "removeEntityType": [{"code": only}],
        "removeDetailType": [{"code": only}],
        "removeRelationshipType": [{"code": only}, {"code": f"PRODUCT {only} PERSON"}],
        "putRelationshipType": [{"key": "x", **ends}, {"key": only, **ends, "related": "PERSON"}],
        "createEntity": [
            {"type": only, "key": only, "displayName": "thief"},
            {"type": "PERSON", "key": only, "displayName": "thief", "details": [detail]},
            {"type": "PERSON", "displayName": "thief", "uid": uids["other"], "key": only, "idempotencyKey": named.mark},
        ],
        "registerProduct": [{"name": only, **fresh, "uid": uids["index"]}, {"name": f"x {only}", **fresh, "uid": uids["table"]}],
        "putEntityType": [{"code": only, "label": "l", "domain": f"domain {named.mark}"}],
        "putDetailType": [{"code": only, "label": "l"}],
        "revokeKey": [{"prefix": it} for it in (named.keys["key"], f"hw_1_{name_of(named.keys['key'])}")],
        "createKey": [{"label": "l", "scopes": [f"write:domain {named.mark}"]}],
    }


async def attempted(world: World, named: Tenant) -> list[dict[str, Any]]:
    """What the one tenant is answered who tries all of these."""
    return [
        whole(await world.ask(world.ant, written_down(world.ant, mutation, given)))
        for mutation, inputs in attempts(named).items()
        for given in inputs
    ]


async def test_no_mutation_changes_or_tells_of_anything_of_another_tenant(world: World, server: str) -> None:
    secrets, nobody, before = await world.secrets(world.bee), stranger(world.bee), await world.rows(world.bee)
    assert attempts(world.bee).keys() == SCHEMA.type_map["Mutation"].fields.keys()  # type: ignore[attr-defined]
    async with world.copied(server) as like:
        nobodys = await attempted(like, nobody)
    assert leaks(nobodys, secrets, world.bee) == []
    its = await attempted(world, world.bee)
    for answers in zip(its, nobodys, strict=True):
        assert len({alike(it, world.bee, nobody) for it in answers}) == 1, answers
    assert {it["data"] is None for it in its} == {True, False}
    assert await world.rows(world.bee) == before


async def exported(world: World, tenant: Tenant, *instants: Any) -> list[str]:
    """All that the tenant can take away, and what it can of those instants."""
    found = []
    for instant in (None, *instants):
        async with world.database.snapshot(tenant.tenant_id) as connection:
            found += [line.decode() async for line in lines(connection, instant)]
    return found


async def test_an_export_holds_nothing_of_another_tenant(world: World) -> None:
    taken = await exported(world, world.ant, day(9), day(15), day(25))
    assert leaks("".join(taken), await world.secrets(world.bee), world.bee) == []
    assert {json.loads(it)["kind"] for it in taken} == {json.loads(it)["kind"] for it in await exported(world, world.bee)}


async def load(world: World, tenant: Tenant, said: list[str], *, dry_run: bool) -> tuple[str, list[str]]:
    """Load lines for the tenant, as far as they can be: what became of them."""
    faults: list[str] = []
    author = Author(f"loader {tenant.mark}")
    loading = Load(
        world.database,
        tenant.tenant_id,
        author,
        advanced=lambda rows, position: None,
        rejected=lambda fault: faults.append(repr(fault)),
        on_error=OnError.SKIP,
        dry_run=dry_run,
    )
    await loading.run(io.BytesIO("".join(said).encode()), JsonLines)
    return str(loading.summary), faults


async def test_loading_what_another_tenant_has_is_like_loading_what_nobody_has_and_touches_nothing_of_it(world: World) -> None:
    secrets, nobody, before = await world.secrets(world.bee), stranger(world.bee), await world.rows(world.bee)
    told = await exported(world, world.bee)
    # the uids of bonds are made of those of their ends, which nobody's are not
    bonds = {uid for called, uid in world.bee.uids.items() if called.startswith(("link", "join"))}
    ends = [it for it in told if json.loads(it)["kind"] == "delete" and json.loads(it)["uid"] not in bonds]
    told = [it for it in told if json.loads(it)["kind"] != "delete"]
    everything = "\0".join([*ends, *told, *ends])
    for named, its in zip(world.bee.uids.values(), nobody.uids.values(), strict=True):
        everything = everything.replace(named, its)
    nobodys = everything.replace(world.bee.mark, nobody.mark).split("\0")
    became = {
        it: await load(world, world.ant, said, dry_run=True) for it, said in (("bee", [*ends, *told, *ends]), ("nil", nobodys))
    }
    assert became["nil"][1], "some of it is refused"
    assert leaks(became["nil"], secrets, world.bee) == []
    assert alike(became["bee"], world.bee, nobody) == alike(became["nil"], world.bee, nobody)
    await load(world, world.ant, [*ends, *told, *ends], dry_run=False)
    assert await world.rows(world.bee) == before
    for tenant in (world.ant, world.bee):
        async with world.database.snapshot(tenant.tenant_id) as connection:
            assert (await verify_tenant(connection)).differences == []


async def answers_of(world: World) -> list[str]:
    """What the one tenant is answered to everything, at no particular instant."""
    values = values_of(world.ant)
    asked = [await continued(world, question, world.ant) for question in questions(values, values)]
    return [timeless(whole(await world.ask(world.ant, it))) for it in asked]


async def behind_one_wall(world: World, answers: list[str]) -> None:
    """A third tenant tells the same story, the one tries all it can on the other: nobody notices that one wall is missing."""
    before = await world.rows(world.bee)
    told = await world.tell(cat := Tenant(3, "of-cat"))
    assert leaks(told, await world.secrets(world.bee), world.bee) == []
    assert await answers_of(world) == answers
    async with world.database.snapshot(4) as connection:
        assert not await has_changes(connection)
    async with world.database.snapshot(world.ant.tenant_id) as connection:
        assert await api_key.find(connection, name_of(world.ant.keys["key"])) is not None
        assert await api_key.find(connection, name_of(world.bee.keys["key"])) is None
    limited = Author("limited", domains=frozenset({"sales"}))
    async with world.database.transaction(world.ant.tenant_id, limited) as connection:
        await product.update(connection, UUID(world.ant.uids["raw"]), {"owner": "limited"})
    taken = [*await exported(world, world.ant, day(15)), *map(str, await attempted(world, world.bee))]
    assert leaks(taken, await world.secrets(cat), cat) == []
    await load(world, world.ant, (await exported(world, world.bee))[::-1], dry_run=False)
    assert await world.rows(world.bee) == before
    for tenant in (world.ant, world.bee, cat):
        async with world.database.snapshot(tenant.tenant_id) as connection:
            assert (await verify_tenant(connection)).differences == []


async def test_where_no_statement_names_the_tenant_row_level_security_still_keeps_them_apart(world: World) -> None:
    answers = await answers_of(world)
    with without_predicates(world.database) as statements:
        await behind_one_wall(world, answers)
    # whoever owns the tables sees all rows, whatever their policies: what only the owner runs has the one wall
    assert {it for it in files_not_run(statements) if not it.startswith("bulk/purge_")} == set()


async def test_where_there_is_no_row_level_security_every_statement_still_names_the_tenant(world: World) -> None:
    answers = await answers_of(world)
    await without_row_level_security(world.address)
    await behind_one_wall(world, answers)
