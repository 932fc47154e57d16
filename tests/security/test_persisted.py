"""Persisted documents over HTTP: an id grants no more than the text, reveals nothing to other tenants, and with registered
documents only, no credential runs another one."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from schema.execution.document import CACHE_CHARACTERS
from tests.builders import REGISTER, ApiResponse, product_fields
from tests.graph_api.auth.issuer import jwks, token
from tests.security.service_harness import LIST, Client, Owner, Service, rejection, serving, token_settings

pytestmark = pytest.mark.api

SCHEMA = "{ __schema { queryType { name } } }"
KEYS = "{ keys { nodes { prefix } } }"
# a key with the scope write alone may not read the product that it registers
PUT = "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { __typename } }"
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
# Makes the texts of these tests unique, for other tests use the same service.
MARKER = "# of persisted documents"


def document_id(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


async def send(client: Client, key: str, content: dict[str, Any], **headers: str) -> ApiResponse:
    all_headers = {
        "accept": "application/graphql-response+json",
        **({"X-API-Key": key} if key else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    response = await client.http.post("/graphql", json=content, headers=all_headers)
    return ApiResponse(response.status_code, response.json(), response.headers)


async def credentials(owner: Owner, tenant: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Create a credential of each kind, as a key and headers to send."""
    keys = {scope: await owner.key(scope, of=tenant) for scope in ("read", "write", "write:sales", "admin")}
    keys["operator"] = await owner.key("read", operator=True)
    return {
        "none": ("", {}),
        **{name: (key, {}) for name, key in keys.items()},
        "operator in another tenant": (keys["operator"], {"X_Headwater_Tenant": tenant}),
        "token": ("", {"Authorization": f"Bearer {token(tenant=tenant, scope='read')}"}),
    }


