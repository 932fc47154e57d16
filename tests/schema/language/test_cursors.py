"""Sealing of cursors: they tell nothing of the ids that they hold, and only their tenant and service can open them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.language.cursors import DIGEST_SIZE, CursorCipher

SECRET = b"a secret of these tests"
DIGEST = b"list 1"
CIPHER = CursorCipher(SECRET, 1)

parts = st.lists(
    st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),
    max_size=4,
).map(tuple)


@pytest.mark.random
@given(parts, st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE))
def test_a_cursor_opens_to_what_it_was_made_of(values: tuple[Any, ...], digest: bytes) -> None:
    cursor = CIPHER.seal(digest, values)
    assert CIPHER.open(cursor) == (digest, values)
    # clients compare cursors
    assert CIPHER.seal(digest, values) == cursor


def test_the_length_of_a_cursor_does_not_depend_on_ids() -> None:
    ids = (0, 9, 10, 99_999, 10**9, 2**62)
    assert len({len(CIPHER.seal(DIGEST, ("orders", it))) for it in ids}) == 1
    # cursors of neighbours have nothing in common: the tag of a cursor is the initial vector of its encryption
    first, second = (CIPHER.seal(DIGEST, ("orders", it)) for it in (41, 42))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 12


@pytest.mark.parametrize("cipher", [CursorCipher(SECRET, 2), CursorCipher(b"another secret", 1)])
def test_a_cursor_of_another_tenant_or_secret_is_none(cipher: CursorCipher) -> None:
    assert CIPHER.open(cipher.seal(DIGEST, ("orders", 7))) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "====", "\u00e9", "\0", "WyJjYmU4MDE4MDQ1ZTEiLCJvcmRlcnMiLDdd", "A" * 100_000])
def test_other_text_is_no_cursor(text: str) -> None:
    assert CIPHER.open(text) is None


def test_a_cursor_has_one_spelling() -> None:
    # the last character has bits that the bytes do not need
    cursor = CIPHER.seal(DIGEST, (7, 7))
    assert len(cursor) % 4
    others = [cursor + "=", cursor + " ", cursor[:-1] + chr(ord(cursor[-1]) + 1), f"{cursor[:4]}\n{cursor[4:]}", f"!{cursor}"]
    assert [CIPHER.open(it) for it in others] == [None] * len(others)
