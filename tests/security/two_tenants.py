"""Two tenants that hold the same names, and somebody who asks in each. All that is said bears the mark of who said it."""

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
from schema.execution.executor import Executor, Request, Response
from schema.execution.external_record import Caller, Lookup
from schema.execution.principal import Principal
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema
from tests.builders import day, iso
from tests.databases import temporary_database
from tests.security.random_queries import SCHEMA, Document, Question

# Where the ids of each tenant begin, in every sequence: numbers that mean nothing else.
FIRST_IDS = {1: 31_000_000_000, 2: 47_000_000_000, 3: 59_000_000_000}

# Less than what is reached from "raw".
BOUNDS = Bounds(assets=5)

AT = iso(day(9))


@dataclass
class Tenant:
    """A tenant: its mark, and the uids of its things and the prefixes of its keys by what they are called in the story."""

    tenant_id: int
    mark: str
    uids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def only(self) -> str:
        """What nobody else calls anything."""
        return f"only-{self.mark}"


@dataclass
class World:
    """The one tenant, the other, what the one was told while it wrote, and the service between them."""

    ant: Tenant
    bee: Tenant
    database: Database
    address: str
    told: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.executor = Executor(schema, self.database, Limits(walk=BOUNDS), echoed)

    @asynccontextmanager
    async def copied(self, server: str) -> AsyncIterator["World"]:
        """The same world once more, to do in it what is not to happen here. Meanwhile nobody is connected to this one."""
        await self.database.close()
        async with temporary_database(server, str(make_url(self.address).database)) as address:
            database = Database(address)
            yield replace(self, database=database, address=address)
            await database.close()

    async def tell(self, tenant: Tenant) -> list[Any]:
        """Have a tenant tell its story; what it was told meanwhile."""
        owner = await asyncpg.connect(self.address)
        try:
            await owner.execute("INSERT INTO tenant VALUES ($1, $2) ON CONFLICT DO NOTHING", tenant.tenant_id, tenant.mark)
            await owner.execute("INSERT INTO quota (tenant_id, kind, allowed) VALUES ($1, 'PRODUCT', 1000)", tenant.tenant_id)
            for it in await owner.fetch("SELECT sequencename FROM pg_sequences WHERE sequencename <> 'tenant_tenant_id_seq'"):
                await owner.execute(f'ALTER SEQUENCE "{it[0]}" RESTART {FIRST_IDS[tenant.tenant_id]}')
        finally:
            await owner.close()
        told = [await _tell(self, tenant, *it) for it in story(tenant)]
        async with self.database.transaction(tenant.tenant_id, Author(tenant.mark)) as connection:
            await api_key.touch_last_used(connection, name_of(tenant.keys["key"]), every=timedelta(0))
        return told

    async def ask(self, tenant: Tenant, question: Question) -> Response:
        """What the service answers somebody of the tenant who may do everything there."""
        principal = Principal(tenant.tenant_id, f"actor {tenant.mark}", frozenset(Scope), tenant=tenant.mark)
        return await self.executor.execute(Request(question.text, question.variables), principal, f"request {tenant.mark}")

    async def cursor(self, tenant: Tenant, question: Question) -> str | None:
        """The last place but none on the page that answers a question, or None if there is no such page."""
        page: Any = (await self.ask(tenant, question)).data
        for name in question.path:
            page = page[0] if isinstance(page, list) and page else page
            page = page.get(name) if isinstance(page, dict) else None
        return page["pageInfo"]["endCursor"] if page else None

    async def rows(self, tenant: Tenant) -> dict[str, list[str]]:
        """All that the tables hold of the tenant, as their owner sees it."""
        owner = await asyncpg.connect(self.address)
        try:
            return {
                table: sorted(await _column(owner, f'SELECT CAST(t AS text) FROM "{table}" t WHERE tenant_id = $1', tenant))
                for table in await tables_with(owner, "tenant_id")
            }
        finally:
            await owner.close()

    async def secrets(self, tenant: Tenant) -> list[str]:
        """What nobody else may ever read: its mark, and every uid that it gave anything."""
        owner = await asyncpg.connect(self.address)
        try:
            found = [
                str(uid)
                for table in await tables_with(owner, "uid")
                for uid in await _column(owner, f'SELECT uid FROM "{table}" WHERE tenant_id = $1', tenant)
            ]
        finally:
            await owner.close()
        assert set(tenant.uids.values()) <= set(found)
        return [tenant.mark, *found, *map(name_of, tenant.keys.values())]


