"""Parsing of CSV files of relationships: references to ends, errors that name line and column, and headers."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.assets.reference import AssetRef
from db.associations.relationship import RelationshipState
from db.errors import BadInput, Conflict, HeadwaterError, NotFound, ResolvableConflict, UnknownType
from graph_api.ingestion.csv_cells import EMPTY
from graph_api.ingestion.relationship_csv import COLUMNS, RelationshipFile
from graph_api.ingestion.row import Row, RowError

UID = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101")
OTHER = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be102")
HEADER = b"type,origin,origin_uid,related,related_uid,attributes,change_ts\n"
GOOD = b"PLACED,ann,,7,,,\n"
STATE = RelationshipState("PLACED", AssetRef(key="ann"), AssetRef(key="7"), {"attributes": {}}, None)


def opened(content: bytes) -> RelationshipFile:
    return RelationshipFile(io.BytesIO(content))


def read(content: bytes) -> list[Row | RowError]:
    return list(opened(content))


def test_a_row_is_parsed() -> None:
    row = f'PLACED,,{UID},No. 7,,"{{""since"": 2026, ""by"": [""web""]}}",2026-03-01T13:00:00.5+01:00\n'
    attributes = {"since": 2026, "by": ["web"]}
    at = datetime(2026, 3, 1, 12, 0, 0, 500_000, UTC)
    assert read(HEADER + row.encode()) == [
        Row(2, RelationshipState("PLACED", AssetRef(uid=UID), AssetRef(key="No. 7"), {"attributes": attributes}, at))
    ]


@pytest.mark.parametrize(
    "origin", [(f",{UID}", AssetRef(uid=UID)), ("ann,", AssetRef(key="ann")), ("ann, ", AssetRef(key="ann"))]
)
@pytest.mark.parametrize(
    "related", [(f",{OTHER}", AssetRef(uid=OTHER)), ("7,", AssetRef(key="7")), (f" ,{OTHER}", AssetRef(uid=OTHER))]
)
def test_each_end_is_referred_to_by_uid_or_by_name(origin: tuple[str, AssetRef], related: tuple[str, AssetRef]) -> None:
    row = f"PLACED,{origin[0]},{related[0]},,\n"
    assert read(HEADER + row.encode()) == [Row(2, STATE._replace(origin=origin[1], related=related[1]))]


def test_an_end_may_have_a_type() -> None:
    header = b"type,origin,origin_type,related,related_uid,related_type\n"
    assert read(header + b"seenIn,orders,PRODUCT,7,,TABLE\nseenIn,orders, ,7,,\n") == [
        Row(2, STATE._replace(type="seenIn", origin=AssetRef(product="orders"), related=AssetRef(type="TABLE", key="7"))),
        Row(3, STATE._replace(type="seenIn", origin=AssetRef(key="orders"))),
    ]
    message = "The type belongs to a name or key. Leave it empty beside related_uid."
    assert read(header + f"seenIn,orders,,,{UID},TABLE\n".encode()) == [RowError(2, "related_type", message)]


def test_a_header_needs_only_the_type_and_one_column_for_each_end() -> None:
    ends = {
        "origin": AssetRef(key="ann"),
        "origin_uid": AssetRef(uid=UID),
        "related": AssetRef(key="7"),
        "related_uid": AssetRef(uid=OTHER),
    }
    cells = {"origin": "ann", "origin_uid": str(UID), "related": "7", "related_uid": str(OTHER)}
    for origin, related in product(("origin", "origin_uid"), ("related", "related_uid")):
        content = f"{related}, type ,{origin}\n{cells[related]},PLACED,{cells[origin]}"
        assert read(content.encode()) == [Row(2, STATE._replace(origin=ends[origin], related=ends[related]))]


@pytest.mark.parametrize("empty", ["", " ", '" "', "{}", '"{ }"'])
def test_a_blank_cell_and_an_empty_object_are_no_attributes(empty: str) -> None:
    assert read(HEADER + f"PLACED,ann,,7,,{empty},\n".encode()) == [Row(2, STATE)]


def test_the_name_of_an_end_is_not_changed() -> None:
    (row,) = read(HEADER + b'PLACED," ann, ""a""",,0012,,,\n')
    assert row == Row(2, STATE._replace(origin=AssetRef(key=' ann, "a"'), related=AssetRef(key="0012")))


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        (b",ann,,7,,,", "type", EMPTY),
        (b" \t,ann,,7,,,", "type", EMPTY),
        (b"PLACED,,,7,,,", "origin", "origin and origin_uid are both empty. Fill exactly one of them."),
        (b"PLACED, , ,7,,,", "origin", "origin and origin_uid are both empty. Fill exactly one of them."),
        (b"PLACED,ann,%b,7,,,", "origin", "origin and origin_uid are both filled. Fill exactly one of them."),
        (b"PLACED,ann,12,7,,,", "origin", "origin and origin_uid are both filled. Fill exactly one of them."),
        (b"PLACED,ann,,,,,", "related", "related and related_uid are both empty. Fill exactly one of them."),
        (b"PLACED,ann,,7,%b,,", "related", "related and related_uid are both filled. Fill exactly one of them."),
        (b"PLACED,,12,7,,,", "origin_uid", "'12' is not a UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101."),
        (b"PLACED,ann,,,12,,", "related_uid", "'12' is not a UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101."),
        (b'PLACED,ann,,7,,"{""since""}",', "attributes", "The cell is not JSON: "),
        (b"PLACED,ann,,7,,{since},", "attributes", ", at character 2."),
        (b"PLACED,ann,,7,,[],", "attributes", "attributes must be a JSON object, such as {"),
        (b'PLACED,ann,,7,,"""since""",', "attributes", "attributes must be a JSON object, such as {"),
        (
            b'PLACED,ann,,7,,"{""a"": ""\\u0000""}",',
            "attributes",
            "attributes holds a NUL character, which cannot be stored. Remove it.",
        ),
        (b"PLACED,ann,,7,,,2026-03-01T12:00:00", "change_ts", "no UTC offset"),
        (b"PLACED,ann,,7,,,yesterday", "change_ts", "'yesterday' is not an instant."),
        (b"PLACED,ann,,7", "related_uid", "The row has 4 of 7 cells; missing: related_uid, attributes, change_ts."),
        (b"PLACED,ann,,7,,,,", None, "The row has 8 of 7 cells. Quote a cell that holds a comma."),
        (b"PLACED,a\xffn,,7,,,", "origin", "The cell holds the byte 0xFF, which is not UTF-8. Save the file in UTF-8."),
        (b"PLACED,ann,,7\0,,,", "related", "The cell holds a NUL character, which cannot be stored."),
        (b'PLACED,ann,,7,,{"since":2026,"by":"web"},', "change_ts", "Text follows the closing quote of a cell."),
    ],
    ids=lambda it: repr(it) if isinstance(it, bytes) else None,
)
def test_an_error_names_line_column_and_reason_and_other_rows_are_unaffected(
    row: bytes, column: str | None, message: str
) -> None:
    before, error, after = read(HEADER + GOOD + row.replace(b"%b", str(UID).encode()) + b"\n" + GOOD)
    assert isinstance(error, RowError)
    assert (error.line, error.field, error.code) == (3, column, "BAD_INPUT")
    assert message in error.message
    assert [before, after] == [Row(2, STATE), Row(4, STATE)]


