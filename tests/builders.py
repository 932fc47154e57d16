"""Tiny builders: what a test needs, in as few words as it takes to read it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx

from db.connection import Database
from schema.execution.context import Principal
from schema.execution.executor import Executor, Request
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.root import schema

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """An instant that many days into the year of the tests."""
    return START + timedelta(days=number)


def written(instant: datetime) -> str:
    """As the API writes it."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def product_fields(name: str = "orders", **changes: Any) -> dict[str, Any]:
    return {"name": name, "domain": "sales", "owner": "ann", "schema": {"fields": []}, **changes}


REGISTER = (
    "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { changed product { id uid name validFrom } } }"
)
UPDATE = (
    "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed product { id uid name owner validFrom } } }"
)
DELETE = "mutation ($input: DeleteInput!) { deleteProduct(input: $input) { uid changed } }"
RESTORE = "mutation ($input: RestoreInput!) { restoreProduct(input: $input) { changed product { id uid name } } }"

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
DELETE_ENTITY = "mutation ($input: DeleteInput!) { deleteEntity(input: $input) { uid changed } }"
RESTORE_ENTITY = """
  mutation ($input: RestoreInput!) { restoreEntity(input: $input) {
    changed entity { displayName details { type { code } value validFrom } }
  } }
"""
# Two types of entities, of which one belongs to a domain, and a type of detail of every format.
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
REMOVE_LINEAGE = "mutation ($input: DeleteInput!) { removeLineage(input: $input) { uid changed } }"

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
UNRELATE = "mutation ($input: DeleteInput!) { unrelate(input: $input) { uid changed } }"


def detail_list(details: dict[str, str]) -> list[dict[str, str]]:
    """Details as an input lists them."""
    return [{"type": code, "value": value} for code, value in details.items()]


@dataclass
class Answer:
    """What the service answered."""

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
    def fault(self) -> tuple[str, str | None]:
        """The code, and the input at fault."""
        return self.error["extensions"]["code"], self.error["extensions"].get("field")


@dataclass
class Statements:
    """The statements that ran, but for those that open a transaction."""

    seen: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.seen)

    def clear(self) -> None:
        self.seen.clear()


@dataclass
class Api:
    """Asks the service."""

    client: httpx.AsyncClient
    database: Database
    statements: Statements

    async def __call__(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> Answer:
        response = await self.client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return Answer(response.status_code, response.json(), response.headers)

    async def at_any_cost(self, query: str, **variables: Any) -> dict[str, Any]:
        """What is answered where an operation may come to any cost: for what shows that statements do not grow with it."""
        executor = Executor(schema, self.database, Limits(cost=2**53))
        response = await executor.execute(Request(query, variables), Principal(1, "tester", frozenset(Scope)), "request")
        assert response.errors == []
        assert response.data is not None
        return response.data

    async def register(self, name: str = "orders", **changes: Any) -> dict[str, Any]:
        """A product, from the first day of the tests unless told otherwise."""
        given = product_fields(name, **{"at": written(day(0)), **changes})
        product: dict[str, Any] = (await self(REGISTER, input=given)).data["registerProduct"]["product"]
        return product

    async def update(self, called: str, *, at: datetime | None = None, **changes: Any) -> Answer:
        return await self(UPDATE, input={"product": {"name": called}, **changes, **({"at": written(at)} if at else {})})

    async def put_types(self) -> None:
        """The types that entities of the tests have."""
        assert (await self(TYPES)).data

    async def create(self, name: str = "Ann", **changes: Any) -> dict[str, Any]:
        """An entity, a person from the first day of the tests unless told otherwise."""
        details = detail_list(changes.pop("details", {}))
        given = {"type": "PERSON", "displayName": name, "details": details, "at": written(day(0)), **changes}
        entity: dict[str, Any] = (await self(CREATE_ENTITY, input=given)).data["createEntity"]["entity"]
        return entity

    async def change(self, uid: str, *, at: datetime | None = None, **changes: Any) -> Answer:
        """Change an entity; details as a mapping."""
        if "details" in changes:
            changes["details"] = detail_list(changes["details"])
        return await self(UPDATE_ENTITY, input={"uid": uid, **changes, **({"at": written(at)} if at else {})})

    async def link(self, source: str, target: str, *, at: datetime | None = None, **changes: Any) -> dict[str, Any]:
        """A link between two products, from the first day of the tests unless told otherwise."""
        given = {"source": {"product": source}, "target": {"product": target}, "at": written(at or day(0)), **changes}
        link: dict[str, Any] = (await self(REGISTER_LINEAGE, input=given)).data["registerLineage"]["link"]
        return link

    async def join_type(self, key: str = "steward", **changes: Any) -> dict[str, Any]:
        """A relationship type, from products to the people who answer for them unless told otherwise."""
        ends = {"origin": "PRODUCT", "related": "PERSON", "reverseKey": f"{key}Of", "cardinality": "MANY_TO_MANY"}
        put = await self(PUT_RELATIONSHIP_TYPE, input={"key": key, **ends, **changes})
        registered: dict[str, Any] = put.data["putRelationshipType"]["relationshipType"]
        return registered

    async def relate(
        self, type_: str, origin: dict[str, Any], related: dict[str, Any], *, at: datetime | None = None, **changes: Any
    ) -> Answer:
        """Join two assets, from the first day of the tests unless told otherwise."""
        return await self(
            RELATE, input={"type": type_, "origin": origin, "related": related, "at": written(at or day(0)), **changes}
        )

    async def lineage(self, *chains: str, at: datetime | None = None) -> dict[str, str]:
        """Products and the links between them, as in "raw -> clean -> report"; gives the uid of each product."""
        split = [[name.strip() for name in chain.split("->")] for chain in chains]
        names = list(dict.fromkeys(name for chain in split for name in chain))
        since = written(at or day(0))
        inputs = {f"p{number}": product_fields(name, at=since) for number, name in enumerate(names)}
        registered = {}
        # as many at once as one operation may have
        for some in (list(inputs)[start : start + 10] for start in range(0, len(inputs), 10)):
            fields = ", ".join(f"{it}: registerProduct(input: ${it}) {{ product {{ name uid }} }}" for it in some)
            declared = ", ".join(f"${it}: RegisterProductInput!" for it in some)
            asked = f"mutation ({declared}) {{ {fields} }}"
            registered.update((await self(asked, **{it: inputs[it] for it in some})).data)
        for source, target in dict.fromkeys(pair for chain in split for pair in pairwise(chain)):
            await self.link(source, target, at=at)
        return {it["product"]["name"]: it["product"]["uid"] for it in registered.values()}
