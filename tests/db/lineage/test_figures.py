"""Figures of a tenant are read with a bounded number of rows, whatever it has, and without statistics of its rows."""

import math

import asyncpg
import pytest

from db.database import Database
from db.lineage.figures import MOST_COUNTED, SAMPLE, Spread, read_figures
from tests.builders import day
from tests.databases import prepare_scripts
from tests.db.plans import counted_work

PAIRS = 6_000

# Links between pairs of assets, each followed by one that has ended and led to a hub. The first of all leads to the hub, too.
_FILL = f"""
SET session_replication_role = replica;
ALTER TABLE lineage_link_effective SET (autovacuum_enabled = off);
INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata,
  digest)
SELECT 1, link_id, '{day(0)}', valid_to, source_id, target_id, 'DIRECT', 1, '{{}}', gen_random_uuid()
FROM (
  SELECT 0, CAST('infinity' AS timestamptz), 99, 1
  UNION ALL
  SELECT 2 * n, 'infinity', 100 + 2 * n, 101 + 2 * n FROM generate_series(1, {PAIRS}) n
  UNION ALL
  SELECT 2 * n + 1, '{day(1)}', 100 + 2 * n, 1 FROM generate_series(1, {PAIRS}) n
) link (link_id, valid_to, source_id, target_id);
"""


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_scripts(server, "figures", _FILL)


async def test_figures_are_read_with_a_bounded_number_of_rows(database: Database) -> None:
    with counted_work(database) as counted:
        async with database.snapshot(1, read_now=False) as connection:
            figures = await read_figures(connection)
    # a draw and the four degrees of its link read a few blocks each
    assert counted.total < MOST_COUNTED + 20 * SAMPLE, str(counted.work[0])
    # one drawn link leads to the hub, of which no more links are counted
    assert figures.upstream == Spread(math.ceil(10 * (1 + (MOST_COUNTED - 1) / SAMPLE)) / 10, 0.0)
    assert figures.downstream == Spread(1.0, 0.0)


# Logs: the numbers of the tenant's entries, and how many they are. Other tenants have the numbers between.
LOGS = [
    ("n FROM generate_series(1, 5000) n", 5_000),
    ("7 * n FROM generate_series(1, 9000) n", 9_000),
    # few entries far apart are all counted
    ("100000 * n FROM generate_series(1, 150) n", 150),
    # a load of many after a time of few
    ("CASE WHEN n <= 100 THEN 1000 * n ELSE 100000 + n END FROM generate_series(1, 40000) n", 40_000),
]


@pytest.mark.parametrize(("numbers", "length"), LOGS)
async def test_the_length_of_the_log_is_estimated_from_a_sample(
    address: str, database: Database, numbers: str, length: int
) -> None:
    owner = await asyncpg.connect(address)
    try:
        await owner.execute(
            "SET session_replication_role = replica;"
            "INSERT INTO change (tenant_id, seq, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)"
            " OVERRIDING SYSTEM VALUE"
            f" SELECT 1, seq, 'PRODUCT', 1, 'SET', now(), '{{}}', true, now(), 'ann' FROM (SELECT {numbers}) entry (seq)"
        )
    finally:
        await owner.close()
    with counted_work(database) as counted:
        async with database.snapshot(1, read_now=False) as connection:
            figures = await read_figures(connection)
    assert 0.9 * length <= figures.changes <= 1.1 * length
    # those of the links included
    assert counted.work[0].blocks.total() < MOST_COUNTED + 20 * SAMPLE, str(counted.work[0])
