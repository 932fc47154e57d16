"""Around a hub with tens of thousands of joins a page costs what it shows, by the index that it means; so does a write."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import event, text

from db.associations import relationship
from db.associations.association import AssetRef
from db.consistency.cardinality import _CONFLICTS_AMONG
from db.database import Database
from db.pagination import Page
from db.registries.relationship_type import DirectedTypeIds
from db.sql import statement
from tests.builders import day
from tests.databases import prepare_now, shared_database
from tests.db.plans import rolled_back

JOINS = 20_000
HUB = 1
# a join that is somewhere in the middle, and its other end
MIDDLE = JOINS // 2

# A hub that is the origin of joins of one type and the related end of those of another; a third makes pairs of what is around it.
_FILL = f"""
SET session_replication_role = replica;
ALTER TABLE relationship_effective DROP CONSTRAINT relationship_effective_overlap;
INSERT INTO asset (tenant_id, id, uid, kind) OVERRIDING SYSTEM VALUE
SELECT 1, n, CAST(lpad(to_hex(n), 32, '0') AS uuid), 'PRODUCT' FROM generate_series(1, {JOINS} + 1) n;
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to) SELECT 1, id, '2026-01-01', 'infinity' FROM asset;
INSERT INTO relationship_type (tenant_id, id, origin, key, related, reverse_key, cardinality, on_delete) OVERRIDING SYSTEM VALUE
VALUES (1, 1, 'PRODUCT', 'holds', 'PRODUCT', 'held_by', 'MANY_TO_MANY', 'RESTRICT'),
  (1, 2, 'PRODUCT', 'takes', 'PRODUCT', 'taken_by', 'MANY_TO_MANY', 'CASCADE'),
  (1, 3, 'PRODUCT', 'next', 'PRODUCT', 'previous', 'ONE_TO_ONE', 'CLOSE');
INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)
SELECT 1, gen_random_uuid(), 1, {HUB}, n, false, false FROM generate_series(2, {JOINS} + 1) n
UNION ALL SELECT 1, gen_random_uuid(), 2, n, {HUB}, false, false FROM generate_series(2, {JOINS} + 1) n
UNION ALL SELECT 1, gen_random_uuid(), 3, n, n + 1, true, true FROM generate_series(2, {JOINS}, 2) n;
INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, created_at, attributes, digest)
SELECT 1, id, '2026-01-01', '2026-01-01', '{{}}', gen_random_uuid() FROM relationship;
INSERT INTO relationship_effective
SELECT 1, id, '2026-01-01', 'infinity', type_id, origin_id, related_id, one_origin, one_related, '{{}}', gen_random_uuid()
FROM relationship;
"""


@pytest.fixture(scope="module", params=["ANALYZE", "SELECT 1"], ids=["analysed", "not analysed"])
def crowded(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with all of that in it; no test here keeps what it writes."""
    with shared_database(server, prepare_now(server, "relationship_plans", _fill)) as address:
        with asyncio.Runner() as runner:
            runner.run(_execute(address, request.param))
        yield address


