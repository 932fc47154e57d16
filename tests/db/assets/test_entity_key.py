"""Tests of the form in which keys are compared: PostgreSQL and Python agree on it."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.assets.entity_key import compared_key, entity_uid_by_key

KEY = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"

_spelled = st.tuples(
    st.sampled_from(["", "urn:uuid:", "URN:UUID:", "uuid:"]),
    st.sampled_from(["", "{"]),
    st.sampled_from(
        [KEY, KEY.upper(), KEY.replace("-", ""), "6f96-19ff8b86d011b42d00cf4fc9-64ff", "6f9-619ff8b86d011b42d00cf4fc964ff"]
    ),
    st.sampled_from(["", "}", " ", "0", "\n"]),
).map("".join)


@pytest.mark.parametrize("key", [KEY.upper(), KEY.replace("-", ""), f"{{{KEY}}}", f"urn:uuid:{KEY}"])
def test_all_spellings_of_a_uuid_are_one_key(key: str) -> None:
    assert compared_key(key) == KEY
    assert entity_uid_by_key("PERSON", key) == entity_uid_by_key("PERSON", str(UUID(KEY)))


@pytest.mark.parametrize(
    "key", ["4101", f"{{{KEY}", f"{KEY}}}", f"{KEY}0", KEY[:-1], f" {KEY}", f"{KEY}\n", "urn:uuid:", "é" * 32]
)
def test_any_other_key_is_compared_as_it_is(key: str) -> None:
    assert compared_key(key) == key


@pytest.mark.random
async def test_the_database_compares_keys_alike(address: str) -> None:
    keys: list[str] = []

    @given(_spelled)
    def draw(key: str) -> None:
        keys.append(key)

    await asyncio.to_thread(draw)
    connection = await asyncpg.connect(address)
    try:
        rows = await connection.fetch(
            "SELECT compared_key(key) FROM unnest($1::text[]) WITH ORDINALITY AS k (key, n) ORDER BY n", keys
        )
    finally:
        await connection.close()
    assert [row[0] for row in rows] == list(map(compared_key, keys))