async def test_documents_of_strangers_remove_none_of_a_tenant(client: Client, owner: Owner) -> None:
    key, text = await owner.key("read", of=await owner.tenant()), f"{LIST} {MARKER} beside strangers"
    assert (await send(client, key, {"query": text})).data
    large = f"{SCHEMA} # {'x' * 15_000}"
    for number in range(CACHE_CHARACTERS // len(large) + 2):
        assert (await send(client, "", {"query": f"{large}{number}"})).status == 200
    assert (await send(client, key, {"documentId": document_id(text)})).data


async def test_an_id_grants_the_same_as_the_text(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    texts = [f"{text} {MARKER} for every credential" for text in (LIST, SCHEMA, KEYS, REGISTER)]
    variables = {"input": product_fields("x")}
    for credential, (key, headers) in (await credentials(owner, name)).items():
        for text in texts:
            by_text = await send(client, key, {"query": text, "variables": variables}, **headers)
            by_id = await send(client, key, {"documentId": document_id(text), "variables": variables}, **headers)
            assert (by_id.status, comparable(by_id)) == (by_text.status, comparable(by_text)), credential


def comparable(response: ApiResponse) -> Any:
    body = {**response.body, "extensions": {**response.body["extensions"], "requestId": ""}}
    # the second run of a mutation changes nothing
    return json.loads(json.dumps(body).replace('"changed": true', '"changed": false'))


async def test_an_invalid_credential_neither_uses_nor_registers_an_id(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key, text = await owner.key("read", of=name), f"{LIST} {MARKER} of an invalid key"
    expired = await owner.expired_key()
    for invalid in ("nonsense", expired):
        for content in ({"query": text}, {"documentId": document_id(text)}):
            assert rejection(await send(client, invalid, content)) == (401, "UNAUTHENTICATED")
    assert rejection(await send(client, key, {"documentId": document_id(text)})) == (400, NOT_FOUND)


async def test_an_id_is_known_only_in_the_tenant_that_sent_the_text(client: Client, owner: Owner) -> None:
    name, other_name = await owner.tenant(), await owner.tenant()
    key, same_tenant = await owner.key("read", of=name), await owner.key("read", of=name)
    other_tenant = await owner.key("read", of=other_name)
    text = f'{{ product(name: "a secret plan") {{ name }} }} {MARKER}'
    by_id = {"documentId": document_id(text)}
    by_extension = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": document_id(text)[7:]}}}
    assert (await send(client, key, {"query": text})).data
    for content in (by_id, by_extension):
        for it in (key, same_tenant):
            assert (await send(client, it, content)).data == {"product": None}
        for it in (other_tenant, ""):
            assert rejection(await send(client, it, content)) == (400, NOT_FOUND)
    # an operator uses the ids of the tenant in which it acts
    operator = await owner.key("read", operator=True)
    assert rejection(await send(client, operator, by_id)) == (400, NOT_FOUND)
    assert (await send(client, operator, by_id, X_Headwater_Tenant=name)).data == {"product": None}
    # sending the text makes the id known
    assert (await send(client, other_tenant, {"query": text})).data == {"product": None}
    assert (await send(client, other_tenant, by_id)).data == {"product": None}


@pytest.fixture(scope="module")
def restricted(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second service that runs registered documents only, and does not allow anonymous introspection."""
    directory: Path = tmp_path_factory.mktemp("restricted")
    (directory / "keys.json").write_bytes(jwks("ES256", "a"))
    (directory / "documents.json").write_text(json.dumps({"list": LIST, "keys": KEYS, "put": PUT}))
    settings = {
        **token_settings(directory / "keys.json"),
        "persisted_documents": str(directory / "documents.json"),
        "persisted_only": "true",
        "anonymous_introspection": "false",
        "max_batch": "9",
    }
    with serving(service.owner, directory, **settings) as restricted:
        yield restricted


async def test_with_registered_documents_only_no_credential_runs_another(restricted: Service, owner: Owner) -> None:
    texts = [SCHEMA, "{ __typename }", f"{LIST} ", KEYS.replace("prefix", "label"), REGISTER.replace("uid", ""), "{ nope }", "{"]
    name = await owner.tenant()
    async with restricted.client() as client:
        for credential, (key, headers) in (await credentials(owner, name)).items():
            anonymous = credential == "none"
            for text in texts:
                answer = await send(client, key, {"query": text, "variables": {"input": product_fields("x")}}, **headers)
                expected = (401, "UNAUTHENTICATED") if anonymous else (403, "FORBIDDEN")
                assert rejection(answer) == expected, (credential, text)
                for content in ({"documentId": document_id(text)}, {"documentId": "another"}):
                    answer = await send(client, key, content, **headers)
                    expected = (401, "UNAUTHENTICATED") if anonymous else (400, NOT_FOUND)
                    assert rejection(answer) == expected, (credential, text)
            # registered documents need their scopes
            for document, scope in (("list", "read"), ("keys", "admin"), ("put", "write")):
                variables = {"input": product_fields(credential)}
                answer = await send(client, key, {"documentId": document, "variables": variables}, **headers)
                is_reader = credential in ("operator", "operator in another tenant", "token")
                if anonymous:
                    assert rejection(answer) == (401, "UNAUTHENTICATED")
                elif credential.split(":")[0] == scope or (scope == "read" and is_reader):
                    assert "data" in answer.body, (credential, document)
                else:
                    assert rejection(answer) == (403, "FORBIDDEN"), (credential, document)


async def test_a_batch_and_an_operation_name_cannot_bypass_the_restriction(restricted: Service, owner: Owner) -> None:
    key = await owner.key("read", of=await owner.tenant())
    async with restricted.client() as client:
        batch = [
            {"query": SCHEMA},
            {"documentId": "list"},
            {"query": LIST, "documentId": document_id(SCHEMA)},
            {"documentId": "x"},
        ]
        response = await client.http.post("/graphql", json=batch, headers={"X-API-Key": key})
        outcomes = [it["errors"][0]["extensions"]["code"] if "errors" in it else it["data"] for it in response.json()]
        assert outcomes == ["FORBIDDEN", {"products": {"nodes": []}}, "BAD_INPUT", NOT_FOUND]
        answer = await send(client, key, {"documentId": "list", "operationName": "other"})
        assert rejection(answer) == (400, "BAD_INPUT")
