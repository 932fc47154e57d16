"""Two tenants of equal size: one that the statistics of the planner know, and one that came after them."""

import io
from pathlib import Path

import asyncpg
import orjson

from db import migrations
from db.author import Author
from db.database import Database
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from tests.bench.databases import OtherData, plain_address
from tests.security.lookups import TYPES

KNOWN, NEW = 1, 2

_FILL = (Path(__file__).parent / "fill.sql").read_text()


async def fill_tenants(address: str, *, products: int, entities: int) -> None:
    """Migrate an empty database and fill it with two tenants of so many assets each."""
    await migrations.upgrade(address)
    owner = await asyncpg.connect(plain_address(address))
    database = Database(address, pool_size=1)
    try:
        await owner.execute("INSERT INTO tenant (name) VALUES ('new')")
        for tenant_id in (KNOWN, NEW):
            types = b"".join(orjson.dumps(it, option=orjson.OPT_APPEND_NEWLINE) for it in TYPES)
            load = Load(database, tenant_id, Author("bench"), advanced=lambda *_: None, rejected=_refuse)
            await load.run(io.BytesIO(types), JsonLines)
            async with owner.transaction():
                await owner.execute(_FILL.format(tenant=tenant_id, products=products, entities=entities))
            if tenant_id == KNOWN:
                await owner.execute("VACUUM ANALYZE")
    finally:
        await database.close()
        await owner.close()


def _refuse(error: object) -> None:
    raise OtherData(f"The types could not be loaded: {error}")
