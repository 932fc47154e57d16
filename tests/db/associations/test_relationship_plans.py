"""Plans around an asset with tens of thousands of relationships: a page and a write read only the rows that they need."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.assets.reference import AssetRef
from db.associations import relationship
from db.associations.order import AssociationOrder, cursor_key
from db.consistency.cardinality import _CONFLICTS_AMONG
from db.database import Database
from db.pagination import Page
from db.registries.relationship_type import DirectedTypeIds
from db.rows import Row
from db.sql import statement, text
from db.temporal.history import histories
from db.temporal.kinds import RELATIONSHIP
from tests.builders import day
from tests.databases import prepare_scripts, shared_database
from tests.db.plans import rolled_back
from tests.hooks import AttachedHook, belongs_to_session, explain

pytestmark = [pytest.mark.slow(10), pytest.mark.xdist_group("relationship plans")]

RELATIONSHIPS = 20_000
HUB = 1
# an asset in the middle of those related to the hub
MIDDLE = RELATIONSHIPS // 2

FORWARD_INDEX, REVERSE_INDEX = "relationship_effective_forward", "relationship_effective_reverse"

_TABLES = ("asset", "asset_lifetime", "change", "relationship", "relationship_version", "relationship_effective")
_KEEP_STATISTICS = "; ".join(f"ALTER TABLE {table} SET (autovacuum_enabled = off)" for table in _TABLES)

# The hub is the origin of every relationship of the first type, and the related end of every one of the second. Relationships of
# the third type pair the other assets.
_FILL = f"""
SET session_replication_role = replica;
ALTER TABLE relationship_effective DROP CONSTRAINT relationship_effective_overlap;
INSERT INTO asset (tenant_id, id, uid, kind) OVERRIDING SYSTEM VALUE
SELECT 1, n, CAST(lpad(to_hex(n), 32, '0') AS uuid), 'PRODUCT' FROM generate_series(1, {RELATIONSHIPS} + 1) n;
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to) SELECT 1, id, '2026-01-01', 'infinity' FROM asset;
INSERT INTO relationship_type (tenant_id, id, origin, key, related, reverse_key, cardinality, on_delete) OVERRIDING SYSTEM VALUE
VALUES (1, 1, 'PRODUCT', 'holds', 'PRODUCT', 'held_by', 'MANY_TO_MANY', 'RESTRICT'),
  (1, 2, 'PRODUCT', 'takes', 'PRODUCT', 'taken_by', 'MANY_TO_MANY', 'CASCADE'),
  (1, 3, 'PRODUCT', 'next', 'PRODUCT', 'previous', 'ONE_TO_ONE', 'CLOSE');
INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)
SELECT 1, gen_random_uuid(), 1, {HUB}, n, false, false FROM generate_series(2, {RELATIONSHIPS} + 1) n
UNION ALL SELECT 1, gen_random_uuid(), 2, n, {HUB}, false, false FROM generate_series(2, {RELATIONSHIPS} + 1) n
UNION ALL SELECT 1, gen_random_uuid(), 3, n, n + 1, true, true FROM generate_series(2, {RELATIONSHIPS}, 2) n;
INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, created_at, attributes, digest)
SELECT 1, id, '2026-01-01', '2026-01-01', '{{}}', gen_random_uuid() FROM relationship;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT 1, 'RELATIONSHIP', id, 'SET', '2026-01-01', '{{}}', true, '2026-01-01', 'writer' FROM relationship;
INSERT INTO relationship_effective
SELECT 1, id, '2026-01-01', 'infinity', type_id, origin_id, related_id, one_origin, one_related, '{{}}', gen_random_uuid()
FROM relationship;
"""


@pytest.fixture(scope="module", params=["ANALYZE", "SELECT 1"], ids=["with statistics", "without statistics"])
def filled_address(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with these rows. The tests of this module roll back what they write."""
    with shared_database(server, prepare_scripts(server, "relationship_plans", _KEEP_STATISTICS, _FILL)) as address:
        with asyncio.Runner() as runner:
            runner.run(_execute(address, request.param))
        yield address


