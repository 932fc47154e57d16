"""The products of the measured database."""

from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from db.assets import asset, product_fields
from db.author import Author
from db.consistency.lifecycle import record_asset_change
from db.database import Database
from db.sql import statement
from db.temporal.change_log import Assertion, Operation
from db.temporal.kinds import PRODUCT
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from tests.bench.versions import VERSIONS, since

# Products from this number on are updated while they are measured. Reads do not select them.
UPDATED_FROM = 100


def product_name(number: int) -> str:
    return f"product_{number:06}"


def product_uid(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"headwater-bench/{product_name(number)}")


async def fill(address: str, owner: "asyncpg.Connection[asyncpg.Record]", products: int) -> None:
    """Write so many products as the service would."""
    database = Database(address)
    numbers = range(products)
    try:
        async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
            await connection.execute(
                statement("registries/add_domains"), {"names": list({_domain(number) for number in numbers})}
            )
            references = [asset.IdentitySpec(product_uid(number)) for number in numbers]
            subjects = [(await asset.add_or_lock(connection, PRODUCT, it)).asset_id for it in references]
        for version in range(VERSIONS):
            operation = Operation.PATCH if version else Operation.SET
            payloads = [_patch(number, version) if version else _state(number) for number in numbers]
            assertions = [
                Assertion(subject, operation, payload, since(version))
                for subject, payload in zip(subjects, payloads, strict=True)
            ]
            async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
                await record_asset_change(connection, PRODUCT, assertions)
            # a batch into tables without statistics takes four times as long
            await owner.execute("ANALYZE")
    finally:
        await database.close()


def _domain(number: int) -> str:
    return f"domain_{number % 20:02}"


def _state(number: int) -> dict[str, Any]:
    schema = {"fields": [{"name": f"column_{column}", "type": "string"} for column in range(8)]}
    return product_fields.validate_state(
        {
            "name": product_name(number),
            "domain": _domain(number),
            "owner": f"owner_{number % 50}@shop.example",
            "description": f"Product number {number} of the benchmark, with a description about as long as people usually write.",
            "schema": schema,
            "tags": ["measured", f"group-{number % 7}"],
        }
    )


def _patch(number: int, version: int) -> dict[str, Any]:
    return product_fields.validate_patch({"version": f"1.{version}.0", "owner": f"owner_{(number + version) % 50}@shop.example"})
