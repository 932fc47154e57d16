"""Loading of the data of the measured requests, by the service's own batch functions, so that it follows every rule."""

from pathlib import Path
from typing import Any

import asyncpg
import orjson

from db import migrations
from db.author import Author
from db.database import Database
from db.tenant_ids import DEFAULT_TENANT_ID
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from tests.bench.databases import OtherData, plain_address, verify
from tests.bench.requests.pipelines import Size, asset_lines, link_change_lines, link_lines


async def fill(address: str, size: Size, directory: Path) -> None:
    """Migrate a database and load the data, unless an earlier run has loaded data of this size."""
    await migrations.upgrade(address)
    owner = await asyncpg.connect(plain_address(address))
    database = Database(address, pool_size=1, statement_timeout=3_600)
    try:
        existing = await owner.fetchval("SELECT count(*) FROM asset")
        if existing not in (0, size.products + size.people):
            raise OtherData(f"The database holds {existing} assets that are not those of this benchmark. Name an empty one.")
        if not existing:
            for lines in (asset_lines(size), link_lines(size), link_change_lines(size)):
                file = directory / "requests.jsonl"
                with file.open("wb") as written:
                    written.writelines(orjson.dumps(it, option=orjson.OPT_APPEND_NEWLINE) for it in lines)
                load = Load(database, DEFAULT_TENANT_ID, Author("bench"), advanced=lambda *_: None, rejected=_refuse)
                with file.open("rb") as opened:
                    await load.run(opened, JsonLines)
                file.unlink()
                # statistics of the assets, for the load of the links
                await owner.execute("ANALYZE")
            await verify(address)
        await owner.execute("VACUUM ANALYZE")
    finally:
        await database.close()
        await owner.close()


def _refuse(error: Any) -> None:
    raise OtherData(f"The data of the requests could not be loaded: {error}")