async def _execute(address: str, statement: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute(statement)
    await owner.close()


@pytest.fixture
async def filled(filled_address: str) -> AsyncIterator[Database]:
    opened = Database(filled_address, pool_size=1)
    yield opened
    await opened.close()


class analyzed(AttachedHook):  # noqa: N801
    """Context manager that also analyzes every statement within it: the indexes by which it reads relationships, and the rows."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.rows = 0
        self.indexes: set[str] = set()

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if not belongs_to_session(text) and not any(writes in text for writes in ("INSERT INTO", "UPDATE ")):
            self._count(await explain(connection, text, arguments, "ANALYZE, TIMING OFF, FORMAT JSON"))
        return await super().before(connection, text, arguments)

    def _count(self, plan: dict[str, Any]) -> None:
        for node in _nodes(plan):
            if node.get("Relation Name") == "relationship_effective":
                assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node["Node Type"]
                removed = node.get("Rows Removed by Filter", 0)
                self.rows += round((node["Actual Rows"] + removed) * node["Actual Loops"])
                self.indexes |= {node["Index Name"]} if node["Actual Loops"] else set()
            elif node.get("Relation Name") in ("relationship", "relationship_version", "change", "asset", "asset_lifetime"):
                assert node["Node Type"] != "Seq Scan", node


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


async def test_a_page_reads_only_the_rows_that_it_may_show(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        for types, indexes in (
            (DirectedTypeIds((1,), ()), {FORWARD_INDEX}),
            (DirectedTypeIds((), (2,)), {REVERSE_INDEX}),
            (DirectedTypeIds((1, 3), (2, 3)), {FORWARD_INDEX, REVERSE_INDEX}),
        ):
            type_count = len(types.forward) + len(types.reverse)
            for page in (Page(10), Page(10, backward=True), Page(10, after=(MIDDLE,)), Page(10, backward=True, before=(MIDDLE,))):
                with analyzed(filled) as plan:
                    (related,) = await relationship.related_to_assets(connection, [(HUB, day(1))], types, page)
                assert len(related.items) == 10
                assert related.more
                assert plan.indexes == indexes
                assert plan.rows <= 11 * type_count
            first = (await relationship.relationships_of_assets(connection, [(HUB, day(1))], types, Page(10)))[0].items
            last_key = relationship.cursor_key_at(HUB, first[-1])
            for page in (Page(10), Page(10, backward=True), Page(10, after=last_key), Page(5, backward=True, before=last_key)):
                with analyzed(filled) as plan:
                    (relationships,) = await relationship.relationships_of_assets(connection, [(HUB, day(1))], types, page)
                assert len(relationships.items) == page.size
                assert plan.indexes == indexes
                assert plan.rows <= (page.size + 3) * type_count


async def test_reads_of_many_assets_look_each_up_by_an_index(filled: Database) -> None:
    readings = [(asset_id, day(1)) for asset_id in range(2, 102)]
    types = DirectedTypeIds((2, 3), (1, 3))
    async with filled.snapshot(1) as connection:
        for read in (
            partial(relationship.related_to_assets, page=Page(10)),
            partial(relationship.relationships_of_assets, page=Page(10)),
            relationship.count_related,
            relationship.count_relationships_of_assets,
        ):
            with analyzed(filled) as plan:
                await read(connection, readings, types)
            assert plan.indexes == {FORWARD_INDEX, REVERSE_INDEX}
            assert plan.rows == 300


# A database that was never analyzed reads a list by any index. test_new_tenant has tenants without statistics.
@pytest.mark.parametrize("filled_address", ["ANALYZE"], ids=["with statistics"], indirect=True)
async def test_a_list_in_any_order_reads_its_page_by_an_index(filled: Database) -> None:
    indexes = {
        AssociationOrder.RECORDED: "relationship_effective_pkey",
        AssociationOrder.UPDATED_AT: "relationship_effective_starts",
    }
    async with filled.snapshot(1) as connection:
        for order, descending in product(AssociationOrder, (False, True)):
            query = relationship.RelationshipQuery(order=order, descending=descending, as_of=day(1))
            page = await relationship.list_relationships(connection, query, Page(10))
            for after in (None, cursor_key(RELATIONSHIP, page.items[-1], order)):
                with analyzed(filled) as plan:
                    found = await relationship.list_relationships(connection, query, Page(10, after=after))
                assert len(found.items) == 10
                assert plan.indexes == {indexes[order]}
                assert plan.rows <= 12


async def test_histories_look_each_relationship_up_by_an_index(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        found = await relationship.list_relationships(connection, relationship.RelationshipQuery(as_of=day(1)), Page(100))
        ids = [it.relationship_id for it in found.items]
        with analyzed(filled) as plan:
            pages = await histories(connection, ids, RELATIONSHIP, Page(10))
            await relationship.relationship_records(connection, [(it.relationship_id, it.valid_from) for it in found.items])
        assert [len(it.items) for it in pages] == [1] * 100
        # the period itself, and twice the first period of its relationship
        assert plan.rows == 300


async def test_a_write_beside_the_hub_reads_only_the_relationships_of_its_own_asset(filled: Database) -> None:
    async with rolled_back(filled) as connection:
        with analyzed(filled) as plan:
            rows = await connection.fetch(
                statement("consistency/on_delete_targets"), {"subjects": [MIDDLE], "instants": [day(1)]}
            )
        assert {row.other_id for row in rows} == {HUB}
        assert plan.rows == 3
        (pair,) = await connection.fetch(
            text("SELECT id FROM relationship WHERE tenant_id = :tenant AND type_id = 3 AND origin_id = :origin"),
            {"origin": MIDDLE},
        )
        with analyzed(filled) as plan:
            assert await connection.fetch(_CONFLICTS_AMONG, {"relationships": [pair.id]}) == []
        # the relationship itself, and once more as a possible rival at either end
        assert plan.rows == 3
        with analyzed(filled) as plan:
            ends = AssetRef(uid=UUID(int=MIDDLE)), AssetRef(uid=UUID(int=HUB))
            state = relationship.RelationshipState("PRODUCT holds PRODUCT", *ends, {"attributes": {}}, day(1))
            await relationship.relate(connection, state)
        assert plan.rows == 0
