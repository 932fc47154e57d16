"""Cursors: clients keep them, so a cursor of an earlier version has to stay valid.

A cursor contains a digest of the Python values that identify its list. Renaming a field of a query invalidates it.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from db.assets.entity_query import DetailCondition, EntityQuery
from db.assets.product_query import ProductQuery
from db.associations.lineage_link import LinkQuery
from db.lineage.walk import AssetFilter, Bounds, Direction, LinkFilter, WalkQuery
from db.temporal.changes import ChangeQuery
from schema.associations.relationship import RelationshipDirection
from schema.language.pagination import Keyset

UID = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101")
INSTANT = datetime(2026, 5, 1, tzinfo=UTC)
WALK = WalkQuery(Direction.UPSTREAM, 5, Bounds(), LinkFilter(types=("DIRECT",)), AssetFilter())


@pytest.mark.parametrize(
    ("identity", "cursor_key", "cursor"),
    [
        (("products", ProductQuery(domains=("sales",), as_of=INSTANT)), ("orders", 7), "WyJjYmU4MDE4MDQ1ZTEiLCJvcmRlcnMiLDdd"),
        (
            ("entities", EntityQuery(details=(DetailCondition("email", contains="@"),))),
            ("Ann", 7),
            "WyJhZDQ2OWVmNGM2OWEiLCJBbm4iLDdd",
        ),
        (("lineageLinks", LinkQuery(source=UID)), (7,), "WyI1YTVmMzg3OWZiYTAiLDdd"),
        (
            ("changes", ChangeQuery(INSTANT, INSTANT)),
            (INSTANT, 7),
            "WyJiNzBiNDZmZjY2ZDgiLCIyMDI2LTA1LTAxVDAwOjAwOjAwWiIsN10",
        ),
        (("walk", UID, WALK), (INSTANT, 2, 7), "WyI1NzMyYTBiMzFhYjQiLCIyMDI2LTA1LTAxVDAwOjAwOjAwWiIsMiw3XQ"),
        (
            ("relationships of", UID, None, RelationshipDirection("BOTH"), None),
            (1, 2, 3),
            "WyIxMTkxZTcxY2YwNGMiLDEsMiwzXQ",
        ),
    ],
    ids=lambda it: it[0] if isinstance(it, tuple) and isinstance(it[0], str) else "",
)
def test_a_cursor_is_the_same_as_in_earlier_versions(identity: tuple[Any, ...], cursor_key: tuple[Any, ...], cursor: str) -> None:
    assert Keyset(*identity, key=[type(part) for part in cursor_key]).cursor(cursor_key) == cursor