async def _execute(address: str, statement: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute(statement)
    await owner.close()


async def _fill(address: str) -> None:
    owner = await asyncpg.connect(address)
    for table in ("asset", "asset_lifetime", "relationship", "relationship_version", "relationship_effective"):
        await owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    await owner.execute(_FILL)
    await owner.close()


@pytest.fixture
async def full(crowded: str) -> AsyncIterator[Database]:
    opened = Database(crowded, pool_size=1)
    yield opened
    await opened.close()


class looked:  # noqa: N801
    """Runs every statement within twice, once to see how: by which indexes joins were read, and how many rows of them."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine.sync_engine
        self.rows = 0
        self.indexes: set[str] = set()

    def __enter__(self) -> "looked":
        event.listen(self._engine, "before_cursor_execute", self._explain)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._explain)

    def _explain(self, _connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, _many: bool) -> None:
        if any(it in statement for it in ("set_config", "SAVEPOINT", "SET CONSTRAINTS", "INSERT INTO", "UPDATE ")):
            return
        explaining = context.root_connection.connection.cursor()
        context.dialect.do_execute(explaining, f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters)
        (answer,) = explaining.fetchall()[0]
        for node in _nodes((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]):
            if node.get("Relation Name") == "relationship_effective":
                assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node["Node Type"]
                removed = node.get("Rows Removed by Filter", 0)
                self.rows += round((node["Actual Rows"] + removed) * node["Actual Loops"])
                self.indexes |= {node["Index Name"]} if node["Actual Loops"] else set()
            elif node.get("Relation Name") in ("relationship", "asset", "asset_lifetime"):
                assert node["Node Type"] != "Seq Scan", node


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


async def test_a_page_costs_what_it_shows(full: Database) -> None:
    forward, reverse, both = DirectedTypeIds((1,), ()), DirectedTypeIds((), (2,)), DirectedTypeIds((1, 3), (2, 3))
    async with full.snapshot(1) as connection:
        for ways, index in ((forward, {"relationship_effective_forward"}), (reverse, {"relationship_effective_reverse"}),
                            (both, {"relationship_effective_forward", "relationship_effective_reverse"})):  # fmt: skip
            types = len(ways.forward) + len(ways.reverse)
            for page in (Page(10), Page(10, backward=True), Page(10, after=(MIDDLE,)), Page(10, backward=True, before=(MIDDLE,))):
                with looked(full) as explained:
                    (found,) = await relationship.related_to_assets(connection, [(HUB, day(1))], ways, page)
                assert len(found.items) == 10
                assert found.more
                assert explained.indexes == index
                assert explained.rows <= 11 * types
            first = (await relationship.relationships_of_assets(connection, [(HUB, day(1))], ways, Page(10)))[0].items
            place = relationship.cursor_key_at(HUB, first[-1])
            for page in (Page(10), Page(10, backward=True), Page(10, after=place), Page(5, backward=True, before=place)):
                with looked(full) as explained:
                    (joins,) = await relationship.relationships_of_assets(connection, [(HUB, day(1))], ways, page)
                assert len(joins.items) == page.size
                assert explained.indexes == index
                assert explained.rows <= (page.size + 3) * types


async def test_many_assets_at_once_are_looked_up_one_by_one(full: Database) -> None:
    around = [(number, day(1)) for number in range(2, 102)]
    ways = DirectedTypeIds((2, 3), (1, 3))
    async with full.snapshot(1) as connection:
        for ask in (
            partial(relationship.related_to_assets, page=Page(10)),
            partial(relationship.relationships_of_assets, page=Page(10)),
            relationship.count_related,
            relationship.count_relationships_of_assets,
        ):
            with looked(full) as explained:
                await ask(connection, around, ways)
            assert explained.indexes == {"relationship_effective_forward", "relationship_effective_reverse"}
            assert explained.rows == 300


async def test_what_is_said_of_one_beside_a_hub_looks_at_its_own_joins(full: Database) -> None:
    async with rolled_back(full) as connection:
        with looked(full) as explained:
            rows = await connection.fetch(
                statement("consistency/on_delete_targets"), {"subjects": [MIDDLE], "instants": [day(1)]}
            )
        assert {row.other_id for row in rows} == {HUB}
        assert explained.rows == 3
        (pair,) = await connection.fetch(
            text("SELECT id FROM relationship WHERE tenant_id = :tenant AND type_id = 3 AND origin_id = :origin"),
            {"origin": MIDDLE},
        )
        with looked(full) as explained:
            assert await connection.fetch(_CONFLICTS_AMONG, {"relationships": [pair.id]}) == []
        # itself, and itself as what may be beside it at either end
        assert explained.rows == 3
        with looked(full) as explained:
            stated = relationship.RelationshipState(
                "PRODUCT holds PRODUCT", AssetRef(uid=UUID(int=MIDDLE)), AssetRef(uid=UUID(int=HUB)), {"attributes": {}}, day(1)
            )
            await relationship.relate(connection, stated)
        assert explained.rows == 0
