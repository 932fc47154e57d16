"""Builders that tests share: instants, operations, and a client of the API with short methods for common writes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx

from db.database import Database
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.execution.tenant_figures import TenantFigures
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """Return the instant a number of days after 2026-01-01, the start of the time in which tests play."""
    return START + timedelta(days=number)


def iso(instant: datetime) -> str:
    """Format an instant as the API does."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def product_fields(name: str = "orders", **changes: Any) -> dict[str, Any]:
    return {"name": name, "domain": "sales", "owner": "ann", "schema": {"fields": []}, **changes}


REGISTER = (
    "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { changed product { id uid name validFrom } } }"
)
UPDATE = (
    "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed product { id uid name owner validFrom } } }"
)
DELETE = "mutation ($input: DeleteProductInput!) { deleteProduct(input: $input) { uid changed } }"
RESTORE = "mutation ($input: RestoreProductInput!) { restoreProduct(input: $input) { changed product { id uid name } } }"

CREATE_ENTITY = """
  mutation ($input: CreateEntityInput!) { createEntity(input: $input) {
    changed entity { id uid key displayName validFrom type { code } details { type { code } value validFrom validTo } }
  } }
"""
UPDATE_ENTITY = """
  mutation ($input: UpdateEntityInput!) { updateEntity(input: $input) {
    changed entity { id displayName validFrom details { type { code } value validFrom validTo } }
  } }
"""
DELETE_ENTITY = "mutation ($input: DeleteEntityInput!) { deleteEntity(input: $input) { uid changed } }"
RESTORE_ENTITY = """
  mutation ($input: RestoreEntityInput!) { restoreEntity(input: $input) {
    changed entity { displayName details { type { code } value validFrom } }
  } }
"""
# Two entity types, one of which belongs to a domain, and a detail type of each format.
TYPES = """
  mutation {
    person: putEntityType(input: { code: "PERSON", label: "Person", domain: "people" }) { entityType { code } }
    table: putEntityType(input: { code: "TABLE", label: "Table" }) { entityType { code } }
    email: putDetailType(input: { code: "email", label: "Email", format: "email" }) { detailType { code } }
    phone: putDetailType(input: { code: "phone", label: "Phone", format: "phone" }) { detailType { code } }
    homepage: putDetailType(input: { code: "homepage", label: "Homepage", format: "uri" }) { detailType { code } }
    born: putDetailType(input: { code: "born", label: "Born", format: "date" }) { detailType { code } }
    height: putDetailType(input: { code: "height", label: "Height", format: "number" }) { detailType { code } }
    note: putDetailType(input: { code: "note", label: "Note" }) { detailType { code } }
  }
"""

REGISTER_LINEAGE = """
  mutation ($input: RegisterLineageInput!) { registerLineage(input: $input) {
    changed link { id uid type transformation confidence metadata producer validFrom validTo lastSeenAt }
  } }
"""
REMOVE_LINEAGE = "mutation ($input: RemoveLineageInput!) { removeLineage(input: $input) { uid changed } }"

PUT_RELATIONSHIP_TYPE = """
  mutation ($input: PutRelationshipTypeInput!) { putRelationshipType(input: $input) {
    relationshipType { code key reverseKey origin related cardinality onDelete foreignKeyField }
  } }
"""
REMOVE_RELATIONSHIP_TYPE = "mutation ($input: RemoveTypeInput!) { removeRelationshipType(input: $input) { code } }"
RELATE = """
  mutation ($input: RelateInput!) { relate(input: $input) {
    changed relationship { id uid type { code } origin { label } related { label } attributes validFrom validTo }
  } }
"""
UNRELATE = "mutation ($input: UnrelateInput!) { unrelate(input: $input) { uid changed } }"


def detail_list(details: dict[str, str]) -> list[dict[str, str]]:
    """Build the list of details that a GraphQL input takes."""
    return [{"type": code, "value": value} for code, value in details.items()]


@dataclass
class ApiResponse:
    """Response of the API: HTTP status, decoded body and headers."""

    status: int
    body: dict[str, Any]
    headers: httpx.Headers

    @property
    def data(self) -> Any:
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return list(self.body.get("errors", []))

    @property
    def error(self) -> dict[str, Any]:
        assert len(self.errors) == 1, self.body
        return self.errors[0]

    @property
    def code_and_field(self) -> tuple[str, str | None]:
        """The code of the only error and the input field that it names."""
        return self.error["extensions"]["code"], self.error["extensions"].get("field")


@dataclass
class Statements:
    """Statements that ran, except those that open a transaction."""

    executed: list[str] = field(default_factory=list)
    # number of all statements since the recording began, with those that open and end transactions
    all_statements: int = 0

    def __len__(self) -> int:
        return len(self.executed)

    def clear(self) -> None:
        self.executed.clear()

    async def check(self, database: Database) -> None:
        """Fail if statements of the database are not recorded: their number would prove nothing."""
        if not self.all_statements:
            await database.status()
            assert self.all_statements, "the hook saw no statement"


