"""Cost of rejections: an invalid credential takes no database connection, or one per cached lookup."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query
from starlette.applications import Starlette

from db.database import Database
from db.tenancy.api_key import KeyName
from db.tenant_ids import NO_TENANT_ID
from graph_api.app import create_app
from graph_api.auth.authenticator import TOKENS_NOT_ACCEPTED
from graph_api.settings import Settings
from tests.builders import ApiResponse
from tests.graph_api.auth.issuer import AUDIENCE, ISSUER, jwks, token
from tests.graph_api.records.remote import listening
from tests.security.service_harness import LIST, SECRET, Owner, rejection, token_settings
from tests.security.test_keys import VIEWER, broken, forged, unregistered
from tests.security.test_tokens import INVALID, bearer

pytestmark = pytest.mark.api

SDL = "{ _service { sdl } }"


class CountingService:
    """Client of a service in this process, which counts the connections taken from the pool."""

    def __init__(self, http: httpx.AsyncClient, app: Starlette) -> None:
        self.http = http
        self.app = app
        self.connections = 0

    async def __call__(self, query: str = LIST, headers: dict[Any, Any] | None = None, **variables: Any) -> ApiResponse:
        response = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)


def count_connections(database: Database, service: CountingService) -> None:
    """Count the connections that are taken from the pools of a database."""
    for pool in (database.pool, database.read_pool):
        acquire = pool.acquire

        async def counted(acquire: Any = acquire) -> Any:
            service.connections += 1
            return await acquire()

        pool.acquire = counted  # type: ignore[method-assign]


@asynccontextmanager
async def counting_service(address: str, *, require_auth: bool = True, **settings: Any) -> AsyncIterator[CountingService]:
    all_settings = Settings(database_url=address, key_secret=SECRET, credential_seconds=60, **settings)
    app = create_app(all_settings, require_auth=require_auth)
    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        service = CountingService(http, app)
        count_connections(app.state.database, service)
        yield service


@pytest.fixture
async def service(address: str, tmp_path: Any) -> AsyncIterator[CountingService]:
    keys = tmp_path / "keys.json"
    keys.write_bytes(jwks("ES256", "a"))
    async with counting_service(address, **token_settings(keys)) as service:
        yield service


@pytest.fixture
def unused_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture
def owner(address: str) -> Owner:
    return Owner(address)


async def test_a_key_that_this_service_did_not_sign_is_not_looked_up(service: CountingService, owner: Owner) -> None:
    key = await owner.key("read")
    unsigned = [it for kind, it in broken(key).items() if kind != "a guessed bootstrap key"]
    bootstrap = [f"hw_{number}_bootstrap_{number:064}" for number in range(2, 200)]
    for value in [*unsigned, *bootstrap, *(forged(number) for number in range(1, 20)), "hw_" + "1" * 8_000]:
        assert rejection(await service(headers={b"X-API-Key": value.encode("latin-1")})) == (401, "UNAUTHENTICATED")
    for authorization in ("", "Basic x", "Bearer"):
        assert rejection(await service(headers={"Authorization": authorization})) == (401, "UNAUTHENTICATED")
    assert service.connections == 0


async def test_the_tenant_of_an_invalid_token_is_not_looked_up(service: CountingService) -> None:
    for build, _ in INVALID.values():
        assert rejection(await service(headers=bearer(build(tenant="default")))) == (401, "UNAUTHENTICATED")
    assert service.connections == 0


async def test_a_rejected_key_is_looked_up_once_for_many_requests(service: CountingService, owner: Owner) -> None:
    revoked, expired, name = await owner.key("read"), await owner.expired_key(), await owner.tenant()
    await owner.revoke(revoked)
    suspended = await owner.key("read", of=name)
    await owner.suspend(name, "the bill is open")
    bootstrap = f"hw_1_bootstrap_{'0' * 64}"
    for key in (revoked, expired, suspended, unregistered(owner), bootstrap):
        service.connections = 0
        answers = await asyncio.gather(*(service(headers={"X-API-Key": key}) for _ in range(30)))
        assert {it.status for it in answers} <= {401, 403}
        assert service.connections == 1, key


async def test_guesses_at_the_bootstrap_key_share_one_lookup(service: CountingService) -> None:
    for number in range(100):
        assert (await service(headers={"X-API-Key": f"{KeyName(1, 'bootstrap')}_{number:064}"})).status == 401
    assert service.connections == 1


async def test_the_tenant_of_a_token_is_looked_up_once(service: CountingService, owner: Owner) -> None:
    name = await owner.tenant()
    await owner.suspend(name, "the bill is open")
    # one connection for the id of the tenant, and one for its status if it exists
    for tenant, connections in (("nobody", 1), (name, 2)):
        service.connections = 0
        for _ in range(20):
            assert rejection(await service(headers=bearer(token(tenant=tenant)))) == (403, "FORBIDDEN")
        assert service.connections == connections


async def test_an_operation_that_fails_before_execution_takes_no_connection(service: CountingService, owner: Owner) -> None:
    headers = {"X-API-Key": await owner.key("read")}
    await service("{ __typename }", headers)
    service.connections = 0
    for query in (
        "{ keys { nodes { prefix } } }",
        'mutation { removeEntityType(input: { code: "x" }) { code } }',
        "{ nonsense }",
        "{",
    ):
        assert (await service(query, headers)).errors
    too_deep = "{ a " * 40 + "}" * 40
    too_many_values = "{ products(filter: { tags: [%s] }) { totalCount } }" % ('"a" ' * 1_001)
    for query in (too_deep, too_many_values):
        assert (await service(query, headers)).error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert service.connections == 0


async def test_a_request_without_credentials_takes_no_connection(service: CountingService) -> None:
    for query in (LIST, "{ viewer { actor } }", "{ keys { nodes { prefix } } }", "mutation { deleteProduct(input: {}) { uid } }"):
        assert (await service(query)).errors
    for query in ("{ __typename }", "{ __schema { types { name } } }", "{ _service { sdl } }"):
        assert (await service(query)).status == 200
    assert service.connections == 0


async def test_tokens_get_503_and_keys_work_while_the_jwks_cannot_be_fetched(
    address: str, owner: Owner, unused_port: int
) -> None:
    issuer: dict[str, Any] = {"jwt_algorithm": "ES256", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    async with counting_service(address, **issuer, jwt_jwks_url=f"http://127.0.0.1:{unused_port}/keys") as service:
        answer = await service(headers=bearer(token(tenant="default")))
        assert rejection(answer) == (503, "UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        assert service.connections == 0
        # a malformed token is rejected without the keys
        assert rejection(await service(headers=bearer("a.b.c"))) == (401, "UNAUTHENTICATED")
        assert (await service(headers={"X-API-Key": await owner.key("read")})).status == 200


async def test_new_documents_without_a_credential_are_small_and_hold_up_no_client(address: str, owner: Owner) -> None:
    key = {"X-API-Key": await owner.key("read")}
    fragments = "".join(f"fragment F{number} on __Type {{ kind name description }} " for number in range(45))
    large = f"{{ __schema {{ types {{ {' '.join(f'...F{number}' for number in range(45))} }} }} }} {fragments}"
    async with counting_service(address) as service:
        assert (await service(large)).error["message"] == (
            "The document has more than 500 tokens. At most 500 are allowed. Split it into several requests."
        )
        assert (await service(large, key)).data
        # it is known now
        assert (await service(large)).data
        assert (await service(get_introspection_query())).data
        # the pause after a document of a stranger
        async with service.app.state.anonymous_admission.slot(NO_TENANT_ID, "another"):
            stranger = asyncio.create_task(service("{ __schema { queryType { name } } }"))
            assert (await service("{ viewer { tenant } }", key)).data
            assert not stranger.done()
        assert (await stranger).data


async def test_a_stranger_sends_no_large_body(address: str, owner: Owner) -> None:
    query = "{ __schema { queryType { name } } }"
    async with counting_service(address) as service:
        assert (await service(query, unused="x" * 16_000)).data
        assert rejection(await service(query, unused="x" * 17_000)) == (413, "LIMIT_EXCEEDED")
        assert (await service(query, {"X-API-Key": await owner.key("read")}, unused="x" * 17_000)).data


async def test_a_stranger_for_whom_the_queue_is_full_is_refused_after_a_while(address: str, owner: Owner) -> None:
    key = {"X-API-Key": await owner.key("read")}
    async with (
        counting_service(address, max_waiting=0) as service,
        service.app.state.anonymous_admission.slot(NO_TENANT_ID, "another"),
    ):
        stranger = asyncio.create_task(service("{ __schema { queryType { name } } }"))
        assert (await service("{ viewer { tenant } }", key)).data
        assert not stranger.done()
        assert rejection(await stranger) == (503, "UNAVAILABLE")


async def test_without_anonymous_introspection_every_request_needs_credentials(address: str, owner: Owner) -> None:
    async with counting_service(address, anonymous_introspection=False) as service:
        queries = ("{ __typename }", "{ __schema { types { name } } }", '{ __type(name: "Product") { name } }', SDL, LIST)
        # errors of validation would reveal parts of the schema, too
        for query in (*queries, "{ product { name } }", "{ prodcts { nodes { name } } }", "{"):
            answer = await service(query)
            assert rejection(answer) == (401, "UNAUTHENTICATED"), query
            assert answer.error["message"].startswith("This API requires authentication."), query
        assert service.connections == 0
        headers = {"X-API-Key": await owner.key("read")}
        assert (await service(SDL, headers)).data["_service"]["sdl"]


async def test_without_a_configured_issuer_no_token_is_accepted(address: str) -> None:
    async with counting_service(address) as service:
        answer = await service(headers=bearer(token(tenant="default")))
        assert rejection(answer) == (401, "UNAUTHENTICATED")
        assert answer.error["message"] == TOKENS_NOT_ACCEPTED
        assert service.connections == 0


async def test_an_open_service_allows_everything_without_credentials_and_rejects_invalid_ones(address: str, owner: Owner) -> None:
    async with counting_service(address, require_auth=False) as service:
        anonymous = {"tenant": "default", "actor": "anonymous", "scopes": ["read", "write", "admin"]}
        assert (await service(VIEWER)).data["viewer"] == anonymous
        for headers in ({"X-API-Key": forged()}, {"X-API-Key": ""}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}):
            assert rejection(await service(VIEWER, headers)) == (401, "UNAUTHENTICATED")
        key = await owner.key("read")
        assert (await service(VIEWER, {"X-API-Key": key})).data["viewer"]["scopes"] == ["read"]
        assert rejection(await service(VIEWER, {"X-Headwater-Tenant": "another"})) == (403, "FORBIDDEN")
