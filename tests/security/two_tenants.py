"""Two tenants with assets of the same names. Every value that a tenant writes contains its marker."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
from graphql import get_named_type
from sqlalchemy import make_url

from db.author import Author
from db.database import Database
from db.lineage.walk import Bounds
from db.tenancy import api_key
from db.tenancy.api_key import KeySigner
from schema.execution.document import Documents
from schema.execution.executor import Executor
from schema.execution.external_record import Caller, Lookup
from schema.execution.operation import Request, Response
from schema.execution.principal import Principal
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import day, iso
from tests.databases import temporary_database
from tests.security.random_queries import SCHEMA, Document, GeneratedOperation

# The secret that cursors are sealed with.
SECRET = b"a secret of these tests, which is long enough"

# The first id of each tenant in every sequence: numbers that appear nowhere else.
FIRST_IDS = {1: 31_000_000_000, 2: 47_000_000_000, 3: 59_000_000_000}

# Fewer assets than a walk from "raw" reaches, so that walks are truncated. No generated query is too expensive.
LIMITS = Limits(walk_bounds=Bounds(assets=5), cost=2**31 - 1)
# Hundreds of generated documents, which take longer to validate than to execute.
DOCUMENTS = Documents(schema, LIMITS)

AT = iso(day(9))


@dataclass
class Tenant:
    """A tenant: its marker, and the uids of its objects and prefixes of its keys by their labels in `mutations`."""

    tenant_id: int
    marker: str
    uids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def unique_name(self) -> str:
        """A name that no other tenant uses."""
        return f"only-{self.marker}"


@dataclass
class TwoTenants:
    """The tenant that sends requests, another tenant, and the executor that serves both."""

    own: Tenant
    other: Tenant
    database: Database
    address: str
    # responses to the mutations of the own tenant
    responses: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.executor = Executor(schema, self.database, LIMITS, echo_lookups, KeySigner(SECRET))
        # All tests send the same documents. Their meaning does not depend on the database.
        self.executor._documents = DOCUMENTS

    @asynccontextmanager
    async def copied(self, server: str) -> AsyncIterator["TwoTenants"]:
        """Copy the database. The original must have no connections while it is copied, so its pool is closed."""
        await self.database.close()
        async with temporary_database(server, str(make_url(self.address).database)) as address:
            database = Database(address)
            yield replace(self, database=database, address=address)
            await database.close()

    async def write(self, tenant: Tenant) -> list[Any]:
        """Create a tenant and run all mutations in it. Return their responses."""
        owner = await asyncpg.connect(self.address)
        try:
            await owner.execute("INSERT INTO tenant VALUES ($1, $2) ON CONFLICT DO NOTHING", tenant.tenant_id, tenant.marker)
            await owner.execute("INSERT INTO quota (tenant_id, kind, allowed) VALUES ($1, 'PRODUCT', 1000)", tenant.tenant_id)
            for it in await owner.fetch("SELECT sequencename FROM pg_sequences WHERE sequencename <> 'tenant_tenant_id_seq'"):
                await owner.execute(f'ALTER SEQUENCE "{it["sequencename"]}" RESTART {FIRST_IDS[tenant.tenant_id]}')
        finally:
            await owner.close()
        responses = [await _run(self, tenant, *it) for it in mutations(tenant)]
        async with self.database.transaction(tenant.tenant_id, Author(tenant.marker)) as connection:
            await api_key.touch_last_used(connection, name_of(tenant.keys["key"]), every=timedelta(0))
        return responses

    async def execute(self, tenant: Tenant, operation: GeneratedOperation) -> Response:
        """Run an operation in a tenant, with every scope."""
        principal = Principal(tenant.tenant_id, f"actor {tenant.marker}", frozenset(Scope), tenant=tenant.marker)
        request = Request(operation.text, operation.variables)
        return await self.executor.execute(request, principal, f"request {tenant.marker}")

    async def end_cursor(self, tenant: Tenant, operation: GeneratedOperation) -> str | None:
        """Return the end cursor of the connection that an operation selects, or None if the response has no such connection."""
        page: Any = (await self.execute(tenant, operation)).data
        for name in operation.path:
            page = page[0] if isinstance(page, list) and page else page
            page = page.get(name) if isinstance(page, dict) else None
        return page["pageInfo"]["endCursor"] if page else None

    async def rows(self, tenant: Tenant) -> dict[str, list[str]]:
        """Read all rows of a tenant as the owner of the tables, as text by table."""
        owner = await asyncpg.connect(self.address)
        try:
            return {
                table: sorted(
                    await _column(owner, f'SELECT CAST(t AS text) AS value FROM "{table}" t WHERE tenant_id = $1', tenant)
                )
                for table in await tables_with(owner, "tenant_id")
            }
        finally:
            await owner.close()

    async def secrets(self, tenant: Tenant) -> list[str]:
        """Return the values that no other tenant may read: the marker, all uids, and the names of the keys."""
        owner = await asyncpg.connect(self.address)
        try:
            uids = [
                str(uid)
                for table in await tables_with(owner, "uid")
                for uid in await _column(
                    owner, f'SELECT uid AS value FROM "{table}" WHERE tenant_id = $1 AND uid IS NOT NULL', tenant
                )
            ]
        finally:
            await owner.close()
        assert set(tenant.uids.values()) <= set(uids)
        return [tenant.marker, *uids, *map(name_of, tenant.keys.values())]


async def tables_with(owner: asyncpg.Connection, column: str) -> list[str]:
    """Return the tables that have a column."""
    return [
        it["relname"]
        for it in await owner.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $1"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = CAST(current_schema() AS regnamespace) ORDER BY c.relname",
            column,
        )
    ]


def name_of(prefix: str) -> str:
    """Return the name of a key, which is the last part of its prefix."""
    return prefix.rpartition("_")[2]


async def _column(owner: asyncpg.Connection, statement: str, tenant: Tenant) -> list[Any]:
    """Return the column `value` of the rows of a tenant."""
    return [it["value"] for it in await owner.fetch(statement, tenant.tenant_id)]


async def echo_lookups(requested: Mapping[Lookup, int], caller: Caller) -> dict[Lookup, Any]:
    """Return records that repeat their lookup and the request."""
    return {lookup: {"lookup": list(lookup), "by": caller.request_id} for lookup in requested}


async def create_two_tenants(address: str) -> TwoTenants:
    """Create both tenants, the other one first, so that its rows exist when the own tenant writes."""
    tenants = TwoTenants(Tenant(1, "marker-a"), Tenant(2, "marker-b"), Database(address), address)
    await tenants.write(tenants.other)
    tenants.responses = await tenants.write(tenants.own)
    await tenants.database.close()
    return tenants


async def _run(tenants: TwoTenants, tenant: Tenant, field_name: str, label: str | None, input_: Mapping[str, Any]) -> Any:
    """Run a mutation, and store the uid or prefix of its object under the label."""
    response = await tenants.execute(tenant, mutation(tenant, field_name, input_))
    assert not response.errors, (field_name, response.errors)
    assert response.data is not None
    if label is not None:
        (created,) = (it for it in response.data[field_name].values() if isinstance(it, dict))
        if "prefix" in created:
            tenant.keys[label] = created["prefix"]
        else:
            tenant.uids[label] = created["uid"]
    return response.data


def mutation(tenant: Tenant, field_name: str, input_: Mapping[str, Any]) -> GeneratedOperation:
    """Build a mutation that selects all fields of its payload."""
    payload = SCHEMA.type_map["Mutation"].fields[field_name]  # type: ignore[attr-defined]
    document = Document(values_of(tenant))
    call = document.call("Mutation", field_name, {"input": input_})
    selection = document.select(get_named_type(payload.type), 2)
    return document.operation(field_name, f"{{ __typename {call} {selection} }}", kind="mutation")


def mutations(tenant: Tenant) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Yield the mutations that a tenant runs: the field, a label for the created object if it is referenced later, and the input.

    Names, keys and idempotency keys are the same in every tenant; all other values contain the marker.
    """
    marker, only, uids = tenant.marker, tenant.unique_name, tenant.uids
    ends: dict[str, Any]
    begin, later = {"at": iso(day(0))}, {"at": iso(day(10))}
    source = {"service": "registry", "endpoint": f"/{marker}", "lookupField": marker}
    for code, domain in (("PERSON", "people"), ("TABLE", "sales"), (only, None), ("SPARE", None)):
        yield "putEntityType", None, {"code": code, "label": f"type {marker}", "domain": domain, "source": source}
    roles = {"note": "DESCRIPTION", "height": "URL", only: "OWNER", "shared": "TAG"}
    for code, format_ in (("note", "text"), ("height", "number"), (only, None), ("shared", None), ("spare", None)):
        detail_type = {"code": code, "label": f"detail {marker}", "format": format_, "role": roles.get(code)}
        yield "putDetailType", None, detail_type
    for key, cardinality in (
        ("steward", "MANY_TO_MANY"),
        ("owned", "MANY_TO_ONE"),
        (only, "MANY_TO_MANY"),
        ("spare", "ONE_TO_ONE"),
    ):
        ends = {"origin": "PRODUCT", "related": "PERSON", "reverseKey": f"{key}Of", "foreignKeyField": marker}
        yield "putRelationshipType", None, {"key": key, **ends, "cardinality": cardinality, "onDelete": "CASCADE"}
    for removed, code in (("EntityType", "SPARE"), ("DetailType", "spare"), ("RelationshipType", "spare")):
        yield f"remove{removed}", None, {"code": code}

    for name in ("raw", "clean", "report", "copy", "index", "gone", "leaving", only):
        domain = f"domain {marker}" if name == only else "sales"
        attributes = {"owner": f"owner {marker}", "description": f"product {marker}", "tags": [marker, "shared"]}
        columns = {"fields": [{"name": f"column {marker}", "type": "text", "description": marker}]}
        state = {"name": name, "domain": domain, **attributes, "schema": columns, "idempotencyKey": f"register {name}", **begin}
        yield "registerProduct", name, state if name != only else {**state, "idempotencyKey": marker}
    people = [("person", "PERSON", "7"), ("other", "PERSON", "8"), ("left", "PERSON", "9")]
    for label, type_, key in [*people, ("table", "TABLE", "7"), ("lone", only, only)]:
        texts = {"note": f"note {marker}", "height": "180", only: f"owner {marker}", "shared": marker}
        details = [{"type": code, "value": value} for code, value in texts.items()]
        entity = {
            "type": type_,
            "key": key,
            "alternateKeys": [f"{label} {marker}"],
            "displayName": f"ann {marker}",
            "details": details,
        }
        yield "createEntity", label, {**entity, "idempotencyKey": f"create {label}", **begin}

    flow = [("raw", "clean"), ("clean", "report"), ("raw", "copy"), ("copy", "index"), ("copy", only), ("clean", "table")]
    for number, (near, far) in enumerate([*flow, ("table", "person"), ("person", "other"), ("leaving", "left")]):
        ends = {"source": {"uid": uids[near]}, "target": {"uid": uids[far]}}
        report = {"transformation": f"select {marker}", "confidence": 0.5, "metadata": {"by": marker}, "producer": "dbt"}
        yield "registerLineage", f"link {number}", {**ends, **report, "idempotencyKey": f"link {number}", **begin}
    back: dict[str, Any] = {
        "source": {"product": "report"},
        "target": {"entity": {"type": "PERSON", "key": "7"}},
        "producer": marker,
    }
    yield "registerLineage", "link back", {**back, "type": "DERIVED", **begin}
    loop = {"source": {"product": "report"}, "target": {"product": "raw"}, "metadata": {"loop": marker}}
    yield "registerLineage", "link loop", {**loop, "at": iso(day(20))}
    for key, label in (("steward", "person"), ("steward", "other"), ("owned", "person"), (only, "person")):
        ends = {"origin": {"product": "raw"}, "related": {"uid": uids[label]}}
        related: dict[str, Any] = {"type": key, **ends, "attributes": {"by": marker}, "idempotencyKey": f"relate {key} {label}"}
        yield "relate", f"relationship {key} {label}", {**related, **begin}
    ends = {"origin": {"product": "leaving"}, "related": {"uid": uids["left"]}}
    yield "relate", "relationship leaving", {"type": "steward", **ends, **begin}

    changed = {"owner": f"new owner {marker}", "description": f"changed {marker}", "status": "DEPRECATED", "version": "2.0.0"}
    yield "updateProduct", None, {"product": {"name": "raw"}, **changed, "idempotencyKey": "update raw", **later}
    details = [{"type": "note", "value": f"new note {marker}"}]
    names = {"displayName": f"anna {marker}", "addKeys": [f"again {marker}"]}
    yield "updateEntity", None, {"entity": {"uid": uids["person"]}, **names, "details": details, **later}
    ends = {"source": {"product": "raw"}, "target": {"product": "clean"}, "producer": "dbt"}
    yield "registerLineage", None, {**ends, "metadata": {"again": marker}, **later}
    ends = {"origin": {"product": "raw"}, "related": {"uid": uids["person"]}}
    yield "relate", None, {"type": "owned", **ends, "attributes": {"again": marker}, **later}
    for day_number, verb in ((12, "delete"), (14, "restore"), (16, "delete")):
        options = {"at": iso(day(day_number)), "idempotencyKey": f"{day_number}"}
        yield f"{verb}Product", None, {"product": {"uid": uids["gone"]}, **options}
        yield f"{verb}Entity", None, {"entity": {"uid": uids["lone"]}, **options, "idempotencyKey": f"entity {day_number}"}
    ends = {"source": {"product": "copy"}, "target": {"product": only}}
    yield "updateLineage", None, {"link": {"uid": uids["link 1"]}, "transformation": f"select again {marker}", **later}
    yield "restoreLineage", None, {"link": {"uid": uids["link 1"]}, "at": iso(day(19))}
    changes = {"attributes": {"by": f"later {marker}"}, "at": iso(day(19))}
    yield "updateRelationship", None, {"relationship": {"uid": uids["relationship steward person"]}, **changes}
    yield "removeLineage", None, {"link": {"ends": ends}, "at": iso(day(18))}
    ends = {"origin": {"product": "raw"}, "related": {"entity": {"type": "PERSON", "key": "8"}}}
    yield "unrelate", None, {"relationship": {"ends": {"type": "steward", **ends}}, "at": iso(day(18))}
    # the uids of stubs follow from their names and keys
    ends = {"source": {"product": f"imported {marker}"}, "target": {"entity": {"type": only, "key": f"imported {marker}"}}}
    yield "registerLineage", None, {**ends, "createMissing": True, **later}
    for label in ("key", "revoked"):
        key_input = {
            "label": f"{label} {marker}",
            "scopes": ["read", "write:sales", f"write:{marker}"],
            "expiresAt": "2100-01-01",
        }
        yield "createKey", label, key_input
    yield "revokeKey", None, {"prefix": tenant.keys["revoked"]}
    # the deletion cascades to a related entity, and is sent twice with one idempotency key
    for _ in range(2):
        yield "deleteProduct", None, {"product": {"uid": uids["leaving"]}, "at": iso(day(21)), "idempotencyKey": "leave"}


