"""One authenticated service per test session, and a client of it per test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.databases import shared_database
from tests.graph_api.auth.issuer import jwks
from tests.security.service_harness import BODY_SECONDS, CACHE_SECONDS, ORIGIN, Client, Owner, Service, serving, token_settings


@pytest.fixture(scope="session")
def service(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("service")
    keys = directory / "keys.json"
    keys.write_bytes(jwks("ES256", "a"))
    settings = {"body_timeout": BODY_SECONDS, "credential_seconds": CACHE_SECONDS, "cors_origins": ORIGIN, "max_waiting": 40}
    with shared_database(server) as address:
        owner = Owner(address)
        as_text = {name: str(value) for name, value in settings.items()}
        with serving(owner, directory, **token_settings(keys), **as_text) as service:
            yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with service.client() as client:
        yield client
        # no request leaves a running statement or an open transaction behind
        await service.owner.wait_for_active(0)


@pytest.fixture
def owner(service: Service) -> Owner:
    return service.owner
