"""A tenant that has just arrived, which the statistics of the planner do not know: it reads as few rows as others do.

Two other tenants were loaded before the last ANALYZE. The tests count blocks and rows, never seconds.
"""

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.author import Author
from db.database import Database
from db.temporal.verification import verify_tenant
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.jsonl_writer import lines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import day, iso, product_fields
from tests.databases import prepare_now
from tests.db.plans import counted_work
from tests.graph_api.ingestion.lines import link_line, to_jsonl

PRODUCTS = 1_200
ENTITIES = 600
OLD, NEW, NEWEST = (1, 2), 3, 4

# Work that a load may do for each of its lines, a query for each asset that it finds, a mutation, and for each line of the tenant
# a query that reads it whole, and an export or a verification. A look-up that reads all rows of the tenant takes thousands.
PER_LINE = 150
PER_ASSET = 25
PER_MUTATION = 500
PER_ROW = 10
PER_VERIFIED_ROW = 50


def product_uid(number: int) -> UUID:
    return UUID(int=1_000_000 + number)


def tenant_lines() -> Iterator[dict[str, Any]]:
    """Yield products, entities with details, relationships, and links by which each product has two sources."""
    yield {"kind": "entityType", "code": "TABLE", "label": "Table", "domain": "sales"}
    yield {"kind": "detailType", "code": "note", "label": "Note"}
    yield {
        **{"kind": "relationshipType", "key": "uses", "reverseKey": "usedBy", "origin": "PRODUCT", "related": "TABLE"},
        "cardinality": "MANY_TO_MANY",
    }
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


FIRST, LAST = f'"{product_uid(1)}"', f'"{product_uid(900)}"'
ASSET = f"asset(ref: {{ uid: {LAST} }})"
PERIOD = f'from: "{iso(day(-1))}", to: "{iso(day(2))}"'
WINDOW = f"direction: UPSTREAM, {PERIOD}, filter: {{ assets: {{ kinds: [PRODUCT] }} }}"
LINK = "link { source { label } }"
SEEN = f'seenSince: "{iso(day(0))}"'
UIDS = [str(product_uid(number)) for number in range(100, 120)]
REPRESENTATIONS = [{"__typename": "Product", "uid": uid} for uid in UIDS]