def values_of(tenant: Tenant) -> dict[str, list[Any]]:
    """Return values for arguments and input fields that reference objects of a tenant: equally many for each tenant."""
    marker, only, uids = tenant.marker, tenant.unique_name, tenant.uids
    assets = [uids[it] for it in ("raw", "person", "gone") if it in uids]
    associations = [uids[it] for it in ("link 0", "relationship steward person") if it in uids]
    ids = [f"{kind}:{uid}" for kind, uid in zip(("Product", "Entity", "Product"), assets, strict=False)]
    ids += [f"{kind}:{uid}" for kind, uid in zip(("LineageLink", "Relationship"), associations, strict=False)]
    named = [*ids, f"Domain:domain%20{marker}"]
    keys = [
        {"type": "PERSON", "key": "7"},
        {"type": only, "key": f"imported {marker}"},
        {"type": "PERSON", "key": f"again {marker}"},
    ]
    common = {"source": {"product": "raw"}, "target": {"product": "clean"}}
    steward = {"type": "steward", "origin": {"product": "raw"}, "related": {"entity": keys[0]}}
    versions = [f"AssetVersion:{uid}" for uid in assets]
    versions += [f"{it}Version:{uid}" for it, uid in zip(("LineageLink", "Relationship"), associations, strict=False)]
    return {
        "Int": [3],
        "Int:first": [10],
        # a count of more assets than the bound of walks is an error
        **{f"{kind}.{it}Count.maxDepth": [1] for kind in ("Product", "Entity") for it in ("upstream", "downstream")},
        "Float": [0.3],
        "DateTime": [AT],
        "DateTime:from": [iso(day(5)), iso(day(-1))],
        "DateTime:to": [iso(day(25)), iso(day(17))],
        "DateTime:seenSince": [iso(day(0))],
        "LineageDirection": ["DOWNSTREAM", "UPSTREAM"],
        "UUID": [*assets, *associations],
        # the first of each names the same in every tenant
        "Query.entity.ref": [*({"key": it} for it in keys), *({"uid": it} for it in assets)],
        "Query.lineageLink.ref": [
            {"ends": common},
            {"ends": {**common, "source": {"product": only}}},
            *({"uid": it} for it in associations),
        ],
        "Query.relationship.ref": [{"ends": steward}, {"ends": {**steward, "type": only}}, *({"uid": it} for it in associations)],
        "AssetRef.uid": assets,
        "AssetRef.product": ["raw", only],
        "AssetRef.entity": keys,
        "Query.lineagePaths.to": [{"uid": uids[it]} for it in ("report", "table", only) if it in uids],
        "LineageLinkFilter.target": [{"uid": uids[it]} for it in ("clean", "person") if it in uids],
        "RelationshipFilter.related": [{"uid": uids[it]} for it in ("person", "other") if it in uids],
        "ID": [*(f"{it}@{iso(day(0))}" for it in versions), *named, *(f"{it}@{AT}" for it in named)],
        "_Any": [
            *({"__typename": it.partition(":")[0], "id": it} for it in ids[:3]),
            *({"__typename": kind, "uid": uid} for kind, uid in zip(("Product", "Entity"), assets, strict=False)),
            *({"__typename": "Asset", "uid": uid} for uid in assets[:2]),
            *({"__typename": "Asset", "id": it} for it in ids[:2]),
            *({"__typename": "Product", "name": name} for name in ("raw", only)),
            *({"__typename": "Entity", "key": key, "type": {"code": type_}} for type_, key in (("PERSON", "7"), (only, only))),
            *({"__typename": "EntityType", "code": code} for code in ("PERSON", only)),
            *({"__typename": "Domain", "name": name} for name in ("sales", f"domain {marker}")),
            *({"__typename": it.partition(":")[0], "id": it} for it in (*ids[3:], f"Domain:domain%20{marker}")),
            *({"__typename": kind, "uid": uid} for kind, uid in zip(("LineageLink", "Relationship"), associations, strict=False)),
        ],
        "String:search": ["raw", "ann", marker],
        "Query.search.text": [marker, "raw"],
        "Query.search.types": ["PERSON", only],
        "String:name": ["raw", only],
        "Query.entityType.code": ["PERSON", only],
        "Query.detailType.code": ["note", only],
        "Query.relationshipType.code": ["PRODUCT steward PERSON", only],
        "Query.domain.name": ["sales", f"domain {marker}"],
        "Product.related.key": ["steward", only],
        "Entity.related.key": ["stewardOf", f"{only}Of"],
        "String:domains": ["sales", "people", f"domain {marker}"],
        "String:owners": [f"owner {marker}", f"new owner {marker}"],
        "String:tags": ["shared", marker],
        "String:actors": [f"actor {marker}"],
        "String:requests": [f"request {marker}"],
        "String:relationshipTypes": ["steward", only],
        # a lineage of more assets than the bound of walks is an error, too
        "ChangeFilter.lineageOf": [
            {"asset": {"uid": uid}, "direction": direction, "maxDepth": 1}
            for uid in assets
            for direction in ("UPSTREAM", "DOWNSTREAM")
        ],
        "ChangeFilter.assets": [
            *({"uid": uid} for uid in assets),
            *({"product": name} for name in ("raw", only)),
            *({"entity": {"type": type_, "key": key}} for type_, key in (("PERSON", "7"), (only, only))),
        ],
        "String:producers": ["dbt", marker],
        "String:entityTypes": ["PERSON", only],
        "EntityKey.type": ["PERSON", only],
        "EntityKey.key": ["7", only, f"person {marker}"],
        "EntityFilter.types": ["PERSON", only],
        "ProductFilter.names": ["raw", only],
        "DetailFilter.type": ["note", only],
        "DetailFilter.equals": [f"note {marker}", f"new note {marker}"],
        "DetailFilter.in": [f"new note {marker}"],
        "DetailFilter.contains": [marker],
        "DetailFilter.from": ["a", f"note {marker}"],
        "DetailFilter.to": ["z", f"note {marker}"],
        "Entity.detail.type": ["note", only],
        "Entity.details.types": ["note", only],
        "String:types": ["steward", only],
    }


def absent_tenant(like: Tenant) -> Tenant:
    """Build a tenant that does not exist, with labels like those of another tenant and random uids."""
    uids = {label.replace(like.marker, "marker-n"): str(uuid4()) for label in like.uids}
    return Tenant(0, "marker-n", uids, dict.fromkeys(like.keys, "hw_2_nobodyhas2"))
