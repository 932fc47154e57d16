"""Queries that find few things among many, and the work that each may take in a tenant of any size.

A tenant has products `p0`, `p1` …, each with a uid of its number, a domain with 30 products, and links from the products with a
half and a third of its number; and entities of the type TABLE with the keys `k0`, `k1` …, to each of which the product of its
number is related.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.database import Database
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import day, iso

# The JSON lines of the types.
TYPES: tuple[dict[str, Any], ...] = (
    {"kind": "entityType", "code": "TABLE", "label": "Table", "domain": "sales"},
    {"kind": "detailType", "code": "note", "label": "Note"},
    {
        **{"kind": "relationshipType", "key": "uses", "reverseKey": "usedBy", "origin": "PRODUCT", "related": "TABLE"},
        "cardinality": "MANY_TO_MANY",
    },
)
# Work for each asset that a query finds, in blocks, rows and entries of indexes.
_PER_ASSET = 25


@dataclass(frozen=True, slots=True)
class Lookup:
    """A query, and the most work that it may take."""

    query: str
    bound: int


def product_uid(number: int) -> UUID:
    return UUID(int=1_000_000 + number)


def executed(database: Database, tenant_id: int, query: str) -> Callable[[], Awaitable[None]]:
    """Return a function that executes a query in a tenant, and fails if it has an error."""

    async def execute() -> None:
        variables = {"it": _REPRESENTATIONS} if "$it" in query else {}
        response = await Executor(schema, database, Limits(cost=2**53)).execute(
            Request(query, variables), Principal(tenant_id, "tester", frozenset(Scope)), "request"
        )
        assert response.errors == [], (query, response.errors)

    return execute


FIRST, LAST = f'"{product_uid(1)}"', f'"{product_uid(900)}"'
ASSET = f"asset(ref: {{ uid: {LAST} }})"
PERIOD = f'from: "{iso(day(-1))}", to: "{iso(day(2))}"'
WINDOW = f"direction: UPSTREAM, {PERIOD}, filter: {{ assets: {{ kinds: [PRODUCT] }} }}"
LINK = "link { source { label } }"
SEEN = f'seenSince: "{iso(day(0))}"'
UIDS = [str(product_uid(number)) for number in range(100, 120)]
_REPRESENTATIONS = [{"__typename": "Product", "uid": uid} for uid in UIDS]

# Queries by name, with the number of assets that each finds.
_LOOKUPS: dict[str, tuple[int, str]] = {
    "product by name": (1, '{ product(name: "p900") { uid domain { name } } }'),
    "product as of": (1, f'{{ product(name: "p900", asOf: "{iso(day(1))}") {{ uid owner }} }}'),
    "asset": (1, f"{{ {ASSET} {{ label }} }}"),
    "entity by key": (1, '{ entity(ref: { key: { type: "TABLE", key: "k500" } }) { uid details { value } type { label } } }'),
    "assets": (
        10,
        "{ " + " ".join(f'a{n}: asset(ref: {{ uid: "{uid}" }}) {{ label }}' for n, uid in enumerate(UIDS[:10])) + " }",
    ),
    "representations": (20, "query ($it: [_Any!]!) { _entities(representations: $it) { ... on Product { name } } }"),
    **{
        f"assets by {form}": (20, f"{{ assets(refs: [{', '.join(refs)}]) {{ label key }} }}")
        for form, refs in (
            ("uid", [f'{{ uid: "{it}" }}' for it in UIDS]),
            ("name", [f'{{ product: "p{it}" }}' for it in range(20)]),
            ("key", [f'{{ entity: {{ type: "TABLE", key: "k{it}" }} }}' for it in range(20)]),
        )
    },
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
LOOKUPS = {name: Lookup(query, _PER_ASSET * (2 + assets)) for name, (assets, query) in _LOOKUPS.items()}
