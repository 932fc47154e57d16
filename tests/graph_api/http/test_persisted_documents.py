"""Persisted documents: automatic ones by hash, registered ones from a manifest, and a service that runs registered ones only."""

import json
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from db.errors import BadInput
from graph_api.http.persisted_documents import MAX_BYTES
from graph_api.http.responses import GRAPHQL
from graph_api.settings import read_settings
from schema.execution.document import CACHE_CHARACTERS, CACHED_DOCUMENT_CHARACTERS, Documents, RegisteredDocuments
from schema.language.limits import Limits
from schema.root import schema
from tests.builders import REGISTER, Api, ApiResponse, product_fields
from tests.graph_api.commands.service_processes import ServiceCommands
from tests.graph_api.http.test_browsers import PREFLIGHT_HEADER, serving
from tests.graph_api.http.test_disconnect import Service
from tests.processes import PATIENCE

pytestmark = pytest.mark.api

ONE = "query One($name: String!) { product(name: $name) { name } }"
TWO = "{ products { nodes { name } } }"
INVALID = "{ nope }"
NOT_FOUND = {"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def by_hash(text: str, **members: Any) -> dict[str, Any]:
    """Build the body of an automatic persisted query."""
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hashed(text)}}, **members}


async def post(api: Api, content: Any, accept: str = GRAPHQL) -> ApiResponse:
    response = await api.client.post("/graphql", json=content, headers={"accept": accept})
    return ApiResponse(response.status_code, response.json(), response.headers)