@dataclass
class Api:
    """Client of the API. Its methods assert that the write succeeds unless they return an ApiResponse."""

    client: httpx.AsyncClient
    database: Database
    statements: Statements
    figures: TenantFigures | None = None

    async def __call__(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> ApiResponse:
        response = await self.client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def know_figures(self) -> None:
        """Let the service read the figures of the tenant, so that estimates of the same operation are equal from now on."""
        assert self.figures is not None
        self.figures.known(1)
        await self.figures.wait_until_idle()

    async def execute_without_cost_limit(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute an operation without a cost limit, for tests of how many statements a large operation takes."""
        executor = Executor(schema, self.database, Limits(cost=2**53))
        response = await executor.execute(Request(query, variables), Principal(1, "tester", frozenset(Scope)), "request")
        assert response.errors == []
        assert response.data is not None
        return response.data

    async def register(self, name: str = "orders", **changes: Any) -> dict[str, Any]:
        """Register a product, by default as of day 0."""
        fields = product_fields(name, **{"at": iso(day(0)), **changes})
        product: dict[str, Any] = (await self(REGISTER, input=fields)).data["registerProduct"]["product"]
        return product

    async def update(self, name: str, /, *, at: datetime | None = None, **changes: Any) -> ApiResponse:
        return await self(UPDATE, input={"product": {"name": name}, **changes, **({"at": iso(at)} if at else {})})

    async def put_types(self) -> None:
        """Register the entity types and detail types of `TYPES`."""
        assert (await self(TYPES)).data

    async def create(self, name: str = "Ann", **changes: Any) -> dict[str, Any]:
        """Create an entity, by default a person as of day 0. `details` is a mapping."""
        details = detail_list(changes.pop("details", {}))
        fields = {"type": "PERSON", "displayName": name, "details": details, "at": iso(day(0)), **changes}
        entity: dict[str, Any] = (await self(CREATE_ENTITY, input=fields)).data["createEntity"]["entity"]
        return entity

    async def change(self, uid: str, *, at: datetime | None = None, **changes: Any) -> ApiResponse:
        """Update an entity. `details` is a mapping."""
        if "details" in changes:
            changes["details"] = detail_list(changes["details"])
        return await self(UPDATE_ENTITY, input={"entity": {"uid": uid}, **changes, **({"at": iso(at)} if at else {})})

    async def link(self, source: str, target: str, *, at: datetime | None = None, **changes: Any) -> dict[str, Any]:
        """Register a link between two products, by default as of day 0."""
        fields = {"source": {"product": source}, "target": {"product": target}, "at": iso(at or day(0)), **changes}
        link: dict[str, Any] = (await self(REGISTER_LINEAGE, input=fields)).data["registerLineage"]["link"]
        return link

    async def put_relationship_type(self, key: str = "steward", **changes: Any) -> dict[str, Any]:
        """Register a relationship type, by default one that leads from products to persons."""
        defaults = {"origin": "PRODUCT", "related": "PERSON", "reverseKey": f"{key}Of", "cardinality": "MANY_TO_MANY"}
        response = await self(PUT_RELATIONSHIP_TYPE, input={"key": key, **defaults, **changes})
        registered: dict[str, Any] = response.data["putRelationshipType"]["relationshipType"]
        return registered

    async def relate(
        self, type_: str, origin: dict[str, Any], related: dict[str, Any], *, at: datetime | None = None, **changes: Any
    ) -> ApiResponse:
        """Relate two assets, by default as of day 0."""
        return await self(RELATE, input={"type": type_, "origin": origin, "related": related, "at": iso(at or day(0)), **changes})

    async def lineage(self, *chains: str, at: datetime | None = None) -> dict[str, str]:
        """Register products and the links between them, as in "raw -> clean -> report". Return the uid of each product by
        name."""
        parsed = [[name.strip() for name in chain.split("->")] for chain in chains]
        names = list(dict.fromkeys(name for chain in parsed for name in chain))
        since = iso(at or day(0))
        inputs = {f"p{number}": product_fields(name, at=since) for number, name in enumerate(names)}
        registered = {}
        # an operation may have 10 mutations
        for start in range(0, len(inputs), 10):
            aliases = list(inputs)[start : start + 10]
            fields = ", ".join(f"{alias}: registerProduct(input: ${alias}) {{ product {{ name uid }} }}" for alias in aliases)
            declared = ", ".join(f"${alias}: RegisterProductInput!" for alias in aliases)
            operation = f"mutation ({declared}) {{ {fields} }}"
            registered.update((await self(operation, **{alias: inputs[alias] for alias in aliases})).data)
        for source, target in dict.fromkeys(pair for chain in parsed for pair in pairwise(chain)):
            await self.link(source, target, at=at)
        return {payload["product"]["name"]: payload["product"]["uid"] for payload in registered.values()}
