"""A service that tests share: each finds the database as it was created."""

from typing import Any

import asyncpg
import pytest

from tests.builders import Api
from tests.conftest import SharedService

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"


async def content(service: SharedService) -> dict[str, Any]:
    """Return the rows of all tables and the last values of all sequences."""
    owner = await asyncpg.connect(service.address)
    tables = [it["tablename"] for it in await owner.fetch(_TABLES)]
    rows = {table: await owner.fetch(f"SELECT * FROM {table}") for table in tables}
    sequences = {it["sequencename"]: it["last_value"] for it in await owner.fetch(_SEQUENCES)}
    await owner.close()
    return {**rows, "sequences": sequences}


async def write(api: Api) -> None:
    await api.put_types()
    await api.create(details={"email": "ann@shop.example"})
    await api.lineage("raw -> clean")
    await api.put_relationship_type()
    await api.know_figures()


async def test_what_a_test_writes_is_gone_before_the_next(server: str) -> None:
    service = SharedService(server)
    async with service.use():
        created = await content(service)
    async with service.use() as api:
        await write(api)
        written = await content(service)
    async with service.use() as api:
        assert await content(service) == created
        assert api.figures is not None
        assert api.figures.known(1) is None
    await service.close()
    assert {table for table in created if written[table] != created[table]} > {"change", "asset", "quota", "sequences"}


async def test_a_service_that_is_given_back_in_use_is_replaced(server: str) -> None:
    service = SharedService(server)
    async with service.use() as api:
        await api.register()
        first = service.address
    with pytest.raises(AssertionError, match="left its connection behind"):
        async with service.use() as api:
            held = await api.database.pool.acquire()
    await held.close()
    async with service.use() as api:
        assert service.address != first
        await api.register()
    await service.close()
