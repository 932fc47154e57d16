"""Persisted documents over HTTP, whoever asks: a name gives nobody more than the text would, tells a stranger nothing, and where
only registered documents are run, no credential runs another."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.builders import REGISTER, ApiResponse, product_fields
from tests.graph_api.auth.issuer import jwks, token
from tests.security.service_harness import LIST, Client, Owner, Service, believing, refused, serving

pytestmark = pytest.mark.api

SCHEMA = "{ __schema { queryType { name } } }"
KEYS = "{ keys { prefix } }"
# whoever writes may not read what came of it
PUT = "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { __typename } }"
MISSED = "PERSISTED_QUERY_NOT_FOUND"
# Texts of these tests alone; others ask the same service.
MARK = "# of persisted documents"


def document_id(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


async def send(ask: Client, key: str, content: dict[str, Any], **headers: str) -> ApiResponse:
    given = {**({"X-API-Key": key} if key else {}), **{name.replace("_", "-"): it for name, it in headers.items()}}
    response = await ask.http.post("/graphql", json=content, headers={"accept": "application/graphql-response+json", **given})
    return ApiResponse(response.status_code, response.json(), response.headers)


async def everybody(owner: Owner, tenant: str) -> dict[str, tuple[str, dict[str, str]]]:
    """A credential of each class, as what to send."""
    keys = {scope: await owner.key(scope, of=tenant) for scope in ("read", "write", "write:sales", "admin")}
    keys["operator"] = await owner.key("read", operator=True)
    return {
        "nobody": ("", {}),
        **{name: (key, {}) for name, key in keys.items()},
        "operator elsewhere": (keys["operator"], {"X_Headwater_Tenant": tenant}),
        "token": ("", {"Authorization": f"Bearer {token(tenant=tenant, scope='read')}"}),
    }


async def test_a_name_allows_what_the_text_would_and_no_more(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    texts = [f"{text} {MARK} of whoever may" for text in (LIST, SCHEMA, KEYS, REGISTER)]
    variables = {"input": product_fields("x")}
    for who, (key, headers) in (await everybody(owner, name)).items():
        for text in texts:
            by_text = await send(ask, key, {"query": text, "variables": variables}, **headers)
            by_name = await send(ask, key, {"documentId": document_id(text), "variables": variables}, **headers)
            assert (by_name.status, without_id(by_name)) == (by_text.status, without_id(by_text)), who


def without_id(answer: ApiResponse) -> Any:
    body = {**answer.body, "extensions": {**answer.body["extensions"], "requestId": ""}}
    # whether something was changed by it the second time is not what this is about
    return json.loads(json.dumps(body).replace('"changed": true', '"changed": false'))


async def test_a_credential_that_does_not_hold_neither_names_nor_registers(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key, text = await owner.key("read", of=name), f"{LIST} {MARK} of a revoked key"
    expired = await owner.expired_key()
    for bad in ("nonsense", expired):
        for content in ({"query": text}, {"documentId": document_id(text)}):
            assert refused(await send(ask, bad, content)) == (401, "UNAUTHENTICATED")
    assert refused(await send(ask, key, {"documentId": document_id(text)})) == (400, MISSED)


async def test_that_a_tenant_has_sent_a_text_is_told_to_no_other(ask: Client, owner: Owner) -> None:
    name, other = await owner.tenant(), await owner.tenant()
    key, same, stranger = await owner.key("read", of=name), await owner.key("read", of=name), await owner.key("read", of=other)
    text = f'{{ product(name: "a secret plan") {{ name }} }} {MARK}'
    named = {"documentId": document_id(text)}
    by_extension = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": document_id(text)[7:]}}}
    assert (await send(ask, key, {"query": text})).data
    for content in (named, by_extension):
        for one in (key, same):
            assert (await send(ask, one, content)).data == {"product": None}
        for one in (stranger, ""):
            assert refused(await send(ask, one, content)) == (400, MISSED)
    # an operator learns it where it acts
    operator = await owner.key("read", operator=True)
    assert refused(await send(ask, operator, named)) == (400, MISSED)
    assert (await send(ask, operator, named, X_Headwater_Tenant=name)).data == {"product": None}
    # and whoever sends the text has it
    assert (await send(ask, stranger, {"query": text})).data == (await send(ask, stranger, named)).data == {"product": None}


@pytest.fixture(scope="module")
def walled(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service beside it that runs registered documents only, and shows its schema to nobody without a key."""
    place: Path = tmp_path_factory.mktemp("walled")
    (place / "keys.json").write_bytes(jwks("ES256", "a"))
    (place / "documents.json").write_text(json.dumps({"list": LIST, "keys": KEYS, "put": PUT}))
    settings = {
        **believing(place / "keys.json"),
        "persisted_documents": str(place / "documents.json"),
        "persisted_only": "true",
        "anonymous_introspection": "false",
        "max_batch": "9",
    }
    with serving(service.owner, place, **settings) as walled:
        yield walled


async def test_where_only_registered_documents_are_run_no_credential_runs_another(walled: Service, owner: Owner) -> None:
    others = [SCHEMA, "{ __typename }", f"{LIST} ", KEYS.replace("prefix", "label"), REGISTER.replace("uid", ""), "{ nope }", "{"]
    name = await owner.tenant()
    async with walled.client() as ask:
        for who, (key, headers) in (await everybody(owner, name)).items():
            outside = who == "nobody"
            for text in others:
                answer = await send(ask, key, {"query": text, "variables": {"input": product_fields("x")}}, **headers)
                assert refused(answer) == ((401, "UNAUTHENTICATED") if outside else (403, "FORBIDDEN")), (who, text)
                for content in ({"documentId": document_id(text)}, {"documentId": "another"}):
                    answer = await send(ask, key, content, **headers)
                    assert refused(answer) == ((401, "UNAUTHENTICATED") if outside else (400, MISSED)), (who, text)
            # what is registered takes the scopes that it takes
            for document, allowed in (("list", "read"), ("keys", "admin"), ("put", "write")):
                answer = await send(ask, key, {"documentId": document, "variables": {"input": product_fields(who)}}, **headers)
                if outside:
                    assert refused(answer) == (401, "UNAUTHENTICATED")
                elif who.split(":")[0] == allowed or (allowed == "read" and who in ("operator", "operator elsewhere", "token")):
                    assert "data" in answer.body, (who, document)
                else:
                    assert refused(answer) == (403, "FORBIDDEN"), (who, document)


async def test_a_crowd_of_names_in_one_request_gets_nothing_past_the_wall(walled: Service, owner: Owner) -> None:
    key = await owner.key("read", of=await owner.tenant())
    async with walled.client() as ask:
        sent = [
            {"query": SCHEMA},
            {"documentId": "list"},
            {"query": LIST, "documentId": document_id(SCHEMA)},
            {"documentId": "x"},
        ]
        response = await ask.http.post("/graphql", json=sent, headers={"X-API-Key": key})
        codes = [it["errors"][0]["extensions"]["code"] if "errors" in it else it["data"] for it in response.json()]
        assert codes == ["FORBIDDEN", {"products": {"nodes": []}}, "BAD_INPUT", MISSED]
        # another operation than the one that was registered cannot be picked out of it
        answer = await send(ask, key, {"documentId": "list", "operationName": "other"})
        assert refused(answer) == (400, "BAD_INPUT")
