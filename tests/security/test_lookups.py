"""What it costs to refuse somebody: no connection to the database, or the one that looks a key up, once in a while."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from db.tenancy.api_key import KeyName
from graph_api.app import create_app
from graph_api.auth.authenticator import TOKENS_NOT_ACCEPTED
from graph_api.settings import Settings
from tests.builders import ApiResponse
from tests.graph_api.auth.issuer import AUDIENCE, ISSUER, jwks, token
from tests.graph_api.records.remote import listening
from tests.security.service_harness import LIST, SECRET, Owner, believing, refused
from tests.security.test_keys import WHO, broken, forged, never_made
from tests.security.test_tokens import BAD, bearing

pytestmark = pytest.mark.api

SDL = "{ _service { sdl } }"


class Counted:
    """A service in this process, behind a real socket, and how many connections to its database were taken out of its pool."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.connections = 0

    def count(self, *_: object) -> None:
        self.connections += 1

    async def __call__(self, query: str = LIST, headers: dict[Any, Any] | None = None) -> ApiResponse:
        response = await self.http.post("/graphql", json={"query": query}, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)


@asynccontextmanager
async def counted(address: str, *, guarded: bool = True, **settings: Any) -> AsyncIterator[Counted]:
    app = create_app(Settings(database_url=address, key_secret=SECRET, credential_seconds=60, **settings), require_auth=guarded)
    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        service = Counted(http)
        event.listen(app.state.database.engine.sync_engine, "checkout", service.count)
        yield service


@pytest.fixture
async def service(address: str, tmp_path: Any) -> AsyncIterator[Counted]:
    keys = tmp_path / "keys.json"
    keys.write_bytes(jwks("ES256", "a"))
    async with counted(address, **believing(keys)) as service:
        yield service


@pytest.fixture
def unused_port() -> int:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def owner(address: str) -> Owner:
    return Owner(address)


async def test_what_no_key_of_this_service_can_be_costs_no_look_up(service: Counted, owner: Owner) -> None:
    key = await owner.key("read")
    hopeless = [it for kind, it in broken(key).items() if kind != "a made-up key of a tenant"]
    made_up = [f"hw_{number}_bootstrap_{number:064}" for number in range(2, 200)]
    for sent in [*hopeless, *made_up, *(forged(number) for number in range(1, 20)), "hw_" + "1" * 8_000]:
        assert refused(await service(headers={b"X-API-Key": sent.encode("latin-1")})) == (401, "UNAUTHENTICATED")
    for header in ("", "Basic x", "Bearer"):
        assert refused(await service(headers={"Authorization": header})) == (401, "UNAUTHENTICATED")
    assert service.connections == 0


async def test_a_token_that_is_not_to_be_believed_costs_no_look_up(service: Counted) -> None:
    for make, _ in BAD.values():
        assert refused(await service(headers=bearing(make(tenant="default")))) == (401, "UNAUTHENTICATED")
    assert service.connections == 0


async def test_what_is_looked_up_is_looked_up_once_however_often_it_is_refused(service: Counted, owner: Owner) -> None:
    revoked, expired, name = await owner.key("read"), await owner.expired_key(), await owner.tenant()
    await owner.revoke(revoked)
    suspended = await owner.key("read", of=name)
    await owner.suspend(name, "the bill is open")
    stolen = f"hw_1_bootstrap_{'0' * 64}"
    for key in (revoked, expired, suspended, never_made(owner), stolen):
        service.connections = 0
        answers = await asyncio.gather(*(service(headers={"X-API-Key": key}) for _ in range(30)))
        assert {it.status for it in answers} <= {401, 403}
        assert service.connections == 1, key


async def test_any_number_that_guess_at_one_made_up_key_have_it_looked_up_once(service: Counted) -> None:
    for number in range(100):
        assert (await service(headers={"X-API-Key": f"{KeyName(1, 'bootstrap')}_{number:064}"})).status == 401
    assert service.connections == 1