async def get(api: Api, content: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    parameters = {name: value if isinstance(value, str) else json.dumps(value) for name, value in content.items()}
    return await api.client.get("/graphql", params=parameters, headers={"accept": GRAPHQL, **headers})


def write_manifest(tmp_path: Path, content: Any) -> Path:
    file = tmp_path / "manifest.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def operations(**texts: str) -> dict[str, Any]:
    """Build a manifest in the format of Apollo."""
    entries = [{"id": name, "name": name, "type": "query", "body": text} for name, text in texts.items()]
    return {"format": "apollo-persisted-query-manifest", "version": 1, "operations": entries}


async def test_a_document_that_was_sent_can_be_requested_by_its_hash(api: Api) -> None:
    variables = {"name": "orders"}
    await api.register()
    for by_id in (by_hash(ONE), {"documentId": f"sha256:{hashed(ONE)}"}):
        assert (await post(api, {**by_id, "variables": variables})).errors == [NOT_FOUND]
    # urql adds a member `miss`
    first = by_hash(ONE, query=ONE, variables=variables)
    first["extensions"]["persistedQuery"]["miss"] = True
    assert (await post(api, first)).data == {"product": {"name": "orders"}}
    for by_id in (by_hash(ONE), by_hash(ONE, query=""), {"documentId": f"sha256:{hashed(ONE)}"}):
        assert (await post(api, {**by_id, "variables": variables})).data == {"product": {"name": "orders"}}
        response = await get(api, {**by_id, "variables": variables}, PREFLIGHT_HEADER)
        assert response.json()["data"] == {"product": {"name": "orders"}}


async def test_a_document_is_registered_by_every_way_to_send_its_text(api: Api) -> None:
    first, second, third = ("{ a: __typename }", "{ b: __typename }", "{ c: __typename }")
    assert (await api(first)).data
    assert (await get(api, {"query": second}, PREFLIGHT_HEADER)).status_code == 200
    assert (await post(api, {"query": third, "documentId": f"sha256:{hashed(third)}"})).data
    for text in (first, second, third):
        assert (await post(api, by_hash(text))).data


async def test_an_unknown_id_is_answered_as_a_request_error(address: str) -> None:
    async with serving(address, key_rate="100/minute") as api:
        with structlog.testing.capture_logs() as logs:
            for content in (by_hash(ONE), {"documentId": f"sha256:{hashed(ONE)}"}, {"documentId": "one"}):
                for accept, status in ((GRAPHQL, 400), ("application/json", 200)):
                    answer = await post(api, content, accept)
                    assert (answer.status, answer.errors, "data" in answer.body) == (status, [NOT_FOUND], False)
        assert {tuple(it["errors"]) for it in logs if it["event"] == "request"} == {("PERSISTED_QUERY_NOT_FOUND",)}
        # unknown ids are charged
        assert '"key";r=94;' in answer.headers["ratelimit"]


async def test_a_get_with_an_id_has_the_same_restrictions_as_one_with_a_text(api: Api) -> None:
    mutation = REGISTER
    for text in (TWO, mutation):
        await post(api, {"query": text, "variables": {"input": product_fields("first")} if text == mutation else {}})
    for by_id in (by_hash(TWO), {"documentId": f"sha256:{hashed(TWO)}"}):
        assert (await get(api, by_id, {})).json()["errors"][0]["extensions"]["code"] == "BAD_INPUT"
        assert (await get(api, by_id, PREFLIGHT_HEADER)).status_code == 200
    variables = {"input": product_fields("second")}
    for by_id in (by_hash(mutation), {"documentId": f"sha256:{hashed(mutation)}"}):
        response = await get(api, {**by_id, "variables": variables}, PREFLIGHT_HEADER)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert (await api(TWO)).data == {"products": {"nodes": [{"name": "first"}]}}


WRONG = hashed("another text")
INVALID_VERSIONS: list[Any] = [2, 0, "1", None, True, [1]]
INVALID_HASHES: list[Any] = [
    None,
    5,
    "",
    [],
    hashed(TWO).upper(),
    hashed(TWO)[1:],
    f"{hashed(TWO)}0",
    "g" * 64,
    f"{hashed(TWO)}\n",
]
INVALID_IDS: list[Any] = [5, "", [], {}, "sha256:", f"sha256:{hashed(TWO).upper()}", "sha256:abc"]
HASH_FIELD = "extensions.persistedQuery.sha256Hash"


def persisted(**members: Any) -> dict[str, Any]:
    return {"query": TWO, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hashed(TWO), **members}}}


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"query": TWO, "extensions": {"persistedQuery": 5}}, "extensions.persistedQuery"),
        ({"query": TWO, "extensions": {"persistedQuery": []}}, "extensions.persistedQuery"),
        ({"query": TWO, "extensions": {"persistedQuery": {}}}, "extensions.persistedQuery.version"),
        *((persisted(version=it), "extensions.persistedQuery.version") for it in INVALID_VERSIONS),
        *((persisted(sha256Hash=it), HASH_FIELD) for it in INVALID_HASHES),
        (persisted(sha256Hash=WRONG), HASH_FIELD),
        (persisted(sha256Hash=f"sha256:{hashed(TWO)}"), HASH_FIELD),
        ({"query": TWO, "documentId": f"sha256:{WRONG}"}, "documentId"),
        ({"query": TWO, "documentId": "two"}, "documentId"),
        *(({"documentId": it}, "documentId") for it in INVALID_IDS),
        ({**persisted(), "documentId": f"sha256:{hashed(TWO)}"}, "documentId"),
        ({"query": 5, **by_hash(TWO)}, "query"),
        ({"query": [], "documentId": "two"}, "query"),
        ({}, "query"),
        ({"documentId": None, "extensions": {"persistedQuery": None}}, "query"),
    ],
)
async def test_an_invalid_id_is_rejected_with_its_field_and_registers_nothing(
    api: Api, content: dict[str, Any], field: str
) -> None:
    answer = await post(api, content)
    assert (answer.status, answer.code_and_field, "data" in answer.body) == (400, ("BAD_INPUT", field), False)
    for text_hash in (hashed(TWO), WRONG):
        assert (await post(api, {"documentId": f"sha256:{text_hash}"})).errors == [NOT_FOUND]


async def test_a_text_cannot_be_combined_with_an_id_that_is_not_a_hash(api: Api) -> None:
    answer = await post(api, {"query": TWO, "documentId": "two"})
    assert answer.error["message"] == "query and a documentId that is not a hash cannot be combined. Send one."


async def test_an_invalid_document_is_never_registered(api: Api) -> None:
    for text in (INVALID, "{", "{{ {} }}".format("__typename " * 1_000)):
        for _ in range(2):
            assert (await post(api, by_hash(text, query=text))).errors[0] != NOT_FOUND
            assert (await post(api, by_hash(text))).errors == [NOT_FOUND]