# Queries by the number of assets that each looks up.
LOOKUPS: dict[str, tuple[int, str]] = {
    "product by name": (1, '{ product(name: "p900") { uid domain { name } } }'),
    "product as of": (1, f'{{ product(name: "p900", asOf: "{iso(day(1))}") {{ uid owner }} }}'),
    "asset": (1, f"{{ {ASSET} {{ label }} }}"),
    "entity by key": (1, '{ entity(ref: { key: { type: "TABLE", key: "k500" } }) { uid details { value } type { label } } }'),
    "assets": (
        10,
        "{ " + " ".join(f'a{n}: asset(ref: {{ uid: "{uid}" }}) {{ label }}' for n, uid in enumerate(UIDS[:10])) + " }",
    ),
    "representations": (20, "query ($it: [_Any!]!) { _entities(representations: $it) { ... on Product { name } } }"),
    "page of products": (50, "{ products(first: 50) { nodes { name owner } pageInfo { hasNextPage } } }"),
    **{
        f"products by {order.lower()}": (50, f"{{ products(first: 50, orderBy: {{ field: {order} }}) {{ nodes {{ name }} }} }}")
        for order in ("CREATED_AT", "DOMAIN", "OWNER")
    },
    **{
        f"entities by {order.lower()}": (
            50,
            f"{{ entities(first: 50, orderBy: {{ field: {order}, direction: DESC }}) {{ nodes {{ label }} }} }}",
        )
        for order in ("CREATED_AT", "KEY", "TYPE")
    },
    "products by uid": (
        20,
        "{ products(filter: { uids: [" + ", ".join(f'"{it}"' for it in UIDS) + "] }) { totalCount nodes { name } } }",
    ),
    "products by name": (
        20,
        "{ products(filter: { names: [" + ", ".join(f'"p{it}"' for it in range(20)) + "] }) { totalCount nodes { name } } }",
    ),
    "entities by key": (
        20,
        "{ entities(filter: { keys: ["
        + ", ".join(f'{{ type: "TABLE", key: "k{it}" }}' for it in range(20))
        + "] }) { totalCount nodes { label } } }",
    ),
    "products changed since": (
        50,
        f'{{ products(first: 50, filter: {{ updatedSince: "{iso(day(-1))}" }}, orderBy: {{ field: UPDATED_AT }}) {{'
        " nodes { name } } }",
    ),
    "last page of products": (50, "{ products(last: 50, orderBy: { field: UPDATED_AT }) { nodes { name } } }"),
    "page of entities": (50, "{ entities(first: 50) { nodes { displayName details { value } } } }"),
    "details": (1, '{ entities(filter: { details: [{ type: "note", in: ["value 7"] }] }) { nodes { label } } }'),
    "domain": (30, '{ domain(name: "domain 7") { owners products(first: 30) { nodes { name } } } }'),
    "walk": (30, f"{{ {ASSET} {{ upstream {{ totalCount nodes {{ label }} }} }} }}"),
    "walk with links": (30, f"{{ {ASSET} {{ upstream {{ links {{ confidence source {{ label }} }} cycles }} }} }}"),
    "walk from a product": (30, '{ product(name: "p900") { upstream { nodes { upstream(maxDepth: 1) { totalCount } } } } }'),
    "walk by domain": (40, f'{{ {ASSET} {{ upstream(filter: {{ assets: {{ domains: ["domain 3"] }} }}) {{ totalCount }} }} }}'),
    "walk by producer": (
        40,
        f'{{ {ASSET} {{ upstream(filter: {{ links: {{ producers: ["dbt"], {SEEN} }} }}) {{ nodes {{ label }} }} }} }}',
    ),
    "neighbours of a page": (50, "{ products(first: 50) { nodes { upstream(maxDepth: 1) { totalCount } } } }"),
    "counts of a page": (50, "{ products(first: 50) { nodes { upstreamCount downstreamCount } } }"),
    "diff of lineage": (60, f"{{ lineageDiff(of: {{ uid: {LAST} }}, direction: UPSTREAM, {PERIOD}) {{ addedLinks {{ id }} }} }}"),
    "lineage between": (60, f"{{ lineageBetween(of: {{ uid: {LAST} }}, {WINDOW}) {{ nodes {{ label }} links {{ {LINK} }} }} }}"),
    "related": (50, '{ products(first: 50) { nodes { related(key: "uses") { totalCount nodes { label } } } } }'),
    "relationships": (50, "{ products(first: 50) { nodes { relationships { totalCount nodes { id } } } } }"),
    "page of relationships": (50, "{ relationships(first: 50) { nodes { origin { label } related { label } } } }"),
    "page of links": (50, "{ lineageLinks(first: 50) { nodes { source { label } target { label } lastSeenAt } } }"),
    "latest links": (
        50,
        "{ lineageLinks(first: 50, orderBy: { field: UPDATED_AT, direction: DESC }) { nodes { createdAt recordedAt actor } } }",
    ),
    "latest relationships": (
        50,
        "{ relationships(first: 50, orderBy: { field: UPDATED_AT, direction: DESC }) { nodes { createdAt recordedAt actor } } }",
    ),
    "histories of links": (50, "{ lineageLinks(first: 50) { nodes { history(first: 3) { totalCount nodes { actor } } } } }"),
    "histories of relationships": (
        60,
        "{ relationships(first: 50) { nodes { history(first: 3) { totalCount nodes { actor } } } } }",
    ),
    "links of an end": (2, f"{{ lineageLinks(filter: {{ source: {{ uid: {LAST} }} }}) {{ nodes {{ id }} totalCount }} }}"),
    "histories": (50, "{ products(first: 50) { nodes { history(first: 3) { totalCount nodes { actor } } } } }"),
    "page of changes": (50, f"{{ changes({PERIOD}, first: 50) {{ nodes {{ kind asset {{ label }} }} }} }}"),
    "changes of an asset": (
        4,
        f"{{ changes({PERIOD}, filter: {{ assets: [{{ uid: {LAST} }}] }}) {{ totalCount nodes {{ at }} }} }}",
    ),
    "page of changes of links": (
        50,
        f"{{ changes({PERIOD}, subjects: [LINEAGE_LINK, RELATIONSHIP], first: 50) {{ nodes {{ kind subject {{"
        " ... on LineageLink { source { label } target { label } } ... on Relationship { origin { label } } } } } }",
    ),
    "changes of the links of an asset": (
        4,
        f"{{ changes({PERIOD}, subjects: [LINEAGE_LINK, RELATIONSHIP], filter: {{ assets: [{{ uid: {LAST} }}] }}) {{"
        " totalCount nodes { at actor } } }",
    ),
    "diff of the links of an asset": (
        4,
        f"{{ diff({PERIOD}, subjects: [LINEAGE_LINK], filter: {{ assets: [{{ uid: {LAST} }}] }}) {{ nodes {{ kind }} }} }}",
    ),
    "diff of an asset": (4, f"{{ diff({PERIOD}, filter: {{ assets: [{{ uid: {LAST} }}] }}) {{ nodes {{ kind }} }} }}"),
    "types": (3, "{ entityTypes { nodes { code } } detailTypes { nodes { code } } relationshipTypes { nodes { key } } }"),
}

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


def _executed(database: Database, query: str) -> Callable[[], Awaitable[None]]:
    async def execute() -> None:
        variables = {"it": REPRESENTATIONS} if "$it" in query else {}
        response = await Executor(schema, database, Limits(cost=2**53)).execute(
            Request(query, variables), Principal(NEW, "tester", frozenset(Scope)), "request"
        )
        assert response.errors == [], (query, response.errors)

    return execute


async def test_queries_and_mutations_of_a_new_tenant_read_only_what_they_find(served: Database) -> None:
    looked_up = {name: (PER_ASSET * (2 + count), _executed(served, it)) for name, (count, it) in LOOKUPS.items()}
    whole = {f"whole {name}": (PER_ROW * len(LINES), _executed(served, it)) for name, it in WHOLE.items()}
    written = {f"write {name}": (PER_MUTATION, _executed(served, it)) for name, it in MUTATIONS.items()}
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
