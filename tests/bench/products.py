"""The products of the database that is measured."""

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

# Products from this number on are there to be updated; those before it stay as they are, and so does what is read of them.
UPDATED_FROM = 100


def product_name(number: int) -> str:
    return f"product_{number:06}"


def product_uid(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"headwater-bench/{product_name(number)}")


async def fill(address: str, owner: "asyncpg.Connection[asyncpg.Record]", products: int) -> None:
    """Write so many of them, as the service would."""
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
            said = Operation.PATCH if version else Operation.SET
            content = [_changed(number, version) if version else _product(number) for number in numbers]
            assertions = [Assertion(*it, since(version)) for it in zip(subjects, [said] * products, content, strict=True)]
            async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
                await record_asset_change(connection, PRODUCT, assertions)
            # a batch into tables without statistics takes four times as long
            await owner.execute("ANALYZE")
    finally:
        await database.close()


def _domain(number: int) -> str:
    return f"domain_{number % 20:02}"


def _product(number: int) -> dict[str, Any]:
    schema = {"fields": [{"name": f"column_{column}", "type": "string"} for column in range(8)]}
    return product_fields.validate_state(
        {
            "name": product_name(number),
            "domain": _domain(number),
            "owner": f"owner_{number % 50}@shop.example",
            "description": f"What number {number} of the measured products holds, in about as many words as people take for it.",
            "schema": schema,
            "tags": ["measured", f"group-{number % 7}"],
        }
    )


def _changed(number: int, version: int) -> dict[str, Any]:
    return product_fields.validate_patch({"version": f"1.{version}.0", "owner": f"owner_{(number + version) % 50}@shop.example"})
