"""Errors to keys that may write but not read: they name only what the caller sent, whatever they tell those who may read."""

import ast
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.author import Author
from db.errors import HeadwaterError
from db.tenancy import tenant
from graph_api.app import create_app
from graph_api.records.configuration import Service
from graph_api.settings import Settings
from tests.security.service_harness import SECRET, Owner

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]

UID = "00000000-0000-4000-8000-00000000000{}"
ORDERS, PRIVATE, ANN, BOB, EVE, VIENNA = (UID.format(number) for number in range(1, 7))
AT = "2026-01-01T00:00:00Z"
LATER = "2026-02-01T00:00:00Z"


def product(uid: str, name: str, domain: str) -> dict[str, Any]:
    return {"kind": "product", "uid": uid, "name": name, "domain": domain, "owner": "zowner", "schema": {"fields": []}, "at": AT}


def entity(uid: str | None, type_: str, name: str, key: str | None, **details: str) -> dict[str, Any]:
    line: dict[str, Any] = {"kind": "entity", "type": type_, "displayName": name, "at": AT}
    line |= {"details": [{"type": code, "value": value} for code, value in details.items()]}
    return line | {name: value for name, value in (("uid", uid), ("key", key)) if value is not None}


def relationship_type(key: str, reverse_key: str, origin: str, related: str, cardinality: str, **more: str) -> dict[str, Any]:
    ends = {"key": key, "reverseKey": reverse_key, "origin": origin, "related": related, "cardinality": cardinality}
    return {"kind": "relationshipType", **ends, **more}


def related(type_: str, origin: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "relationship", "type": type_, "origin": origin, "related": other, "at": AT}


# Everything that is stored begins with a z, or is a uid.
STORED = [
    {"kind": "detailType", "code": "zmail", "label": "zMail", "format": "email"},
    {"kind": "entityType", "code": "zperson", "label": "zPerson", "domain": "zpeople"},
    {"kind": "entityType", "code": "zcity", "label": "zCity"},
    relationship_type("zsteward", "zstewardOf", "PRODUCT", "zperson", "MANY_TO_ONE", onDelete="RESTRICT"),
    relationship_type("zhome", "zhomeOf", "zperson", "zcity", "MANY_TO_MANY"),
    relationship_type("zhome", "zanyOf", "ENTITY", "zcity", "MANY_TO_MANY"),
    relationship_type("zknows", "zknownBy", "zperson", "zperson", "MANY_TO_MANY"),
    product(ORDERS, "zorders", "zsales"),
    product(PRIVATE, "zprivate", "zfinance"),
    product(UID.format(8), "zformer", "zsales"),
    {**product(UID.format(8), "zrenamed", "zsales"), "at": LATER},
    entity(ANN, "zperson", "zAnn", "zk1", zmail="zann@shop.example"),
    entity(BOB, "zperson", "zBob", "zk2"),
    entity(EVE, "zperson", "zEve", "zk3"),
    entity(VIENNA, "zcity", "zVienna", None),
    related("zsteward", {"uid": ORDERS}, {"uid": ANN}),
    related("zknows", {"uid": ANN}, {"uid": BOB}),
    related("zknows", {"uid": ANN}, {"uid": EVE}),
    *(
        {"kind": "link", "source": {"uid": ORDERS}, "target": {"uid": PRIVATE}, "producer": producer, "at": AT}
        for producer in ("zdbt", "zspark")
    ),
]

# A path of the service `crm`, the only one that is configured for the tenant.
PATH = "/zcustomers"

