"""Parsing of CSV files of entities: rows, errors that name line and column, and bounded memory."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.assets.asset import IdentitySpec
from db.assets.entity_key import entity_uid_by_key
from db.errors import BadInput
from graph_api.ingestion.csv_lines import ROW_LENGTH
from graph_api.ingestion.entity_csv import COLUMNS, EntityFile
from graph_api.ingestion.row import EntityState, Row, RowError
from graph_api.ingestion.uids import entity_uid

UID = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101")
KEYLESS = [it for it in COLUMNS if "key" not in it]
HEADER = b"entity_uid,display_name,entity_type,details,change_ts\n"
KEYS = b"entity_uid,display_name,entity_type,key,alternate_keys\n"
GOOD = b",Bo,PERSON,,\n"


def read(content: bytes) -> list[Row | RowError]:
    return list(EntityFile(io.BytesIO(content)))


class Person(NamedTuple):
    """The statement of a row with its line."""

    line: int
    uid: UUID | None
    display_name: str
    entity_type: str | None
    details: dict[str, str]
    at: datetime | None


def person(row: Row | RowError) -> Person:
    assert isinstance(row, Row), row
    assert isinstance(row.statement, EntityState)
    state = row.statement
    return Person(row.line, state.ref.uid, state.display_name, state.ref.type, state.details, state.at)


def rows(content: bytes) -> list[Person]:
    return [person(it) for it in read(content)]


def errors(content: bytes) -> list[RowError]:
    return [it for it in read(content) if isinstance(it, RowError)]


def test_a_row_is_parsed() -> None:
    detail = '[{""detail_type"": ""email"", ""detail_value"": ""ann@shop.example""}]'
    (row,) = rows(HEADER + f'{UID},Ann,PERSON,"{detail}",2025-03-01T13:00:00.5+01:00\n'.encode())
    assert row == Person(2, UID, "Ann", "PERSON", {"email": "ann@shop.example"}, datetime(2025, 3, 1, 12, 0, 0, 500_000, UTC))


def test_an_entity_is_identified_by_its_key_unless_it_has_a_uid() -> None:
    found = read(KEYS + f',Ann,PERSON,7,"[""K-7"", ""k7""]"\n{UID},Ann,PERSON,7,\n,Ann,PERSON,, \n'.encode())
    by_key = IdentitySpec(None, "PERSON", "7", entity_uid_by_key("PERSON", "7"))
    by_name = IdentitySpec(entity_uid("PERSON", "Ann"), "PERSON")
    assert [it.statement for it in found if isinstance(it, Row)] == [
        EntityState(by_key, "Ann", {}, keys=["7", "K-7", "k7"]),
        EntityState(IdentitySpec(UID, "PERSON", "7"), "Ann", {}, keys=["7"]),
        EntityState(by_name, "Ann", {}),
    ]


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        (',"[""a""]"', "alternate_keys", "alternate_keys needs a key, which is the primary one."),
        ("7,K-7", "alternate_keys", "The cell is not JSON"),
        ("7,[7]", "alternate_keys", "The cell is not a JSON list of texts"),
        ('7,"[""7""]"', "alternate_keys", "A key is given twice."),
        (f"{'7' * 501},", "key", "key has 501 characters. At most 500 are allowed."),
        (f'7,"{json.dumps([str(it) for it in range(30)]).replace(chr(34), chr(34) * 2)}"', "alternate_keys", "There are 31 keys"),
    ],
)
def test_the_error_of_a_key_names_its_column(cells: str, column: str, reason: str) -> None:
    (error,) = errors(KEYS + f",Ann,PERSON,{cells}\n".encode())
    assert (error.line, error.field, error.code) == (2, column, "BAD_INPUT")
    assert reason in error.message


def test_columns_may_have_any_order_and_spaces_around_and_optional_ones_may_be_absent() -> None:
    assert rows(b"change_ts, entity_type ,display_name\n2025-03-01,ORDER,No. 7\n") == [
        Person(2, entity_uid("ORDER", "No. 7"), "No. 7", "ORDER", {}, datetime(2025, 3, 1, tzinfo=UTC))
    ]
    assert rows(b'"display_name","entity_type"\nAnn,PERSON') == [
        Person(2, entity_uid("PERSON", "Ann"), "Ann", "PERSON", {}, None)
    ]


@pytest.mark.parametrize("empty", ["", "[]", " ", '" "', '"[ ]"'])
def test_a_blank_cell_and_an_empty_list_are_no_details(empty: str) -> None:
    (row,) = rows(HEADER + f",Ann,PERSON,{empty},\n".encode())
    assert row.details == {}


def test_byte_order_marks_both_line_endings_blank_lines_and_a_missing_last_line_ending_are_accepted() -> None:
    unix = b"\n" + HEADER + b"\n,Ann,PERSON,,\n\n   \n,Bo,PERSON,,"
    expected = [(4, "Ann"), (7, "Bo")]
    for content in (unix, unix.replace(b"\n", b"\r\n")):
        assert [(row.line, row.display_name) for row in rows(content)] == expected
        assert [(row.line, row.display_name) for row in rows(b"\xef\xbb\xbf" + content)] == expected


def test_a_quoted_cell_may_hold_commas_quotes_and_line_ends_and_the_line_of_a_row_is_its_first() -> None:
    first, second, third = rows(HEADER + b',"Ann, ""the\r\nfirst""\n",PERSON,,\n,Bo,PERSON,"[\n]",\n' + GOOD)
    assert (first.line, first.display_name) == (2, 'Ann, "the\r\nfirst"\n')
    assert (second.line, third.line) == (5, 7)


def test_a_derived_uid_is_stable_and_separates_type_from_name() -> None:
    assert entity_uid("PERSON", "Ann") == UUID("3ad1c123-a721-5b8a-acbd-5d38b22676c7")
    assert entity_uid("PERSON", "Ann") != entity_uid("PERSONA", "nn")


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (b",Ann,PERSON", "details", "3 of 5 cells; missing: details, change_ts"),
        (b",Ann,PERSON,,,,", None, "7 of 5 cells"),
        (b",Ann,PERSON,[1,2],", None, "6 of 5 cells. Quote a cell that holds a comma."),
        (b',Ann,PERSON,[{"detail_type":"a","detail_value":"b"}],', "change_ts", "as a whole, and double each quote in it"),
        (b",,PERSON,,", "display_name", "empty"),
        (b", \t,PERSON,,", "display_name", "empty"),
        (b",Ann,,,", "entity_type", "empty"),
        (b"12,Ann,PERSON,,", "entity_uid", "'12' is not a UUID"),
        (b',Ann,PERSON,"[{",', "details", "not JSON"),
        (b',Ann,PERSON,"[{""detail_type"" 1}]",', "details", "at character 17"),
        (b',Ann,PERSON,"[NaN]",', "details", "at character 2"),
        (b",Ann,PERSON,{},", "details", "not a JSON list of objects"),
        (b",Ann,PERSON,null,", "details", "not a JSON list of objects"),
        (b",Ann,PERSON,[[]],", "details", "Item 1 of the list"),
        (b',Ann,PERSON,"[{""detail_type"":""a""}]",', "details", "Item 1 of the list"),
        (b',Ann,PERSON,"[{""detail_type"":""a"",""detail_value"":1}]",', "details", "Item 1 of the list"),
        (b',Ann,PERSON,"[{""detail_type"":""a"",""value"":""b""}]",', "details", "Item 1 of the list"),
        (
            b',Ann,PERSON,"[{""detail_type"":""a"",""detail_value"":""b""},{""detail_type"":""a"",""detail_value"":""c"",""x"":1}]",',
            "details",
            "Item 2 of the list",
        ),
        (
            b',Ann,PERSON,"[{""detail_type"":""a"",""detail_value"":""b""},{""detail_type"":""a"",""detail_value"":""b""}]",',
            "details",
            "two details of the type 'a'",
        ),
        (b",Ann,PERSON,,2025-03-01T12:00:00", "change_ts", "no UTC offset"),
        (b",Ann,PERSON,,2025-03-01T12:00:00.1234567Z", "change_ts", "finer than a microsecond"),
        (b",Ann,PERSON,,yesterday", "change_ts", "not an instant"),
        (b",Ann,PERSON,,2025-02-30", "change_ts", "not an instant"),
        (b",A\xffnn,PERSON,,", "display_name", "byte 0xFF"),
        (b",Ann,PERSON,\xc3,", "details", "byte 0xC3"),
        (b",Ann,PERS\xed\xa0\x80ON,,", "entity_type", "byte 0xED"),
        (b",Ann\0,PERSON,,", "display_name", "NUL"),
        (b',"Ann"a,PERSON,,', "display_name", "follows the closing quote"),
        (b',Ann,PERSON,"[]" ,', "details", "follows the closing quote"),
        (b",Ann,PER\rSON,,", "entity_type", "carriage return stands alone"),
        (b",Ann,PERSON," + b"x" * 131_073 + b",", "details", "longer than 131072 characters"),
        (b',Ann,PERSON,"' + b"x" * 131_073 + b'",', "details", "longer than 131072 characters"),
        (b",Ann,PERSON," + b"x" * ROW_LENGTH + b"x,", None, f"longer than {ROW_LENGTH} bytes"),
        (b",Ann,PERSON" + b"," * ROW_LENGTH + b",", None, f"longer than {ROW_LENGTH} bytes"),
    ],
    ids=lambda it: repr(it[:40]) if isinstance(it, bytes) else None,
)
def test_an_error_names_line_column_and_reason_and_other_rows_are_unaffected(row: bytes, column: str | None, reason: str) -> None:
    for end in (b"\n", b"\r\n"):
        before, error, after = read(HEADER + GOOD + row + end + GOOD)
        assert isinstance(error, RowError)
        assert (error.line, error.field) == (3, column)
        assert reason in error.message
        assert "\n" not in str(error)
        assert len(error.message) < 500
        assert [person(before), person(after)] == [
            Person(line, entity_uid("PERSON", "Bo"), "Bo", "PERSON", {}, None) for line in (2, 4)
        ]


def test_a_quote_that_is_not_closed_affects_only_its_own_row() -> None:
    for rest in (GOOD + b',Cy,PERSON,"[]",\n', GOOD * 2, GOOD * 20_000):
        error, *others = read(HEADER + b',"Ann,PERSON,,\n' + rest)
        assert isinstance(error, RowError)
        assert (error.line, error.field) == (2, "display_name")
        assert [it.line for it in others] == list(range(3, 3 + rest.count(b"\n")))
        assert all(isinstance(it, Row) for it in others)


def test_lines_skipped_because_of_open_quotes_are_named() -> None:
    found = errors(HEADER + b',"Ann,PERSON,,\n,"Bo,PERSON,,\n,"Cy,PERSON,,\n')
    assert [(it.line, "are skipped with it" in it.message) for it in found] == [(2, False), (3, True)]
    assert "lines up to 4" in found[1].message
    first, *others = read(HEADER + (b'"' + b"a" * 100_000 + b'\n",') * 11 + b"\n" + GOOD)
    assert isinstance(first, RowError)
    assert "lines up to 12" in first.message
    assert [(it.line, type(it)) for it in others] == [(13, RowError), (14, Row)]


def test_lines_are_read_twice_at_most_whatever_quotes_are_open() -> None:
    assert len(read(HEADER + b'a","\n' * 50_000 + b'"x"y\n')) <= 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: The file is empty"),
        (b"\n\r\n", "line 1: The file is empty"),
        (b"\xef\xbb\xbf", "line 1: The file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "line 1: This is not a CSV file but an image."),
        (b"\x1f\x8b\x08\0\0", "gunzip"),
        (b"PK\x03\x04\x14", "workbook"),
        ("display_name,entity_type\n".encode("utf-16"), "UTF-16"),
        (b'{"display_name": "Ann"}\n', "but JSON"),
        (b'\n  [{"display_name": "Ann"}]\n', "but JSON"),
        (b"\x7fELF\x02\x01\x01\0", "control characters"),
        ("größe\n".encode("latin-1"), "line 1: This is not a CSV file in UTF-8"),
        (b'"display_name', "line 1: The header cannot be read."),
        (b"x" * (ROW_LENGTH + 1), "line 1: The header cannot be read."),
        (b"display_name,details\n", "entity_type is missing"),
        (b"display_name,entity_type,colour\n", "'colour' is unknown"),
        (b"display_name,entity_type,Details\n", "'Details' is unknown"),
        (b"display_name,entity_type,details,details\n", "details is repeated"),
        (b"\n\nname,type\n", "line 3: In the header display_name is missing, entity_type is missing, 'name'"),
        (b"display_name;entity_type\n", "Separate columns by commas."),
        (
            b"Ann,PERSON\nBo,PERSON\n",
            "It has to name display_name and entity_type, and may name entity_uid, key, alternate_keys, details and change_ts.",
        ),
        (b"x," * 5_000 + b"\n", "In the header display_name is missing, entity_type is missing, 'x' is unknown"),
    ],
    ids=lambda it: repr(it[:40]) if isinstance(it, bytes) else None,
)
def test_a_file_of_another_format_is_rejected_as_a_whole(content: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as rejected:
        read(content)
    assert reason in rejected.value.message
    assert len(rejected.value.message) < 500


def test_a_file_may_have_a_header_and_no_rows() -> None:
    assert read(HEADER) == []


class Generated(io.RawIOBase):
    """A file generated while it is read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._lines, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def peak(lines: Iterator[bytes]) -> tuple[int, int]:
    """Return the number of rows and errors, and the most memory that reading them took."""
    file = EntityFile(io.BufferedReader(Generated(lines)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in file)
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file() -> None:
    def lines() -> Iterator[bytes]:
        yield HEADER
        for number in range(100_000):
            yield b"%b,Ann %d,PERSON,,\n" % (uid, number)

    uid = str(UID).encode()
    count, memory = peak(lines())
    assert count == 100_000
    assert memory < 1_000_000


@pytest.mark.parametrize("endless", [b"x" * 60_000, b"\0" * 60_000, (b',"' + b"y" * 1_000 + b'\n"') * 60, b'"' * 60_000])
def test_memory_does_not_grow_with_a_row_that_does_not_end(endless: bytes) -> None:
    def lines() -> Iterator[bytes]:
        yield HEADER
        for _ in range(200):
            yield endless

    _, memory = peak(lines())
    assert memory < 12 * ROW_LENGTH


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
names = texts.filter(lambda text: bool(text.strip()))
offsets = st.integers(-1_439, 1_439).map(lambda it: timezone(timedelta(minutes=it)))
instants = st.datetimes(datetime(1, 1, 4), datetime(9999, 12, 27), timezones=offsets)


@settings(max_examples=100)
@given(
    st.permutations(KEYLESS),
    st.lists(st.tuples(st.none() | st.uuids(), names, names, st.dictionaries(texts, texts, max_size=4), st.none() | instants)),
    # Before Python 3.13, a writer with LF as line terminator quotes a carriage return only if it quotes everything.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    st.booleans(),
)
def test_the_output_of_a_csv_writer_is_read_back(
    order: list[str], entities: list[Any], style: tuple[str, Any], mark: bool
) -> None:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, order, lineterminator=style[0], quoting=style[1])
    writer.writeheader()
    for uid, name, type_, details, at in entities:
        listed = [{"detail_type": code, "detail_value": value} for code, value in details.items()]
        cells = (uid or "", name, type_, json.dumps(listed), at.isoformat() if at else "")
        writer.writerow(dict(zip(KEYLESS, cells, strict=True)))
    found = rows(written.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    assert [it[1:] for it in found] == [
        (uid or entity_uid(type_, name), name, type_, details, at) for uid, name, type_, details, at in entities
    ]


@settings(max_examples=500)
@given(st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\xff", b"\0", b"[]", GOOD]), max_size=60).map(b"".join))
def test_every_content_gives_rows_and_errors_in_order(content: bytes) -> None:
    found = read(HEADER + content + b"\n" + GOOD)
    lines = [it.line for it in found]
    assert lines == sorted(set(lines))
    assert all(2 <= line <= 3 + content.count(b"\n") for line in lines)
    assert all("\n" not in it.message for it in found if isinstance(it, RowError))
    if content.count(b'"') < 2:
        assert isinstance(found[-1], Row)