async def tables_with(owner: asyncpg.Connection, column: str) -> list[str]:
    """The tables that have such a column, by the catalog."""
    return [
        it["relname"]
        for it in await owner.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $1"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = CAST(current_schema() AS regnamespace) ORDER BY c.relname",
            column,
        )
    ]


def name_of(prefix: str) -> str:
    """What a prefix has of a key beside its tenant."""
    return prefix.rpartition("_")[2]


async def _column(owner: asyncpg.Connection, statement: str, tenant: Tenant) -> list[Any]:
    return [it[0] for it in await owner.fetch(statement, tenant.tenant_id)]


async def echoed(asked: Mapping[Lookup, int], caller: Caller) -> dict[Lookup, Any]:
    """Records elsewhere that tell what they were asked for by."""
    return {lookup: {"asked": list(lookup), "by": caller.request_id} for lookup in asked}


async def settle(address: str) -> World:
    """Have both tenants tell their story, the other one first: all that it says is there when the one speaks."""
    world = World(Tenant(1, "of-ant"), Tenant(2, "of-bee"), Database(address), address)
    await world.tell(world.bee)
    world.told = await world.tell(world.ant)
    await world.database.close()
    return world


async def _tell(world: World, tenant: Tenant, mutation: str, called: str | None, given: Mapping[str, Any]) -> Any:
    """Run a mutation, and remember the uid of what came of it."""
    told = await world.ask(tenant, written_down(tenant, mutation, given))
    assert not told.errors, (mutation, told.errors)
    assert told.data is not None
    if called is not None:
        (thing,) = (it for it in told.data[mutation].values() if isinstance(it, dict))
        if "prefix" in thing:
            tenant.keys[called] = thing["prefix"]
        else:
            tenant.uids[called] = thing["uid"]
    return told.data


def written_down(tenant: Tenant, mutation: str, given: Mapping[str, Any]) -> Question:
    """A mutation that asks for all that can be said of what came of it."""
    described = SCHEMA.type_map["Mutation"].fields[mutation]  # type: ignore[attr-defined]
    document = Document(values_of(tenant))
    called = document.call("Mutation", mutation, {"input": given})
    selected = document.select(get_named_type(described.type), 2)
    return document.question(mutation, f"{{ __typename {called} {selected} }}", operation="mutation")


