"""A database that tests load files into, in this process, and everything that a load leaves in it."""

import io
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

import asyncpg

from db.author import Author
from db.database import Database
from db.temporal.verification import verify_tenant
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.row import Parser, RowError
from tests.databases import temporary_database
from tests.graph_api.ingestion.lines import to_jsonl

# Everything but what distinguishes one load from another: ids, who wrote and when, and which changes were made by it.
STATE = """
  WITH subject AS (
    SELECT 'LINK' AS kind, id, uid FROM lineage_link
    UNION ALL SELECT 'RELATIONSHIP', id, uid FROM relationship
    UNION ALL SELECT kind, id, uid FROM asset
  ),
  stored AS (
    SELECT 'product' AS part, 'PRODUCT' AS kind, asset_id AS id, to_jsonb(product_version) AS content FROM product_version
    UNION ALL SELECT 'entity', 'ENTITY', asset_id, to_jsonb(entity_version) FROM entity_version
    UNION ALL SELECT 'detail', 'ENTITY', asset_id, to_jsonb(entity_detail) FROM entity_detail
    UNION ALL SELECT 'key', 'ENTITY', asset_id, to_jsonb(entity_key) FROM entity_key
    UNION ALL SELECT 'lifetime', kind, asset_id, to_jsonb(asset_lifetime) FROM asset_lifetime JOIN asset ON id = asset_id
    UNION ALL SELECT 'asserted', 'LINK', link_id, to_jsonb(lineage_link_version) FROM lineage_link_version
    UNION ALL SELECT 'effective', 'LINK', link_id, to_jsonb(lineage_link_effective) FROM lineage_link_effective
    UNION ALL SELECT 'asserted', 'RELATIONSHIP', relationship_id, to_jsonb(relationship_version) FROM relationship_version
    UNION ALL SELECT 'effective', 'RELATIONSHIP', relationship_id, to_jsonb(relationship_effective) FROM relationship_effective
    UNION ALL SELECT 'change', kind, subject_id, jsonb_build_array(operation, change_ts, payload) FROM change
    UNION ALL SELECT 'asset', kind, id, to_jsonb(asset) FROM asset
    UNION ALL SELECT 'link', 'LINK', l.id, to_jsonb(s.uid || ' to ' || t.uid)
    FROM lineage_link l JOIN asset s ON s.id = l.source_id JOIN asset t ON t.id = l.target_id
    UNION ALL SELECT 'relationship', 'RELATIONSHIP', r.id, to_jsonb(o.uid || ' ' || y.key || ' ' || t.uid)
    FROM relationship r
    JOIN relationship_type y ON y.id = r.type_id
    JOIN asset o ON o.id = r.origin_id
    JOIN asset t ON t.id = r.related_id
  )
  SELECT part, uid::text AS subject, CASE jsonb_typeof(content)
      WHEN 'object'
      THEN content - '{id,asset_id,link_id,source_id,target_id,relationship_id,type_id,origin_id,related_id}'::text[]
      ELSE content
    END::text AS content
  FROM stored JOIN subject USING (kind, id)
  -- who put a type, and when, is that of each database
  UNION ALL SELECT part, code, (content - '{id,created_at,updated_at,actor}'::text[])::text
  FROM (
    SELECT 'entity type', code, to_jsonb(entity_type) FROM entity_type
    UNION ALL SELECT 'detail type', code, to_jsonb(detail_type) FROM detail_type
    UNION ALL SELECT 'relationship type', key, to_jsonb(relationship_type) FROM relationship_type
  ) type (part, code, content)
  ORDER BY 1, 2, 3
"""


class Stored(NamedTuple):
    """One stored row: the part of the state that it belongs to, the uid or code of its subject, and its content as JSON."""

    part: str
    subject: str
    content: str


class LoadTarget:
    """A database with the errors of the latest load into it."""

    def __init__(self, address: str, database: Database) -> None:
        self.address = address
        self.database = database
        self.errors: list[RowError] = []

    async def load(self, lines: Iterable[dict[str, Any]], **options: Any) -> Load:
        """Load JSON lines."""
        return await self.load_file(to_jsonl(lines), JsonLines, **options)

    async def load_file(
        self, content: bytes, parse: Callable[[BinaryIO], Parser], *, stop_after: int | None = None, **options: Any
    ) -> Load:
        """Load a file, at most until so many rows are kept."""
        self.errors = []
        load = Load(
            self.database,
            1,
            Author("tester", str(uuid4())),
            advanced=lambda rows, position: load.stop() if stop_after is not None and rows >= stop_after else None,
            rejected=self.errors.append,
            **{"on_error": OnError.SKIP, **options},
        )
        await load.run(io.BytesIO(content), parse)
        return load

    async def state(self) -> list[Stored]:
        """Return everything stored, in an order that does not depend on ids."""
        connection = await asyncpg.connect(self.address)
        try:
            return [Stored(**row) for row in await connection.fetch(STATE)]
        finally:
            await connection.close()

    async def verify(self) -> None:
        """Assert that all versions are the fold of the change log."""
        async with self.database.snapshot(1) as connection:
            assert (await verify_tenant(connection)).differences == []


@asynccontextmanager
async def load_target(server: str) -> AsyncIterator[LoadTarget]:
    """Yield a new, migrated database to load into."""
    async with temporary_database(server) as address:
        database = Database(address, pool_size=2)
        try:
            yield LoadTarget(address, database)
        finally:
            await database.close()