# Lines that fail, each for another reason, with the code and the field of the error.
LINES: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "name taken": (product(UID.format(9), "zorders", "sales"), "CONFLICT", "name"),
    "unknown entity type": (entity(None, "absent", "x", "x"), "BAD_INPUT", "type"),
    "unknown detail type": (entity(None, "zcity", "x", "x", absent="x"), "BAD_INPUT", "details"),
    "format of a detail": (entity(None, "zcity", "x", "x", zmail="not an address"), "BAD_INPUT", "details"),
    "uid of another kind": (entity(ORDERS, "zcity", "x", None), "CONFLICT", "uid"),
    "uid of another type": (entity(ANN, "zcity", "x", None), "CONFLICT", "type"),
    "key of another uid": (entity(UID.format(9), "zperson", "x", "zk1"), "CONFLICT", "key"),
    "uid with the key of another": (entity(ANN, "zperson", "x", "zk2"), "CONFLICT", "key"),
    "unknown relationship type": (related("absent", {"uid": ORDERS}, {"uid": ANN}), "BAD_INPUT", "type"),
    "reverse key": (related("zstewardOf", {"uid": ORDERS}, {"uid": ANN}), "BAD_INPUT", "type"),
    "key of two types": (related("zhome", {"uid": ANN}, {"uid": VIENNA}), "BAD_INPUT", "type"),
    "end of another type": (related("zsteward", {"uid": ORDERS}, {"uid": VIENNA}), "BAD_INPUT", "related"),
    "second relationship": (related("zsteward", {"uid": ORDERS}, {"uid": BOB}), "CONFLICT", "related"),
    "cardinality violated": (relationship_type("zknows", "zknownBy", "zperson", "zperson", "ONE_TO_ONE"), "CONFLICT", None),
    "symmetry of a type in use": (relationship_type("zknows", "zknows", "zperson", "zperson", "MANY_TO_MANY"), "CONFLICT", None),
    "key taken": (relationship_type("other", "zstewardOf", "PRODUCT", "zperson", "MANY_TO_MANY"), "CONFLICT", "reverseKey"),
    "path of a service that is not granted": (
        {
            "kind": "entityType",
            "code": "other",
            "label": "x",
            "source": {"service": "crm", "endpoint": "/x", "lookupField": "id"},
        },
        "BAD_INPUT",
        "endpoint",
    ),
    "format of a detail type in use": ({"kind": "detailType", "code": "zmail", "label": "x"}, "CONFLICT", "format"),
}

REMOVE = "mutation {{ remove{}(input: {{ code: {} }}) {{ __typename }} }}"

# Mutations that fail, each for another reason.
MUTATIONS = {
    "restricted deletion": (f'mutation {{ deleteEntity(input: {{ entity: {{ uid: "{ANN}" }} }}) {{ __typename }} }}', "CONFLICT"),
    "key of an entity that exists": (
        'mutation { createEntity(input: { type: "zperson", key: "zk1", displayName: "x" }) { __typename } }',
        "CONFLICT",
    ),
    "uid of another kind": (
        f'mutation {{ deleteProduct(input: {{ product: {{ uid: "{ANN}" }} }}) {{ __typename }} }}',
        "NOT_FOUND",
    ),
    "name that a product lost": (
        f'mutation {{ updateProduct(input: {{ product: {{ name: "zformer" }}, owner: "x", at: "{LATER}" }}) {{ __typename }} }}',
        "NOT_FOUND",
    ),
    "name that a product gets later": (
        f'mutation {{ registerLineage(input: {{ source: {{ product: "zrenamed" }}, target: {{ uid: "{ORDERS}" }}, at: "{AT}",'
        " createMissing: true }) { __typename } }",
        "CONFLICT",
    ),
    "links of several producers": (
        "mutation { removeLineage(input: { link: { ends: {"
        f' source: {{ uid: "{ORDERS}" }}, target: {{ uid: "{PRIVATE}" }} }} }} }}) {{ __typename }} }}',
        "BAD_INPUT",
    ),
    "entity type in use": (REMOVE.format("EntityType", '"zperson"'), "CONFLICT"),
    "detail type in use": (REMOVE.format("DetailType", '"zmail"'), "CONFLICT"),
    "relationship type in use": (REMOVE.format("RelationshipType", '"zsteward"'), "CONFLICT"),
    "relationship types with one key": (REMOVE.format("RelationshipType", '"zhome"'), "CONFLICT"),
}


class Callers:
    """Clients of one service, by the scopes of their keys."""

    def __init__(self, http: httpx.AsyncClient, owner: Owner) -> None:
        self.owner = owner
        self._http = http
        self._keys: dict[tuple[str, ...], str] = {}

    async def __call__(self, query: str, *scopes: str) -> dict[str, Any]:
        """Send an operation, and return its only error."""
        response = await self._http.post("/graphql", json={"query": query}, headers={"X-API-Key": await self._key(scopes)})
        (error,) = response.json()["errors"]
        return {"code": error["extensions"]["code"], "message": error["message"]}

    async def load(self, lines: list[dict[str, Any]], *scopes: str) -> dict[str, Any]:
        headers = {"X-API-Key": await self._key(scopes), "Content-Type": "application/jsonl"}
        content = "".join(f"{json.dumps(it)}\n" for it in lines)
        answer: dict[str, Any] = (await self._http.post("/api/v1/ingest", content=content, headers=headers)).json()
        return answer

    async def _key(self, scopes: tuple[str, ...]) -> str:
        if scopes not in self._keys:
            self._keys[scopes] = await self.owner.key(*scopes)
        return self._keys[scopes]