async def test_large_documents_are_not_cached_and_recently_used_ones_are_kept(api: Api) -> None:
    assert (await api(TWO)).data
    large = f"{{ __typename }} #{'x' * CACHED_DOCUMENT_CHARACTERS}"
    for number in range(CACHE_CHARACTERS // CACHED_DOCUMENT_CHARACTERS + 1):
        assert (await api(f"{large}{number}")).data
    assert (await post(api, by_hash(f"{large}0"))).errors == [NOT_FOUND]
    assert (await post(api, by_hash(TWO))).data
    # many cacheable documents evict the least recently used ones
    used, cacheable = "{ used: __typename }", f"{{ __typename }} #{'x' * (CACHED_DOCUMENT_CHARACTERS - 100)}"
    assert (await api(used)).data
    for number in range(CACHE_CHARACTERS // CACHED_DOCUMENT_CHARACTERS + 1):
        assert (await api(f"{cacheable}{number}")).data
        assert (await post(api, by_hash(used))).data
    assert (await post(api, by_hash(TWO))).errors == [NOT_FOUND]
    documents: Documents = api.client._transport.app.state.executor._documents  # type: ignore[attr-defined]
    assert documents._cache.weight <= CACHE_CHARACTERS
    assert {it.text for it in documents._cache._documents.values()} == documents._hashes.keys()


async def test_an_unknown_id_in_a_batch_does_not_affect_other_operations(address: str) -> None:
    async with serving(address, max_batch=5) as api:
        batch = [by_hash(TWO), by_hash(TWO, query=TWO), {"documentId": "nothing"}, persisted(sha256Hash=WRONG), by_hash(TWO)]
        answer = await api.client.post("/graphql", json=batch)
        codes = [it["errors"][0]["extensions"]["code"] if "errors" in it else it["data"] for it in answer.json()]
        nodes: Any = {"products": {"nodes": []}}
        assert (answer.status_code, codes) == (
            200,
            ["PERSISTED_QUERY_NOT_FOUND", nodes, "PERSISTED_QUERY_NOT_FOUND", "BAD_INPUT", nodes],
        )


async def test_an_id_does_not_wait_for_a_parse_slot(address: str, tmp_path: Path) -> None:
    registered = write_manifest(tmp_path, {"one": "{ registered: __typename }"})
    async with Service(address, max_waiting=0, persisted_documents=registered) as service, httpx.AsyncClient() as client:
        api = Api(client, service.app.state.database, None)  # type: ignore[arg-type]
        client.base_url = httpx.URL(f"http://127.0.0.1:{service.port}")
        assert (await api(TWO)).data
        async with service.app.state.parse_admission.slot(1, "another"):
            assert (await post(api, by_hash(TWO))).data
            assert (await post(api, {"documentId": "one"})).data
            assert (await post(api, {"query": "{ registered: __typename }"})).data
            assert (await post(api, by_hash(ONE))).errors == [NOT_FOUND]
            assert (await post(api, by_hash(ONE, query=ONE))).status == 503


MANIFESTS = {
    "a map": {"one": ONE, md5(TWO.encode()).hexdigest(): TWO},
    "a map with a hash": {"one": ONE, f"sha256:{hashed(TWO)}": TWO},
    "Apollo's": operations(one=ONE, two=TWO),
    "Apollo's, with one twice": {**operations(one=ONE, two=TWO), "operations": operations(one=ONE, two=TWO)["operations"] * 2},
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS)
async def test_registered_documents_are_available_by_id_hash_and_text(address: str, tmp_path: Path, content: Any) -> None:
    texts = content if "operations" not in content else {it["id"]: it["body"] for it in content["operations"]}
    async with serving(address, persisted_documents=write_manifest(tmp_path, content)) as api:
        await api.register()
        variables = {"name": "orders"}
        for name, text in texts.items():
            for content in ({"documentId": name}, {"documentId": f"sha256:{hashed(text)}"}, by_hash(text), {"query": text}):
                assert (await post(api, {**content, "variables": variables})).data
            assert (await get(api, {"documentId": name, "variables": variables}, PREFLIGHT_HEADER)).status_code == 200
        # registered documents do not take space in the cache
        documents: Documents = api.client._transport.app.state.executor._documents  # type: ignore[attr-defined]
        assert [it.text for it in documents._cache._documents.values()] == [REGISTER]
        assert (await api("{ __typename }")).data
        assert (await post(api, by_hash("{ __typename }"))).data


async def test_an_invalid_registered_document_is_logged_at_startup_and_rejected_on_request(address: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, {"one": ONE, "old": INVALID, "much": f"{{ {'a: __typename ' * 1_000} }}"})
    with structlog.testing.capture_logs() as logs:
        async with serving(address, persisted_documents=manifest) as api:
            warnings = {it["id"]: it["reason"] for it in logs if it["log_level"] == "warning"}
            assert warnings.keys() == {"old", "much"}
            assert warnings["old"].startswith("Cannot query field 'nope'")
            for content in ({"documentId": "old"}, by_hash(INVALID)):
                answer = await post(api, content)
                assert (answer.status, answer.code_and_field) == (400, ("BAD_INPUT", "nope"))
            assert (await post(api, {"documentId": "much"})).code_and_field[0] == "LIMIT_EXCEEDED"
            assert (await post(api, {"documentId": "one", "variables": {"name": "x"}})).data == {"product": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "manifest.json is not valid JSON"),
        ("", "manifest.json is not valid JSON"),
        ("[" * 100_000, "manifest.json is nested too deeply"),
        ("[]", "manifest.json: expected {"),
        ("5", "manifest.json: expected {"),
        ("{}", "manifest.json has no documents"),
        (operations(), "manifest.json has no documents"),
        ({"one": 5}, "manifest.json: the value of 'one' is not a string"),
        ({"one": {"text": TWO}}, "manifest.json: the value of 'one' is not a string"),
        ({"format": "another", "operations": []}, "manifest.json: the value of 'operations' is not a string"),
        ({**operations(one=ONE), "version": 2}, "manifest.json: version is 2, and only version 1 is"),
        ({**operations(one=ONE), "version": True}, "manifest.json: version is True, and only version 1 is"),
        ({**operations(), "operations": {"one": ONE}}, "manifest.json: operations must be a list"),
        ({**operations(), "operations": [5]}, "manifest.json: operations[0] needs an id"),
        ({**operations(), "operations": [{"id": "one"}]}, "manifest.json: operations[0] needs an id"),
        ({**operations(), "operations": [{"id": 1, "body": ONE}]}, "manifest.json: operations[0] needs an id"),
        ({**operations(), "operations": [{"id": "a", "body": it} for it in (ONE, TWO)]}, "manifest.json: 'a' is the id of two"),
        (f'{{"a": "{TWO}", "a": "{ONE}"}}', "manifest.json: 'a' is the id of two different documents"),
        ({"": TWO}, "manifest.json, '': an id must be printable text"),
        ('{"\\ud800": "{ a }"}', r"manifest.json, '\ud800': an id must be printable text"),
        ({"one": "{ products"}, "manifest.json, 'one': Syntax Error: Expected Name, found <EOF>. (line 1, column 11)"),
        ({"one": ""}, "manifest.json, 'one': Syntax Error"),
        ({"one": f"{'{a' * 100_000}"}, "manifest.json, 'one': Syntax Error: Document is nested too deeply"),
        ('{"one": "{ a } # \\ud800"}', "manifest.json, 'one': Syntax Error: Invalid character: U+D800"),
        ({f"sha256:{hashed(ONE)}": TWO}, f"the id is not the hash of the text, which is {hashed(TWO)}"),
        ('"' + "x" * MAX_BYTES, f"manifest.json is larger than {MAX_BYTES} bytes"),
    ],
    ids=lambda it: it[:40] if isinstance(it, str) else None,
)
def test_an_invalid_manifest_is_rejected_with_location_and_reason(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(BadInput) as rejected:
        read_settings(persisted_documents=write_manifest(tmp_path, content))
    assert rejected.value.message.startswith("Invalid settings. HEADWATER_PERSISTED_DOCUMENTS: ")
    assert message in rejected.value.message


def test_a_missing_manifest_is_rejected_and_an_empty_setting_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"HEADWATER_PERSISTED_DOCUMENTS: .*nothing\.json cannot be read: No such file"):
        read_settings(persisted_documents=tmp_path / "nothing.json")
    with pytest.raises(BadInput, match="HEADWATER_PERSISTED_DOCUMENTS is required if HEADWATER_PERSISTED_ONLY is set"):
        read_settings(persisted_only=True)
    monkeypatch.setenv("HEADWATER_PERSISTED_DOCUMENTS", "")
    assert read_settings().persisted_documents is None


