"""Figures of a tenant are read with a bounded number of rows, whatever it has, and without statistics of its rows."""

import math

import pytest

from db.database import Database
from db.lineage.figures import MOST, SAMPLE, Spread, read_figures
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
    assert counted.total < MOST + 20 * SAMPLE, str(counted.work[0])
    # one drawn link leads to the hub, of which no more links are counted
    assert figures.upstream == Spread(math.ceil(10 * (1 + (MOST - 1) / SAMPLE)) / 10, 0.0)
    assert figures.downstream == Spread(1.0, 0.0)
