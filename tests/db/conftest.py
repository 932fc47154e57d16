"""Fixtures of the tests of db: a connection of the schema owner, two tenants with the same names, and a database for examples."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from db.assets import entity, product
from db.assets.asset import IdentitySpec
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.author import Author
from db.database import Database
from db.registries import detail_type, entity_type, relationship_type
from db.tenancy import api_key
from db.tenancy.api_key import KeySigner
from db.tenancy.idempotency import IdempotencyKey, run_once
from tests.builders import day, product_fields
from tests.databases import MIGRATED, examples_database, prepare_now
from tests.db.harness import Harness

OTHER = 2


@pytest.fixture
async def owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the schema owner, who is not subject to row-level security."""
    connection = await asyncpg.connect(address)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def two_tenants_template(server: str) -> str:
    return prepare_now(server, "two_tenants", _fill)


@pytest.fixture
def template(request: pytest.FixtureRequest) -> str:
    """Choose the template by whether the test asks for two tenants."""
    return str(request.getfixturevalue("two_tenants_template")) if "two_tenants" in request.fixturenames else MIGRATED


@pytest.fixture
def two_tenants(database: Database) -> Database:
    """Two tenants. Each has a product and an entity with the same names as the other's, and a link and a relationship between
    them."""
    return database


@pytest.fixture(scope="module")
def harness(server: str) -> Iterator[Harness]:
    """The event loop and the database of the examples of a module."""
    with examples_database(server) as address:
        harness = Harness(address)
        yield harness
        harness.close()


async def _fill(address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("INSERT INTO tenant (name) VALUES ('other')")
    await owner.close()
    database = Database(address, pool_size=1)
    for tenant_id in (1, OTHER):
        async with database.transaction(tenant_id, Author(f"writer {tenant_id}")) as connection:
            fields = product_fields(owner=f"owner {tenant_id}")
            await run_once(
                connection, IdempotencyKey("key", UUID(int=tenant_id)), partial(product.register, connection, fields, at=day(0))
            )
            await api_key.create(connection, KeySigner(bytes(32)), f"key {tenant_id}", ["read"])
            await entity_type.put(connection, "PERSON", "Person", "people")
            await detail_type.put(connection, "note", "Note")
            details = {"note": f"of {tenant_id}"}
            await entity.create(connection, IdentitySpec(type="PERSON", key="7"), "ann", details, at=day(0))
            ends = AssetRef(product="orders"), AssetRef(type="PERSON", key="7")
            await lineage_link.register(connection, *ends, None, {}, at=day(0))
            await relationship_type.put(
                connection, key="owned_by", reverse_key="owns", origin="PRODUCT", related="PERSON", cardinality="MANY_TO_ONE"
            )
            await relationship.relate(connection, relationship.RelationshipState("owned_by", *ends, {"attributes": {}}, day(0)))
    await database.close()