async def test_a_tenant_that_a_token_names_is_looked_up_once(service: Counted, owner: Owner) -> None:
    name = await owner.tenant()
    await owner.suspend(name, "the bill is open")
    # its name, and then how it stands; nothing more of one that is not there
    for tenant, connections in (("nobody", 1), (name, 2)):
        service.connections = 0
        for _ in range(20):
            assert refused(await service(headers=bearing(token(tenant=tenant)))) == (403, "FORBIDDEN")
        assert service.connections == connections


async def test_who_is_let_in_for_what_they_may_not_has_nothing_run(service: Counted, owner: Owner) -> None:
    headers = {"X-API-Key": await owner.key("read")}
    await service("{ __typename }", headers)
    service.connections = 0
    for query in ("{ keys { prefix } }", 'mutation { removeEntityType(input: { code: "x" }) { code } }', "{ nonsense }", "{"):
        assert (await service(query, headers)).errors
    too_deep = "{ a " * 40 + "}" * 40
    too_much = "{ products(first: 100) { nodes { upstream(first: 100) { nodes { upstream { totalCount } } } } } }"
    for query in (too_deep, too_much):
        assert (await service(query, headers)).error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert service.connections == 0


async def test_whoever_presents_nothing_costs_no_connection(service: Counted) -> None:
    for query in (LIST, "{ viewer { actor } }", "{ keys { prefix } }", "mutation { deleteProduct(input: {}) { uid } }"):
        assert (await service(query)).errors
    for query in ("{ __typename }", "{ __schema { types { name } } }", "{ _service { sdl } }"):
        assert (await service(query)).status == 200
    assert service.connections == 0


async def test_a_token_whose_keys_cannot_be_fetched_is_answered_503_and_a_key_is_let_in_beside_it(
    address: str, owner: Owner, unused_port: int
) -> None:
    issuer: dict[str, Any] = {"jwt_algorithm": "ES256", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    async with counted(address, **issuer, jwt_jwks_url=f"http://127.0.0.1:{unused_port}/keys") as service:
        answer = await service(headers=bearing(token(tenant="default")))
        assert refused(answer) == (503, "UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        assert service.connections == 0
        # what is refused at a glance is refused all the same
        assert refused(await service(headers=bearing("a.b.c"))) == (401, "UNAUTHENTICATED")
        assert (await service(headers={"X-API-Key": await owner.key("read")})).status == 200


async def test_where_introspection_is_closed_nobody_sees_anything_without_a_key(address: str, owner: Owner) -> None:
    async with counted(address, anonymous_introspection=False) as service:
        asked = ("{ __typename }", "{ __schema { types { name } } }", '{ __type(name: "Product") { name } }', SDL, LIST)
        # what is wrong with a document would tell of the schema, too
        for query in (*asked, "{ product { name } }", "{ prodcts { nodes { name } } }", "{"):
            answer = await service(query)
            assert refused(answer) == (401, "UNAUTHENTICATED"), query
            assert answer.error["message"].startswith("This API requires authentication."), query
        assert service.connections == 0
        headers = {"X-API-Key": await owner.key("read")}
        assert (await service(SDL, headers)).data["_service"]["sdl"]


async def test_where_no_issuer_is_trusted_no_token_is_believed(address: str) -> None:
    async with counted(address) as service:
        answer = await service(headers=bearing(token(tenant="default")))
        assert refused(answer) == (401, "UNAUTHENTICATED")
        assert answer.error["message"] == TOKENS_NOT_ACCEPTED
        assert service.connections == 0


async def test_the_demo_lets_everybody_do_everything_and_yet_nobody_in_whose_credential_is_wrong(
    address: str, owner: Owner
) -> None:
    async with counted(address, guarded=False) as service:
        everybody = {"tenant": "default", "actor": "anonymous", "scopes": ["read", "write", "admin"]}
        assert (await service(WHO)).data["viewer"] == everybody
        for headers in ({"X-API-Key": forged()}, {"X-API-Key": ""}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}):
            assert refused(await service(WHO, headers)) == (401, "UNAUTHENTICATED")
        key = await owner.key("read")
        assert (await service(WHO, {"X-API-Key": key})).data["viewer"]["scopes"] == ["read"]
        assert refused(await service(WHO, {"X-Headwater-Tenant": "another"})) == (403, "FORBIDDEN")
