"""Cursors: clients keep them, so a cursor of an earlier version has to stay valid.

A cursor contains a digest of the Python values that identify its list. Renaming a field of a query invalidates it, and so does
another secret.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from db.assets.entity_query import DetailCondition, EntityQuery
from db.assets.product_query import ProductQuery
from db.associations.lineage_link import LinkQuery
from db.lineage.walk import AssetFilter, Bounds, Direction, LinkFilter, WalkQuery
from db.temporal.change_query import ChangeQuery
from schema.associations.relationship import RelationshipDirection
from schema.language.cursors import CursorCipher
from schema.language.pagination import Keyset

CIPHER = CursorCipher(b"a secret that stays the same", 1)
UID = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101")
INSTANT = datetime(2026, 5, 1, tzinfo=UTC)
WALK = WalkQuery(Direction.UPSTREAM, 5, Bounds(), LinkFilter(types=("DIRECT",)), AssetFilter())


@pytest.mark.parametrize(
    ("identity", "cursor_key", "cursor"),
    [
        (
            ("products", ProductQuery(domains=("sales",), as_of=INSTANT)),
            ("orders", 7),
            "9ocd7ezAj4wXrA37XecqU_JECoD9VF29nqBN8XiqIyvIZYBakh4ndzZF",
        ),
        (
            ("entities", EntityQuery(details=(DetailCondition("email", contains="@"),))),
            ("Ann", 7),
            "UfLy4yZs2C8dHLXyuJA4Oi8xzLGF6x_i-71uYERUA0XRbmybkMqG",
        ),
        (("lineageLinks", LinkQuery(source=UID)), (7,), "2Qyzo8QI6-jT3M8E_u9WlK91PGM4R3oevcAUWV_9bg"),
        (
            ("changes", ChangeQuery(INSTANT, INSTANT)),
            (INSTANT, 1, 7),
            "_VetKgHiCXYSV2m1o8BL40W-BLSTxr_7iomloIE2agOGv5CNjMkvQVVTQ337T828kg",
        ),
        (("walk", UID, WALK), (INSTANT, 2, 7), "j8cOJrWF6O32dQkls6ZHJxkCf9OxBn1fchMKMAAiyCuISujCbYQMTCVUVcpfnuJkdA"),
        (
            ("relationships of", UID, None, RelationshipDirection("BOTH"), None),
            (1, 2, 3),
            "FexSwYo_1Lbl01vhbnBiOOE2HeiRlnwafrVRogBdsCbSbkxTbYx4Xc80TCO50OYtpw",
        ),
    ],
    ids=lambda it: it[0] if isinstance(it, tuple) and isinstance(it[0], str) else "",
)
def test_a_cursor_is_the_same_as_in_earlier_versions(identity: tuple[Any, ...], cursor_key: tuple[Any, ...], cursor: str) -> None:
    assert Keyset(CIPHER, *identity, key=[type(part) for part in cursor_key]).cursor(cursor_key) == cursor