@pytest.mark.parametrize(
    ("header", "row", "column"),
    [
        (b"type,origin,related\n", b"PLACED,,7\n", "origin"),
        (b"type,origin_uid,related\n", b"PLACED,,7\n", "origin_uid"),
        (b"type,origin,related\n", b"PLACED,ann,\n", "related"),
        (b"type,origin,related_uid\n", b"PLACED,ann,\n", "related_uid"),
    ],
)
def test_a_cell_is_required_if_its_column_alone_names_an_end(header: bytes, row: bytes, column: str) -> None:
    assert read(header + row) == [RowError(2, column, EMPTY)]


EXPECTED = (
    "It has to name type, origin or origin_uid, and related or related_uid, and may name origin_type, related_type, attributes"
    " and change_ts."
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", f"line 1: The file is empty. It needs a header. {EXPECTED}"),
        (b"origin,related\n", f"line 1: In the header type is missing; it names 'origin', 'related'. {EXPECTED}"),
        (b"type,related\n", "In the header origin or origin_uid is missing;"),
        (b"type,origin_uid,change_ts\n", "In the header related or related_uid is missing;"),
        (b"type,origin,related,colour\n", "In the header 'colour' is unknown;"),
        (b"type,origin,related,origin\n", "In the header origin is repeated;"),
        (b"type;origin;related\n", "Separate columns by commas."),
        (
            b"display_name,entity_type\n",
            "In the header type is missing, origin or origin_uid is missing, related or related_uid is missing,"
            " 'display_name' is unknown, 'entity_type' is unknown;",
        ),
        (b"\x1f\x8b\x08\0\0", "gunzip --stdout FILE | headwater ingest csv --relationships -"),
    ],
    ids=lambda it: repr(it) if isinstance(it, bytes) else None,
)
def test_a_file_of_another_format_is_rejected_as_a_whole(content: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as rejected:
        opened(content)
    assert reason in rejected.value.message


@pytest.mark.parametrize(
    ("header", "error", "reported"),
    [
        (HEADER, NotFound("There is no asset so called.", field="origin"), ("origin", "There is no asset so called.")),
        (HEADER, BadInput("related is a PERSON.", field="related"), ("related", "related is a PERSON.")),
        (
            b"type,origin_uid,related\n",
            BadInput("origin is a PERSON.", field="origin"),
            ("origin_uid", "origin_uid is a PERSON."),
        ),
        (b"type,related_uid,origin\n", NotFound("related ended.", field="related"), ("related_uid", "related_uid ended.")),
        (b"related_uid,type,origin,related\n", NotFound("related ended.", field="related"), ("related", "related ended.")),
        (HEADER, UnknownType("type is none.", field="type"), ("type", "type is none.")),
        (HEADER, BadInput("attributes is too deep.", field="attributes"), ("attributes", "attributes is too deep.")),
        (HEADER, BadInput("at lies ahead.", field="at"), ("change_ts", "change_ts lies ahead.")),
        (b"type,origin,related\n", BadInput("at lies ahead.", field="at"), (None, "change_ts lies ahead.")),
        (HEADER, Conflict("The type is held.", field="code"), (None, "The type is held.")),
        (HEADER, Conflict("An order has one customer."), (None, "An order has one customer.")),
    ],
    ids=lambda it: it.decode().strip() if isinstance(it, bytes) else None,
)
def test_an_error_of_the_database_names_the_column_of_the_file(
    header: bytes, error: HeadwaterError, reported: tuple[str | None, str]
) -> None:
    assert opened(header).row_error(7, error) == RowError(7, *reported, error.code)


def test_missing_ends_missing_types_and_conflicts_are_resolvable() -> None:
    assert set(RelationshipFile.resolvable) == {NotFound, UnknownType, ResolvableConflict}


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).filter(
    lambda it: bool(it.strip())
)
ends = st.builds(lambda uid: AssetRef(uid=uid), st.uuids()) | st.builds(lambda name: AssetRef(key=name), names)
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names


@settings(max_examples=100)
@given(st.permutations(COLUMNS), st.lists(st.tuples(names, ends, ends, st.dictionaries(names, values, max_size=3))))
def test_relationships_are_read_back_whatever_the_order_of_columns(
    order: Sequence[str], relationships: list[tuple[str, AssetRef, AssetRef, dict[str, object]]]
) -> None:
    lines = [",".join(order)]
    for type_, origin, related, attributes in relationships:
        cells = {
            "type": type_,
            "origin": origin.key or "",
            "origin_uid": str(origin.uid or ""),
            "related": related.key or "",
            "related_uid": str(related.uid or ""),
            "origin_type": "",
            "related_type": "",
            "attributes": json.dumps(attributes),
            "change_ts": "",
        }
        lines.append(",".join('"' + cells[column].replace('"', '""') + '"' for column in order))
    items = read("\r\n".join(lines).encode())
    assert [it.statement if isinstance(it, Row) else it for it in items] == [
        RelationshipState(type_, origin, related, {"attributes": attributes})
        for type_, origin, related, attributes in relationships
    ]
