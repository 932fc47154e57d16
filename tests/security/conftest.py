"""One service that asks who comes, for all tests that a process runs, and somebody to ask it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.databases import shared_database
from tests.graph_api.auth.issuer import jwks
from tests.security.service_harness import BELIEVED, BODY_SECONDS, ORIGIN, Client, Owner, Service, believing, serving


@pytest.fixture(scope="session")
def service(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place: Path = tmp_path_factory.mktemp("doors")
    keys = place / "keys.json"
    keys.write_bytes(jwks("ES256", "a"))
    settings = {"body_timeout": BODY_SECONDS, "credential_seconds": BELIEVED, "cors_origins": ORIGIN, "max_waiting": 40}
    with shared_database(server) as address:
        owner = Owner(address)
        with serving(owner, place, **believing(keys), **{name: str(value) for name, value in settings.items()}) as service:
            yield service


@pytest.fixture
async def ask(service: Service) -> AsyncIterator[Client]:
    async with service.client() as client:
        yield client
        # whatever was asked, nothing of it is at work any more
        await service.owner.at_work(0)


@pytest.fixture
def owner(service: Service) -> Owner:
    return service.owner