async def test_with_persisted_only_other_documents_are_rejected(address: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, {"one": ONE, "put": REGISTER, "old": INVALID})
    async with serving(address, persisted_documents=manifest, persisted_only=True, max_batch=5) as api:
        created = await post(api, {"documentId": "put", "variables": {"input": product_fields()}})
        assert created.data["registerProduct"]["changed"] is True
        variables = {"name": "orders"}
        for content in ({"documentId": "one"}, by_hash(ONE), {"query": ONE}, by_hash(ONE, query=ONE)):
            assert (await post(api, {**content, "variables": variables})).data == {"product": {"name": "orders"}}
        others = [
            {"query": TWO},
            by_hash(TWO, query=TWO),
            {"query": f"{ONE} "},
            {"query": "{"},
            {"query": "{ __schema { __typename } }"},
        ]
        for content in others:
            for answer in (await post(api, content), await post(api, content, "application/json")):
                assert (answer.status, answer.code_and_field, "data" in answer.body) == (403, ("FORBIDDEN", None), False)
                assert "documentId" in answer.error["message"]
            response = await get(api, content, PREFLIGHT_HEADER)
            assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
            # a rejected document is not registered
            assert (await post(api, by_hash(content["query"]))).errors == [NOT_FOUND]
        assert (await post(api, {"documentId": "two"})).errors == [NOT_FOUND]
        assert (await post(api, {"documentId": "old"})).code_and_field == ("BAD_INPUT", "nope")
        batch = await api.client.post(
            "/graphql", json=[{"query": TWO}, {"documentId": "one", "variables": variables}, by_hash(TWO)]
        )
        rejected, executed, not_found = batch.json()
        assert rejected["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert executed["data"] == {"product": {"name": "orders"}}
        assert not_found["errors"] == [NOT_FOUND]


async def test_a_document_that_is_not_registered_is_rejected_without_a_parse_slot(address: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, {"one": ONE})
    settings: dict[str, Any] = {"max_waiting": 0, "persisted_documents": manifest, "persisted_only": True}
    async with Service(address, **settings) as service, service.app.state.parse_admission.slot(1, "another"):
        assert (await service.send(TWO)).status_code == 403


async def test_the_command_checks_a_manifest_and_an_invalid_one_prevents_startup(address: str, tmp_path: Path) -> None:
    commands = ServiceCommands(address, tmp_path)
    manifest = write_manifest(tmp_path, {"one": ONE, "two": TWO})
    assert await commands("documents", manifest) == ["2 documents, 0 would not run"]
    write_manifest(tmp_path, {"one": ONE, "old": "{ nope neither }"})
    result = await commands.run("documents", manifest)
    assert result.code == 1
    assert result.out == [
        "old: Cannot query field 'nope' on type 'Query'. Did you mean 'node' or 'nodes'? (line 1, column 3)",
        "old: Cannot query field 'neither' on type 'Query'. (line 1, column 8)",
        "2 documents, 1 would not run",
    ]
    write_manifest(tmp_path, {"one": "{"})
    reason = f"{manifest}, 'one': Syntax Error: Expected Name, found <EOF>. (line 1, column 2)."
    assert await commands.error("documents", manifest) == reason
    rejected = await commands.error("serve", persisted_documents=str(manifest))
    assert rejected == f"Invalid settings. HEADWATER_PERSISTED_DOCUMENTS: {reason}"


async def test_every_worker_has_the_registered_documents(address: str, tmp_path: Path) -> None:
    commands, manifest = ServiceCommands(address, tmp_path), write_manifest(tmp_path, {"one": "{ __typename }"})
    settings = {"persisted_documents": str(manifest), "persisted_only": "true"}
    async with (
        commands.serve("--workers", "2", **settings) as served,
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client,
    ):
        for _ in range(20):
            # a new connection each, which either worker may accept
            executed = await client.post(served, json={"documentId": "one"}, headers={"connection": "close"})
            assert executed.json()["data"] == {"__typename": "Query"}
            rejected = await client.post(served, json={"query": TWO}, headers={"connection": "close"})
            assert rejected.status_code == 403


def test_a_document_with_several_ids_is_parsed_once() -> None:
    documents = Documents(schema, Limits(), RegisteredDocuments({"a": TWO, "b": TWO}))
    assert documents.by_id("a", 1) is documents.by_id("b", 2) is documents.parse(TWO, 3)
