"""Grants of services: a tenant reads with an operator's headers only what the operator configured for it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from db.author import Author
from db.errors import BadInput
from db.registries.endpoint import is_below
from db.tenancy import tenant
from graph_api.app import create_app
from graph_api.records.configuration import Service
from graph_api.records.grants import GrantedServices
from graph_api.settings import Settings, read_settings
from tests.builders import ApiResponse
from tests.commands import run_in_process
from tests.graph_api.records.remote import Remote, record, remote
from tests.security.service_harness import SECRET, Owner

pytestmark = pytest.mark.api

PUT = """
  mutation ($source: RecordSourceInput) {
    putEntityType(input: { code: "CUSTOMER", label: "Customer", source: $source }) { entityType { code } }
  }
"""
CREATE = """
  mutation {
    createEntity(input: { type: "CUSTOMER", key: "42", displayName: "Ann" }) { entity { displayName } }
  }
"""
ONE = '{ entity(ref: { key: { type: "CUSTOMER", key: "42" } }) { record } }'
SOURCE = {"service": "crm", "endpoint": "/customers", "lookupField": "id"}
TENANTS = ("default", "beta")
HIDDEN = "service is '{}', which is not configured for the tenant beta. Name another service, or let the operator"


@pytest.fixture
async def crm() -> AsyncIterator[Remote]:
    async with remote() as service:
        yield service


class Tenants:
    """Clients of a service with authentication, by the tenant, and the owner of its database."""

    def __init__(self, http: httpx.AsyncClient, owner: Owner, keys: dict[str, str]) -> None:
        self.owner = owner
        self._http = http
        self._keys = keys

    async def __call__(self, tenant_name: str, query: str, **variables: Any) -> ApiResponse:
        content = {"query": query, "variables": variables}
        response = await self._http.post("/graphql", json=content, headers={"X-API-Key": self._keys[tenant_name]})
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def load(self, tenant_name: str, **source: Any) -> dict[str, Any]:
        """Load an entity type with this source, and return the counts and errors."""
        line = json.dumps({"kind": "entityType", "code": "CUSTOMER", "label": "Customer", "source": {**SOURCE, **source}})
        headers = {"X-API-Key": self._keys[tenant_name], "Content-Type": "application/jsonl"}
        content: dict[str, Any] = (await self._http.post("/api/v1/ingest", content=line, headers=headers)).json()
        return content

    async def put(self, tenant_name: str, **source: Any) -> ApiResponse:
        return await self(tenant_name, PUT, source={**SOURCE, **source})

    async def create(self, tenant_name: str) -> None:
        """Create an entity type without a service, and an entity of it."""
        assert (await self.put(tenant_name, isLocal=True)).data
        assert (await self(tenant_name, CREATE)).data

    async def store(self, tenant_name: str, **source: Any) -> None:
        """Give the entity type a source that no check has seen."""
        stored = {"service": "crm", "endpoint": "/customers", "lookup_field": "id", "is_local": False, **source}
        async with self.owner.connection() as connection:
            await connection.execute(
                "UPDATE entity_type SET source = $1 WHERE tenant_id = (SELECT tenant_id FROM tenant WHERE name = $2)",
                json.dumps(stored),
                tenant_name,
            )


@asynccontextmanager
async def serving(
    address: str, crm: Remote, *, others: tuple[str, ...] = ("beta",), settings: dict[str, Any] | None = None, **option: Any
) -> AsyncIterator[Tenants]:
    """Run a service whose operator configured `crm` with a secret header, with these tenants beside `default`."""
    owner = Owner(address)
    for name in others:
        await tenant.create(address, name, Author("owner"))
    keys = {name: await owner.key("read", "write", of=name) for name in ("default", *others)}
    services = {"crm": Service(address=f"{crm.address}/api", headers={"X-Api-Key": SecretStr("of the operator")}, **option)}
    app = create_app(
        Settings(database_url=address, services=services, key_secret=SECRET, credential_seconds=0, **(settings or {}))
    )
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as http:
            yield Tenants(http, owner, keys)


async def test_a_service_without_tenants_is_for_the_only_tenant(address: str, crm: Remote) -> None:
    async with serving(address, crm, others=()) as tenants:
        assert (await tenants.put("default", endpoint="/anything")).data
        assert (await tenants("default", CREATE)).data
        assert (await tenants("default", ONE)).data == {"entity": {"record": record("42")}}
        assert crm.targets == ["/api/anything?id=42"]
        # a second tenant ends that at once, also for what is registered
        await tenants.owner.tenant()
        assert (await tenants.put("default")).code_and_field == ("BAD_INPUT", "service")
        assert (await tenants("default", ONE)).code_and_field == ("UNAVAILABLE", None)
    assert len(crm.targets) == 1


@pytest.mark.parametrize("tenant_name", TENANTS)
async def test_a_service_without_tenants_is_for_none_of_several(address: str, crm: Remote, tenant_name: str) -> None:
    async with serving(address, crm) as tenants:
        assert (await tenants.put(tenant_name, endpoint="/admin/employees")).code_and_field == ("BAD_INPUT", "service")
        await tenants.create(tenant_name)
        await tenants.store(tenant_name, endpoint="/admin/employees")
        assert (await tenants(tenant_name, ONE)).code_and_field == ("UNAVAILABLE", None)
    assert crm.targets == []


async def test_a_tenant_reads_its_paths_of_a_service_and_no_others(address: str, crm: Remote) -> None:
    async with serving(address, crm, tenants={"beta": ["/customers", "/v1/people"], "default": ["/"]}) as tenants:
        for endpoint in ("/customers", "/customers/{key}", "/v1/people/{key}/profile"):
            assert (await tenants.put("beta", endpoint=endpoint)).data
            assert (await tenants.load("beta", endpoint=endpoint))["rejected"] == 0
        refused = await tenants.put("beta", endpoint="/admin/employees")
        assert refused.code_and_field == ("BAD_INPUT", "endpoint")
        assert refused.error["message"] == (
            "endpoint is '/admin/employees', which is outside the paths of the service crm that are configured for the tenant"
            " beta: /customers, /v1/people. Name a path at or below one of them."
        )
        (fault,) = (await tenants.load("beta", endpoint="/admin/employees"))["faults"]
        assert (fault["code"], fault["field"], fault["message"]) == ("BAD_INPUT", "endpoint", refused.error["message"])
        await tenants.create("beta")
        await tenants.store("beta", endpoint="/admin/employees")
        assert (await tenants("beta", ONE)).error["message"] == (
            "The service crm is not configured for the tenant beta at /admin/employees. Add it to HEADWATER_SERVICES, with the"
            " tenant and the path in its option tenants."
        )
        assert crm.targets == []
        assert (await tenants.put("default", endpoint="/admin/employees")).data
        assert (await tenants("default", CREATE)).data
        assert (await tenants("default", ONE)).data == {"entity": {"record": record("42")}}
    assert crm.headers[0]["x-api-key"] == "of the operator"


async def test_a_service_of_other_tenants_cannot_be_distinguished_from_none(address: str, crm: Remote) -> None:
    async with serving(address, crm, tenants={"default": ["/"]}) as tenants:
        # a source of its own calls nothing
        await tenants.create("beta")
        for service in ("crm", "absent"):
            refused = await tenants.put("beta", service=service)
            assert refused.code_and_field == ("BAD_INPUT", "service")
            assert refused.error["message"].startswith(HIDDEN.format(service))
            (fault,) = (await tenants.load("beta", service=service))["faults"]
            assert fault["message"] == refused.error["message"]
            await tenants.store("beta", service=service)
            message = f"The service {service} is not configured for the tenant beta at /customers. Add it"
            failed = await tenants("beta", ONE)
            assert failed.code_and_field == ("UNAVAILABLE", None)
            assert failed.error["message"].startswith(message)
    assert crm.targets == []


async def test_a_load_by_the_command_line_is_checked_too(address: str, crm: Remote, tmp_path: Path) -> None:
    await tenant.create(address, "beta", Author("owner"))
    file = tmp_path / "types.jsonl"
    source = {**SOURCE, "endpoint": "/admin/employees"}
    file.write_text(json.dumps({"kind": "entityType", "code": "CUSTOMER", "label": "Customer", "source": source}))
    services = json.dumps({"crm": {"address": crm.address, "tenants": {"beta": ["/customers"]}}})
    result = await run_in_process("ingest", "jsonl", str(file), "--tenant", "beta", database_url=address, services=services)
    assert result.code == 1
    assert "outside the paths of the service crm" in result.err[0]


async def test_without_configured_services_a_source_may_name_any() -> None:
    async def fail() -> str:
        raise AssertionError("tenants are not looked up")

    assert await GrantedServices({}, fail)("beta") is None
    # neither are they if every service names its own
    grants = await GrantedServices({"crm": Service(address="http://a", tenants={"beta": ["/"]})}, fail)("beta")
    assert grants is not None
    assert grants.covers("crm", "/x")


@pytest.mark.parametrize(
    ("endpoint", "below"),
    [
        ("/customers", True),
        ("/customers/", True),
        ("/customers/{key}", True),
        ("/customers/a%2Fb", True),
        ("/customers//x", True),
        ("/customers;v=1", False),
        ("/customers2", False),
        ("/customers{key}", False),
        ("/Customers", False),
        ("/{key}", False),
        ("/", False),
        ("//customers", False),
        ("/x/customers", False),
        ("/%63ustomers", False),
        ("/customers%2Fadmin", False),
        ("/customers%252Fadmin", False),
        ("/customers%5Cadmin", False),
    ],
)
def test_paths_are_compared_by_segments_as_written_and_as_decoded(endpoint: str, below: bool) -> None:
    assert is_below(endpoint, "/customers") is below
    assert is_below(endpoint, "/customers/") is below
    assert is_below(f"/my%20files{endpoint}", "/my%20files/customers") is below
    assert is_below(endpoint, "/")


@pytest.mark.parametrize(
    ("tenants", "reason"),
    [
        ({"beta": []}, "tenants, beta: List should have at least 1 item"),
        ({"beta": ["customers"]}, "tenants, beta, 0: the path 'customers' must begin with one slash"),
        ({"beta": ["/a/%2e%2E/b"]}, "tenants, beta, 0: the path '/a/%2e%2E/b' must begin with one slash"),
        ({"beta": ["//b"]}, "tenants, beta, 0: the path '//b' must begin with one slash"),
        ({" beta": ["/"]}, "tenant has spaces at an end"),
    ],
)
def test_invalid_grants_are_rejected(tenants: dict[str, list[str]], reason: str) -> None:
    with pytest.raises(BadInput) as raised:
        read_settings(services={"crm": {"address": "http://a", "tenants": tenants}})
    assert reason in raised.value.message