def story(tenant: Tenant) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """What a tenant says, each told by a mutation and, if it is to be spoken of later, called something. All tell the same, with
    the same names, keys and idempotency keys; who tells it is to be heard in whatever else is said."""
    mark, only, uids = tenant.mark, tenant.only, tenant.uids
    ends: dict[str, Any]
    said: dict[str, Any]
    begin, later = {"at": iso(day(0))}, {"at": iso(day(10))}
    source = {"service": "registry", "endpoint": f"/{mark}", "lookupField": mark}
    for code, domain in (("PERSON", "people"), ("TABLE", "sales"), (only, None), ("SPARE", None)):
        yield "putEntityType", None, {"code": code, "label": f"type {mark}", "domain": domain, "source": source}
    for code, format_ in (("note", "text"), ("height", "number"), (only, None), ("spare", None)):
        yield "putDetailType", None, {"code": code, "label": f"detail {mark}", "format": format_}
    for key, cardinality in (
        ("steward", "MANY_TO_MANY"),
        ("owned", "MANY_TO_ONE"),
        (only, "MANY_TO_MANY"),
        ("spare", "ONE_TO_ONE"),
    ):
        ends = {"origin": "PRODUCT", "related": "PERSON", "reverseKey": f"{key}Of", "foreignKeyField": mark}
        yield "putRelationshipType", None, {"key": key, **ends, "cardinality": cardinality, "onDelete": "CASCADE"}
    for removed, code in (("EntityType", "SPARE"), ("DetailType", "spare"), ("RelationshipType", "spare")):
        yield f"remove{removed}", None, {"code": code}

    for name in ("raw", "clean", "report", "copy", "index", "gone", "leaving", only):
        domain = f"domain {mark}" if name == only else "sales"
        said = {"owner": f"owner {mark}", "description": f"product {mark}", "tags": [mark, "shared"]}
        columns = {"fields": [{"name": f"column {mark}", "type": "text", "description": mark}]}
        stated = {"name": name, "domain": domain, **said, "schema": columns, "idempotencyKey": f"register {name}", **begin}
        yield "registerProduct", name, stated if name != only else {**stated, "idempotencyKey": mark}
    people = [("person", "PERSON", "7"), ("other", "PERSON", "8"), ("left", "PERSON", "9")]
    for called, type_, key in [*people, ("table", "TABLE", "7"), ("lone", only, only)]:
        details = [{"type": "note", "value": f"note {mark}"}, {"type": "height", "value": "180"}]
        named = {"type": type_, "key": key, "displayName": f"ann {mark}", "details": details}
        yield "createEntity", called, {**named, "idempotencyKey": f"create {called}", **begin}

    flow = [("raw", "clean"), ("clean", "report"), ("raw", "copy"), ("copy", "index"), ("copy", only), ("clean", "table")]
    for place, (near, far) in enumerate([*flow, ("table", "person"), ("person", "other"), ("leaving", "left")]):
        ends = {"source": {"uid": uids[near]}, "target": {"uid": uids[far]}}
        said = {"transformation": f"select {mark}", "confidence": 0.5, "metadata": {"by": mark}, "producer": "dbt"}
        yield "registerLineage", f"link {place}", {**ends, **said, "idempotencyKey": f"link {place}", **begin}
    back: dict[str, Any] = {
        "source": {"product": "report"},
        "target": {"entity": {"type": "PERSON", "key": "7"}},
        "producer": mark,
    }
    yield "registerLineage", "link back", {**back, "type": "DERIVED", **begin}
    loop = {"source": {"product": "report"}, "target": {"product": "raw"}, "metadata": {"loop": mark}}
    yield "registerLineage", "link loop", {**loop, "at": iso(day(20))}
    for key, called in (("steward", "person"), ("steward", "other"), ("owned", "person"), (only, "person")):
        ends = {"origin": {"product": "raw"}, "related": {"uid": uids[called]}}
        related: dict[str, Any] = {"type": key, **ends, "attributes": {"by": mark}, "idempotencyKey": f"relate {key} {called}"}
        yield "relate", f"join {key} {called}", {**related, **begin}
    ends = {"origin": {"product": "leaving"}, "related": {"uid": uids["left"]}}
    yield "relate", "join leaving", {"type": "steward", **ends, **begin}

    changed = {"owner": f"new owner {mark}", "description": f"changed {mark}", "status": "DEPRECATED", "version": "2.0.0"}
    yield "updateProduct", None, {"product": {"name": "raw"}, **changed, "idempotencyKey": "update raw", **later}
    details = [{"type": "note", "value": f"new note {mark}"}]
    yield "updateEntity", None, {"uid": uids["person"], "displayName": f"anna {mark}", "details": details, **later}
    ends = {"source": {"product": "raw"}, "target": {"product": "clean"}, "producer": "dbt"}
    yield "registerLineage", None, {**ends, "metadata": {"again": mark}, **later}
    for number, it in ((12, "delete"), (14, "restore"), (16, "delete")):
        said = {"at": iso(day(number)), "idempotencyKey": f"{number}"}
        yield f"{it}Product", None, {"uid": uids["gone"], **said}
        yield f"{it}Entity", None, {"uid": uids["lone"], **said, "idempotencyKey": f"entity {number}"}
    yield "removeLineage", None, {"uid": uids["link 4"], "at": iso(day(18))}
    yield "unrelate", None, {"uid": uids["join steward other"], "at": iso(day(18))}
    for called in ("key", "revoked"):
        said = {"label": f"{called} {mark}", "scopes": ["read", "write:sales", f"write:{mark}"], "expiresAt": "2100-01-01"}
        yield "createKey", called, said
    yield "revokeKey", None, {"prefix": tenant.keys["revoked"]}
    # what it is joined with goes as well; and what was sent is sent again
    for _ in range(2):
        yield "deleteProduct", None, {"uid": uids["leaving"], "at": iso(day(21)), "idempotencyKey": "leave"}