@pytest.fixture
async def callers(address: str) -> AsyncIterator[Callers]:
    services = {"crm": Service(address="https://crm.example", tenants={"default": [PATH]})}
    app = create_app(Settings(database_url=address, key_secret=SECRET, services=services))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as http:
            callers = Callers(http, Owner(address))
            loaded = await callers.load(STORED, "read", "write")
            assert loaded["rejected"] == 0, loaded
            yield callers


def values_revealed(message: str, request: str) -> set[str]:
    """Return what a message names of what is stored, beyond what the request named."""
    words = r"\bz\w+(?:@[\w.]+)?|[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b|\((?:entity|product)\)|PRODUCT|an email|MANY_TO_ONE"
    return set(re.findall(words, message)) - set(re.findall(words, request))


async def test_errors_tell_a_key_that_only_writes_nothing_that_is_stored(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: set[str] = set()
    original = HeadwaterError.__init__

    def recording(self: HeadwaterError, message: str, *, field: str | None = None, blind: str | None = None) -> None:
        if blind is not None:
            raised.add(site(sys._getframe(1)))
        original(self, message, field=field, blind=blind)

    monkeypatch.setattr(HeadwaterError, "__init__", recording)
    untold = []
    for label, (line, code, field) in LINES.items():
        blind, full = [(await callers.load([line], *scopes))["faults"] for scopes in (("write",), ("read", "write"))]
        assert [(it["code"], it["field"]) for it in blind] == [(code, field or blind[0]["field"])], (label, blind, full)
        assert values_revealed(blind[0]["message"], json.dumps(line)) == set(), (label, blind)
        assert len(blind[0]["message"]) > 20
        untold += [label] if blind[0]["message"] == full[0]["message"] else []
    for label, (query, code) in MUTATIONS.items():
        error = await callers(query, "write")
        assert error["code"] == code, (label, error)
        assert values_revealed(error["message"], query) == set(), (label, error)
        untold += [label] if error == await callers(query, "read", "write") else []
    # the name is that of the line itself
    assert untold == ["name taken"] or untold == []

    # of a write in another domain, the domain and the uid are told only to those who may read
    update = 'mutation {{ updateProduct(input: {{ product: {{ name: "zprivate" }}, owner: "{}" }}) {{ __typename }} }}'
    error = await callers(update.format("x"), "write:zsales")
    assert error["code"] == "FORBIDDEN"
    assert values_revealed(error["message"], update) == {"zsales"}
    assert "zfinance" in (await callers(update.format("x"), "read", "write:zsales"))["message"]

    # nor are the sizes of the tenant
    await tenant.change(callers.owner.address, "default", Author("owner"), allowed={"products": 3})
    loaded = await callers.load([product(UID.format(9), "other", "sales")], "write")
    (error,) = loaded["errors"]
    assert (error["extensions"]["code"], values_revealed(error["message"], "")) == ("LIMIT_EXCEEDED", set())
    (error,) = (await callers.load([product(UID.format(9), "other", "sales")], "read", "write"))["errors"]
    assert values_revealed(error["message"], "") == {"3", "4"}

    assert declared_sites() - raised == set(), "an error with a blind message has no attempt above"


def site(frame: Any) -> str:
    """Return the file and the function of a frame that creates an error."""
    file = Path(frame.f_code.co_filename)
    return f"{file.relative_to(ROOT)}: {frame.f_code.co_qualname}" if file.is_relative_to(ROOT) else ""


def declared_sites() -> set[str]:
    """Return the functions of the database layer that create errors with a blind message."""
    found = set()
    for file in (ROOT / "db").rglob("*.py"):
        tree = ast.parse(file.read_text())
        scopes: list[tuple[str, ast.AST]] = [("", tree)]
        while scopes:
            prefix, node = scopes.pop()
            for child in ast.iter_child_nodes(node):
                name = prefix
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    name = f"{prefix}.{child.name}".lstrip(".")
                if isinstance(child, ast.Call) and any(it.arg == "blind" for it in child.keywords):
                    found.add(f"{file.relative_to(ROOT)}: {prefix}")
                scopes.append((name, child))
    return found
