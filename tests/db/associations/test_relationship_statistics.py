"""Relationships of many assets, beside statistics by which each asset has thousands of them: none reads all for each asset."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from db.associations.relationship import (
    count_related,
    count_relationships_of_assets,
    related_to_assets,
    relationships_of_assets,
)
from db.database import Database
from db.pagination import Page
from db.registries.relationship_type import DirectedTypeIds
from tests.builders import day
from tests.databases import prepare_scripts
from tests.db.plans import row_counts

RAYS = 5_000
ASSETS = 500
TYPES = DirectedTypeIds((1,), (1,))

# Each asset but the first is the origin of a relationship with the first, so ANALYZE counts one related end.
_FILL = f"""
SET session_replication_role = replica;
INSERT INTO asset (tenant_id, uid, kind) SELECT 1, gen_random_uuid(), 'PRODUCT' FROM generate_series(0, {RAYS});
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to) SELECT 1, id, '{day(0)}', 'infinity' FROM asset;
INSERT INTO relationship_type (tenant_id, id, origin, key, related, reverse_key, cardinality, on_delete) OVERRIDING SYSTEM VALUE
VALUES (1, 1, 'PRODUCT', 'takes', 'PRODUCT', 'taken_by', 'MANY_TO_MANY', 'CLOSE');
INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)
SELECT 1, gen_random_uuid(), 1, id, 1, false, false FROM asset WHERE id > 1;
INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, created_at, attributes, digest)
SELECT 1, id, '{day(0)}', '{day(0)}', '{{}}', gen_random_uuid() FROM relationship;
INSERT INTO relationship_effective
SELECT 1, id, '{day(0)}', 'infinity', type_id, origin_id, related_id, one_origin, one_related, '{{}}', gen_random_uuid()
FROM relationship;
"""


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_scripts(server, "relationship_statistics", _FILL, "VACUUM ANALYZE")


async def test_relationships_of_many_assets_are_found_by_their_ends(database: Database) -> None:
    async with database.snapshot(1) as connection:
        readings = [(asset_id, connection.now) for asset_id in range(2, ASSETS + 2)]
        reads: dict[str, Callable[[], Awaitable[Any]]] = {
            "related": partial(related_to_assets, connection, readings, TYPES, Page(10)),
            "count of related": partial(count_related, connection, readings, TYPES),
            "relationships": partial(relationships_of_assets, connection, readings, TYPES, Page(10)),
            "count of relationships": partial(count_relationships_of_assets, connection, readings, TYPES),
        }
        for name, read in reads.items():
            with row_counts(database) as counted:
                assert len(await read()) == ASSETS
            # each is found by one end, and perhaps read once more
            assert counted.rows_of("relationship_effective") <= 2 * ASSETS, name
