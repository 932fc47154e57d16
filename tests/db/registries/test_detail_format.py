"""Values that each detail format accepts and rejects. PostgreSQL has to be able to use every accepted value."""

import json
import math
import string
import unicodedata
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from db.database import Database
from db.registries.detail_format import EMAIL_LENGTH, FORMATS, NUMBER_LENGTH, VALUE_BYTES, format_error
from db.sql import text

GOOD: dict[str | None, list[str]] = {
    "email": [
        "ann@shop.example",
        "a@b",
        "ann@localhost",
        "Ann.Smith+orders@Shop.Example",
        "o'hara!#$%&'*+/=?^_`{|}~-@shop.example",
        "..@shop.example",
        "ann@xn--bcher-kva.example",
        "ann@1.2.3.4",
        "ann@" + "a" * 63 + ".example",
        "a" * (EMAIL_LENGTH - len("@shop.example")) + "@shop.example",
    ],
    "phone": [
        "112",
        "+493012345678",
        "+49 30 1234-567",
        "+49 (0)30 / 123.45.67",
        "(030) / 1234567",
        "(+49) 30 1234567",
        "+(49) 30 1234567",
        "+1 (555) 123-4567 x123",
        "555-1234x9",
        "555-1234 X 9",
        "555.1234 ext. 123",
        "555.1234, Ext 123",
        "123456789012345",
        "123456789012345 x1234567890",
    ],
    "uri": [
        "https://shop.example",
        "HTTPS://ann:secret@shop.example:8443/a/b;c=1/?q=%C3%A9&r=#/x?y",
        "http://[::1]/",
        "http://[2001:db8::ffff:192.0.2.1]:80/x",
        "http://[v7.fe80::1]/",
        "http://192.0.2.1",
        "http://shop.example:/",
        "http://b%C3%BCcher.example",
        "file:///etc/hosts",
        "mailto:ann@shop.example",
        "urn:isbn:0451450523",
        "arn:aws:s3:::bucket/key",
        "s3://bucket/a//b",
        "jdbc:postgresql://localhost/shop",
        "tel:+49-30-1234567",
        "x:/",
        "x:?q",
        "a+b-c.d:e",
        "http://shop.example//x",
    ],
    "date": ["2026-03-01", "2024-02-29", "0001-01-01", "9999-12-31"],
    "number": [
        "0",
        "-0",
        "1250",
        "-3.5e2",
        "1E+5",
        "1e-5",
        "0.1",
        "1e0005",
        "1.7976931348623157e308",
        "4.9e-324",
        "0e9999",
        "0e-9999",
        "0.000e-400",
        "9" * NUMBER_LENGTH,
    ],
    "text": [
        "x",
        "two\nlines\tand a tab\r\n.",
        "Größe der Straße",
        "東京",
        "🙂",
        "—",
        "“quoted”",
        "a\u200bb",
        "{}",
        "a" * VALUE_BYTES,
        "é" * (VALUE_BYTES // 2),
    ],
}

BAD: dict[str | None, list[str]] = {
    "email": [
        "ann",
        "@shop.example",
        "ann@",
        "ann@@shop.example",
        "ann smith@shop.example",
        "ann@shop..example",
        "ann@.example",
        "ann@shop.example.",
        "ann@-shop.example",
        "ann@shop-.example",
        "ann@shop_.example",
        "ann@" + "a" * 64 + ".example",
        "änn@shop.example",
        "ann@bücher.example",
        "Ann <ann@shop.example>",
        '"ann"@shop.example',
        "ann@[192.0.2.1]",
        "ann@shop.example,bob@shop.example",
        "a" * (EMAIL_LENGTH - len("@shop.example") + 1) + "@shop.example",
        "ann@shop.example\n",
    ],
    "phone": [
        "12",
        "(1) 2",
        "1234567890123456",
        "+",
        "++49 30 123",
        "49+30 123",
        "call me",
        "1-800-FLOWERS",
        "-030 123",
        "030 123-",
        "030 (123",
        "030) 123",
        "(030",
        "030 () 123",
        "030 x",
        "x123",
        "030 123 x12345678901",
        "030    123",
        "030\t123",
        "٠٣٠١٢٣٤",
        "030\u00a0123",
    ],
    "uri": [
        "shop.example",
        "/orders",
        "//shop.example",
        "?q",
        "http:",
        "http://",
        ":x",
        "1http://shop.example",
        "ht tp://shop.example",
        "http://shop.example/a b",
        "http://shop.example/%",
        "http://shop.example/%2",
        "http://shop.example/%zz",
        "http://shop.example/a#b#c",
        "http://ann@bob@shop.example",
        "http://shop.example:80a/",
        "http://shop.example:80:80/",
        "http://[::1",
        "http://::1]/",
        "http://[::1::2]/",
        "http://[12345::]/",
        "http://[1.2.3.4]/",
        "http://[v7]/",
        "http://shop.example/[x]",
        "http://shop.example/<x>",
        "C:\\orders",
        "http://bücher.example",
        "http://shop.example/\u2028",
    ],
    "date": [
        "2026-02-29",
        "1900-02-29",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-04-31",
        "0000-01-01",
        "10000-01-01",
        "-2026-01-01",
        "2026-1-1",
        "20260301",
        "2026-W09-7",
        "2026-060",
        "2026/03/01",
        "01.03.2026",
        "2026-03-01T00:00:00Z",
        "２０２６-03-01",
        "today",
    ],
    "number": [
        "+1",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1,5",
        "1_000",
        "0x10",
        "1 000",
        "٣",
        "NaN",
        "Infinity",
        "-Infinity",
        "inf",
        "true",
        '"1"',
        "1e309",
        "-1e309",
        "1e-400",
        "0.001e-330",
        "1e99999",
        "0e99999",
        "0e-99999",
        "9" * (NUMBER_LENGTH + 1),
    ],
    "text": ["\u200b", "\ufeff\u200d", "bell\x07", "escape\x1b[0m", "vertical\x0btab", "delete\x7f", "next\x85line"],
}
# Values that every format rejects, each with a word of the error.
BAD_IN_EVERY_FORMAT = {
    "": "empty",
    " ": "empty",
    "\t\n": "empty",
    "\u3000": "empty",
    " padded": "spaces",
    "padded ": "spaces",
    "padded\n": "spaces",
    "\u00a0padded": "spaces",
    "nul\0": "NUL",
    "half \ud83d pair": "surrogate",
    "a" * (VALUE_BYTES + 1): "2000 bytes",
    "é" * (VALUE_BYTES // 2) + "x": "2000 bytes",
    "🙂" * (VALUE_BYTES // 4 + 1): "2000 bytes",
}

GOOD[None], BAD[None] = GOOD["text"], BAD["text"]


def cases(table: dict[str | None, list[str]]) -> list[tuple[str | None, str]]:
    return [(format_, value) for format_, values in table.items() for value in values]


def test_the_cases_cover_every_format() -> None:
    assert set(GOOD) == set(BAD) == {*FORMATS, None}


@pytest.mark.parametrize(("format_", "value"), cases(GOOD))
def test_a_valid_value_has_no_error(format_: str | None, value: str) -> None:
    assert format_error(format_, value) is None


@pytest.mark.parametrize(("format_", "value"), cases(BAD))
def test_an_invalid_value_has_an_error_that_ends_a_sentence(format_: str | None, value: str) -> None:
    error = format_error(format_, value)
    assert error is not None
    assert error.endswith(".")


@pytest.mark.parametrize("format_", [*FORMATS, None])
@pytest.mark.parametrize(("value", "reason"), BAD_IN_EVERY_FORMAT.items())
def test_the_error_of_a_value_that_every_format_rejects_names_the_reason(format_: str | None, value: str, reason: str) -> None:
    assert reason in str(format_error(format_, value))


@pytest.mark.parametrize("format_", ["email", "phone", "uri", "date", "number"])
def test_only_text_may_have_several_lines(format_: str) -> None:
    one = GOOD[format_][0]
    assert "control" in str(format_error(format_, f"{one}\n{one}"))
    assert format_error("text", f"{one}\n{one}") is None


@given(st.emails())
@pytest.mark.random
def test_an_email_address_is_valid_unless_it_is_too_long(value: str) -> None:
    assert (format_error("email", value) is None) == (len(value) <= EMAIL_LENGTH)


@given(st.integers(0, 10_000), st.integers(0, 13), st.integers(0, 32))
@pytest.mark.random
def test_a_date_is_valid_if_the_calendar_has_it(year: int, month: int, day: int) -> None:
    try:
        exists = bool(date(year, month, day))
    except ValueError:
        exists = False
    assert (format_error("date", f"{year:04}-{month:02}-{day:02}") is None) == exists


@given(st.text("0123456789+-.eE", min_size=1, max_size=6) | st.floats(allow_nan=False, allow_infinity=False).map(repr))
@pytest.mark.random
def test_a_number_is_valid_if_json_reads_it_as_a_double(value: str) -> None:
    try:
        number = float(json.loads(value))
    except ValueError:
        number = math.nan
    is_double = math.isfinite(number) and (number != 0 or Decimal(value) == 0)
    assert (format_error("number", value) is None) == is_double


URI_CHARACTERS = string.ascii_letters + string.digits + "-._~!$&'()*+,;="
ESCAPES = ["%20", "%C3", "%a9"]


def parts(more: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from([*URI_CHARACTERS, *more, *ESCAPES]), max_size=8).map("".join)


uris = st.tuples(
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9+.-]{0,5}", fullmatch=True),
    st.just(":"),
    st.one_of(
        st.tuples(
            st.just("//"),
            st.just("") | parts(":").map(lambda it: f"{it}@"),
            st.sampled_from(["[::1]", "[1:2:3:4:5:6:7:8]", "[v1.x:y]", "192.0.2.1"]) | parts(""),
            st.just("") | st.integers(0, 99_999).map(lambda it: f":{it}"),
            st.just("") | parts(":@/").map(lambda it: f"/{it}"),
        ).map("".join),
        parts(":@/").filter(lambda it: not it.startswith("//")),
    ),
    st.just("") | parts(":@/?").map(lambda it: f"?{it}"),
    st.just("") | parts(":@/?").map(lambda it: f"#{it}"),
).map("".join)


@given(uris, st.data())
@pytest.mark.random
def test_a_uri_of_the_grammar_is_valid_until_another_character_is_inserted(value: str, data: st.DataObject) -> None:
    assume(not value.endswith((":", "://")))
    assert format_error("uri", value) is None
    index = data.draw(st.integers(0, len(value)))
    foreign = data.draw(st.sampled_from(' "<>\\^`{|}é%\x00\n'))
    assert format_error("uri", value[:index] + foreign + "%" + value[index:]) is not None


@given(st.text() | st.text(" \t\n\r\x0b\x1c\x85\u00a0\u200b\u0301a1-é東", max_size=4))
@pytest.mark.random
def test_text_is_valid_if_it_is_visible_and_storable(value: str) -> None:
    kinds = {unicodedata.category(character) for character in value if character not in "\t\n\r"}
    is_valid = value == value.strip() and not kinds & {"Cc", "Cs"} and any(kind[0] in "LNPS" for kind in kinds)
    assert (format_error("text", value) is None) == is_valid


@pytest.mark.parametrize("format_", [*FORMATS, None])
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "-",
        "a-",
        "a.",
        "a@",
        "(",
        "(1",
        "(1)",
        "1 ",
        "1",
        "+",
        "0.",
        "1e",
        "%41",
        "%",
        "a:",
        "a/",
        "?",
        "[",
        "::",
        "\t",
        "é",
        " a",
    ],
)
def test_no_crafted_value_makes_an_expression_backtrack(format_: str | None, piece: str) -> None:
    """An expression that tried every way to match one of these values would not end."""
    for start in ("", "a@", "+", "http://", "x:", "0.", "1e", "2026-"):
        for end in ("", "!", "@", "\0", " x", "]", "%"):
            # the greatest lengths that formats allow
            for length in (NUMBER_LENGTH, EMAIL_LENGTH, VALUE_BYTES):
                error = format_error(format_, (start + piece * length)[: length - len(end)] + end)
                assert error is None or error.endswith(".")
    assert format_error(format_, piece * 100_000) is not None


async def test_postgresql_reads_every_valid_number(database: Database) -> None:
    """Numbers are indexed as doubles and compared as numerics."""
    statement = text(
        "SELECT CAST(n AS double precision) AS double, CAST(n AS numeric) AS exact"
        " FROM unnest(CAST(:numbers AS text[])) AS n, tenant WHERE tenant_id = CAST(:tenant AS bigint)"
    )
    async with database.snapshot(1) as connection:
        rows = await connection.fetch(statement, {"numbers": GOOD["number"]})
    assert [row.double for row in rows] == [float(number) for number in GOOD["number"]]
    assert [row.exact for row in rows] == [Decimal(number) for number in GOOD["number"]]
