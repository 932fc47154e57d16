"""A tenant that has just arrived, which the statistics of the planner do not know: it reads as few rows as others do.

Two other tenants were loaded before the last ANALYZE. The tests count blocks and rows, never seconds.
"""

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from db.author import Author
from db.database import Database
from db.temporal.verification import verify_tenant
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.jsonl_writer import lines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from tests.builders import day, iso, product_fields
from tests.databases import prepare_now
from tests.db.plans import counted_work
from tests.graph_api.ingestion.lines import link_line, to_jsonl
from tests.security.lookups import FIRST, LAST, LOOKUPS, PERIOD, TYPES, executed, product_uid

PRODUCTS = 1_200
ENTITIES = 600
OLD, NEW, NEWEST = (1, 2), 3, 4

# Work that a load may do for each of its lines, a mutation, and for each line of the tenant a query that reads it whole, and an
# export or a verification. A look-up that reads all rows of the tenant takes thousands.
PER_LINE = 150
PER_MUTATION = 500
PER_ROW = 10
PER_VERIFIED_ROW = 50


def tenant_lines() -> Iterator[dict[str, Any]]:
    """Yield products, entities with details, relationships, and links by which each product has two sources."""
    yield from TYPES
    for number in range(PRODUCTS):
        fields = product_fields(f"p{number}", domain=f"domain {number % 40}", description=f"text {number}", tags=["a"])
        yield {"kind": "product", "uid": str(product_uid(number)), **fields, "at": iso(day(0))}
    for number in range(ENTITIES):
        details = [{"type": "note", "value": f"value {number}"}]
        names = {"type": "TABLE", "key": f"k{number}", "displayName": f"entity {number}"}
        yield {"kind": "entity", **names, "details": details, "at": iso(day(0))}
        ends = {"origin": {"uid": str(product_uid(number))}, "related": {"entity": {"type": "TABLE", "key": f"k{number}"}}}
        yield {"kind": "relationship", "type": "uses", **ends, "at": iso(day(1))}
    for number in range(2, PRODUCTS):
        yield link_line(product_uid(number // 2), product_uid(number), 1)
        yield link_line(product_uid(number // 3), product_uid(number), 1, producer="dbt")


LINES = list(tenant_lines())


async def _load(database: Database, tenant_id: int) -> None:
    def reject(error: object) -> None:
        raise AssertionError(error)

    load = Load(database, tenant_id, Author("loader", "load"), advanced=lambda *_: None, rejected=reject, on_error=OnError.SKIP)
    await load.run(io.BytesIO(to_jsonl(LINES)), JsonLines)
    assert load.summary.rows == len(LINES)


async def _fill(address: str) -> None:
    owner, database = await asyncpg.connect(address), Database(address, pool_size=2)
    try:
        await owner.execute("INSERT INTO tenant (name) VALUES ('old'), ('new'), ('newest')")
        for tenant_id in OLD:
            await _load(database, tenant_id)
        await owner.execute("VACUUM ANALYZE")
        # statistics stay as they are
        tables = await owner.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
        for table in tables:
            await owner.execute(f"ALTER TABLE {table['relname']} SET (autovacuum_enabled = off)")
        await _load(database, NEW)
    finally:
        await owner.close()
        await database.close()


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_now(server, "new_tenant", _fill)


@pytest.fixture
def counted(database: Database) -> counted_work:
    return counted_work(database)


@pytest.fixture(params=["pooled", "behind a pooler"])
async def served(request: pytest.FixtureRequest, address: str) -> AsyncIterator[Database]:
    """A database as the service opens it. Behind a pooler, single reads are planned with their parameters."""
    database = Database(address, pool_size=2, behind_pooler=request.param == "behind a pooler")
    yield database
    await database.close()


async def test_a_load_of_a_new_tenant_takes_the_same_work_for_each_line(database: Database, counted: counted_work) -> None:
    with counted:
        await _load(database, NEWEST)
    assert counted.total <= PER_LINE * len(LINES), "\n".join(map(str, sorted(counted.work, key=lambda it: -it.total)[:3]))


# Queries that read a tenant whole, which is a few times its number of lines.
WHOLE: dict[str, str] = {
    "domains": "{ domains { nodes { name owners products { totalCount } entities { totalCount } } } }",
    "analytics": "{ analytics { domains { products inboundLinks } lineage { links assetsWithoutUpstream longestPath cycles } } }",
    "counts": "{ products { totalCount } entities { totalCount } relationships { totalCount } lineageLinks { totalCount } }",
    "changes": f"{{ changes({PERIOD}, first: 100) {{ totalCount nodes {{ at }} }} }}",
    "diff": f"{{ diff({PERIOD}, first: 100) {{ totalCount nodes {{ kind }} }} }}",
    "changes of everything": f"{{ changes({PERIOD}, subjects: [ENTITY, LINEAGE_LINK, RELATIONSHIP]) {{ totalCount }} }}",
    "changes by actor": f'{{ changes({PERIOD}, subjects: [LINEAGE_LINK], filter: {{ actors: ["none"] }}) {{ totalCount }} }}',
    "diff of everything": f"{{ diff({PERIOD}, subjects: [LINEAGE_LINK, RELATIONSHIP]) {{ totalCount nodes {{ kind }} }} }}",
    "search": '{ products(search: "text 90") { nodes { name } } entities(search: "ity 50") { nodes { label } } }',
    "filter": '{ products(filter: { domains: ["domain 7"], owners: ["ann"] }) { nodes { name } totalCount } }',
    "sorted": (
        "{ products(orderBy: { field: VERSION }) { nodes { name } } entities(orderBy: { field: OWNER }) { nodes { label } }"
        " byDomain: entities(orderBy: { field: DOMAIN }) { nodes { label } } }"
    ),
    "paths": f"{{ lineagePaths(from: {{ uid: {FIRST} }}, to: {{ uid: {LAST} }}) {{ paths {{ assets {{ label }} }} }} }}",
    "walk": f"{{ asset(ref: {{ uid: {FIRST} }}) {{ downstream(maxDepth: 50) {{ totalCount }} }} }}",
}

LATE = f'product: {{ name: "p7" }}, owner: "bo", at: "{iso(day(0.5))}"'
ENDS = 'origin: { product: "p7" }, related: { entity: { type: "TABLE", key: "k9" } }'
ENTITY = 'type: "TABLE", key: "new", displayName: "New", details: [{ type: "note", value: "x" }]'
MUTATIONS: dict[str, str] = {
    "update": 'mutation { updateProduct(input: { product: { name: "p7" }, owner: "bo" }) { changed } }',
    "late update": f"mutation {{ updateProduct(input: {{ {LATE} }}) {{ changed }} }}",
    "rename": 'mutation { updateProduct(input: { product: { name: "p8" }, name: "q8" }) { changed } }',
    "link": 'mutation { registerLineage(input: { source: { product: "p7" }, target: { product: "p900" } }) { changed } }',
    "relate": f'mutation {{ relate(input: {{ type: "uses", {ENDS} }}) {{ changed }} }}',
    "create": f"mutation {{ createEntity(input: {{ {ENTITY} }}) {{ changed }} }}",
    "delete": f'mutation {{ deleteProduct(input: {{ product: {{ uid: "{product_uid(901)}" }} }}) {{ changed }} }}',
    "restore": f'mutation {{ restoreProduct(input: {{ product: {{ uid: "{product_uid(901)}" }} }}) {{ changed }} }}',
}


async def _too_dear(counted: counted_work, runs: dict[str, tuple[int, Callable[[], Awaitable[Any]]]]) -> dict[str, str]:
    """Run each, and return those that take more work than they may, with their worst statement."""
    dear = {}
    for name, (limit, run) in runs.items():
        counted.work.clear()
        with counted:
            await run()
        if counted.total > limit:
            dear[name] = f"{counted.total} > {limit}: {max(counted.work, key=lambda it: it.total)}"
    return dear


async def test_queries_and_mutations_of_a_new_tenant_read_only_what_they_find(served: Database) -> None:
    looked_up = {name: (it.bound, executed(served, NEW, it.query)) for name, it in LOOKUPS.items()}
    whole = {f"whole {name}": (PER_ROW * len(LINES), executed(served, NEW, it)) for name, it in WHOLE.items()}
    written = {f"write {name}": (PER_MUTATION, executed(served, NEW, it)) for name, it in MUTATIONS.items()}
    assert await _too_dear(counted_work(served), {**looked_up, **whole, **written}) == {}


async def test_an_export_and_a_verification_of_a_new_tenant_read_it_a_few_times(
    database: Database, counted: counted_work
) -> None:
    async def export() -> None:
        async with database.snapshot(NEW) as connection:
            assert len([line async for line in lines(connection, None)]) == len(LINES)

    async def verify() -> None:
        async with database.snapshot(NEW) as connection:
            assert not (await verify_tenant(connection)).differences

    limit = PER_VERIFIED_ROW * len(LINES)
    assert await _too_dear(counted, {"export": (limit, export), "verify": (limit, verify)}) == {}