def values_of(tenant: Tenant) -> dict[str, list[Any]]:
    """What can be given for arguments and input fields, where the things of a tenant are meant: of every tenant as many."""
    mark, only, uids = tenant.mark, tenant.only, tenant.uids
    assets = [uids[it] for it in ("raw", "person", "gone") if it in uids]
    bonds = [uids[it] for it in ("link 0", "join steward person") if it in uids]
    ids = [f"{kind}:{uid}" for kind, uid in zip(("Product", "Entity", "Product"), assets, strict=False)]
    ids += [f"{kind}:{uid}" for kind, uid in zip(("LineageLink", "Relationship"), bonds, strict=False)]
    return {
        "Int": [3],
        "Int:first": [10],
        "Float": [0.3],
        "DateTime": [AT],
        "DateTime:from": [iso(day(5)), iso(day(-1))],
        "DateTime:to": [iso(day(25)), iso(day(17))],
        "DateTime:seenSince": [iso(day(0))],
        "LineageDirection": ["DOWNSTREAM", "UPSTREAM"],
        "UUID": [*assets, *bonds],
        "Query.entity.uid": [*assets[1:], assets[0]] if assets else [],
        "Query.lineagePaths.to": [uids[it] for it in ("report", "table", only) if it in uids],
        "LineageLinkFilter.target": [uids[it] for it in ("clean", "person") if it in uids],
        "RelationshipFilter.related": [uids[it] for it in ("person", "other") if it in uids],
        "ID": [*(f"Version:{uid}@{iso(day(0))}" for uid in assets), *ids, *(f"{it}@{AT}" for it in ids)],
        "_Any": [
            *({"__typename": it.partition(":")[0], "id": it} for it in ids[:3]),
            *({"__typename": kind, "uid": uid} for kind, uid in zip(("Product", "Entity"), assets, strict=False)),
            *({"__typename": "Asset", "uid": uid} for uid in assets[:2]),
            *({"__typename": "Asset", "id": it} for it in ids[:2]),
            *({"__typename": "Product", "name": name} for name in ("raw", only)),
        ],
        "String:search": ["raw", "ann", mark],
        "String:name": ["raw", only],
        "Query.domain.name": ["sales", f"domain {mark}"],
        "Product.related.key": ["steward", only],
        "Entity.related.key": ["stewardOf", f"{only}Of"],
        "String:domains": ["sales", "people", f"domain {mark}"],
        "String:owners": [f"owner {mark}", f"new owner {mark}"],
        "String:tags": ["shared", mark],
        "String:actors": [f"actor {mark}"],
        "String:producers": ["dbt", mark],
        "String:entityTypes": ["PERSON", only],
        "EntityKey.type": ["PERSON", only],
        "EntityKey.key": ["7", only],
        "EntityFilter.types": ["PERSON", only],
        "DetailFilter.type": ["note", only],
        "DetailFilter.equals": [f"note {mark}", f"new note {mark}"],
        "DetailFilter.in": [f"new note {mark}"],
        "DetailFilter.contains": [mark],
        "DetailFilter.from": ["a", f"note {mark}"],
        "DetailFilter.to": ["z", f"note {mark}"],
        "Entity.detail.type": ["note", only],
        "Entity.details.types": ["note", only],
        "String:types": ["steward", only],
    }


def stranger(like: Tenant) -> Tenant:
    """Somebody who is not there: nobody knows what they would call their things."""
    uids = {called.replace(like.mark, "of-nil"): str(uuid4()) for called in like.uids}
    return Tenant(0, "of-nil", uids, dict.fromkeys(like.keys, "hw_2_nobodyhas2"))
