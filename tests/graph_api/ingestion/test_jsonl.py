"""JSON lines, read: what a line says, what is a fault and where, and how little memory it takes."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.utils.str_converters import to_camel_case

from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity import entity_uid_by_key
from db.associations import lineage_link, relationship
from db.associations.association import AssetRef
from db.bulk.ingest import AssetState
from db.registries.detail_type import DetailTypeRow
from db.registries.entity_type import EntityTypeRow
from db.registries.relationship_type import RelationshipTypeRow
from db.temporal.kinds import PRODUCT
from graph_api.ingestion.jsonl import KINDS, LINE_LENGTH, JsonLines
from graph_api.ingestion.row import EntityState, ParsedStatement, Row, RowError
from graph_api.ingestion.uids import entity_uid, product_uid
from schema.root import schema
from tests.builders import product_fields

UID = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101")
OTHER = UUID("2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be102")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
INPUTS = {
    "product": "RegisterProductInput",
    "entity": "CreateEntityInput",
    "entityType": "PutEntityTypeInput",
    "detailType": "PutDetailTypeInput",
    "relationshipType": "PutRelationshipTypeInput",
    "relationship": "RelateInput",
    "link": "RegisterLineageInput",
    "delete": "DeleteInput",
}
PRODUCT_LINE = {"kind": "product", **product_fields()}
ENTITY_LINE = {"kind": "entity", "type": "TABLE", "displayName": "Orders"}
LINK_LINE = {"kind": "link", "source": {"uid": str(UID)}, "target": {"uid": str(OTHER)}}
JOIN_TYPE_LINE = {
    "kind": "relationshipType",
    "key": "steward",
    "reverseKey": "stewardOf",
    "origin": "PRODUCT",
    "related": "PERSON",
    "cardinality": "MANY_TO_ONE",
}
JOIN_LINE = {"kind": "relationship", "type": "steward", "origin": {"product": "orders"}, "related": {"uid": str(OTHER)}}
DELETE_LINE = {"kind": "delete", "uid": str(UID)}
TYPE_LINE = {"kind": "entityType", "code": "TABLE", "label": "Table"}


def read(content: bytes) -> list[Row | RowError]:
    return list(JsonLines(io.BytesIO(content)))


def said(**line: Any) -> ParsedStatement:
    """What one line says that is as it should be."""
    (row,) = read(json.dumps(line).encode())
    assert isinstance(row, Row), row
    assert row.line == 1
    return row.said


def test_the_fields_of_a_line_are_those_of_the_input_for_the_same() -> None:
    assert KINDS.keys() == INPUTS.keys()
    for kind, name in INPUTS.items():
        fields = schema._schema.type_map[name].fields  # type: ignore[attr-defined]
        assert {to_camel_case(it) for it in fields} - {"idempotencyKey"} == KINDS[kind].fields.known, kind


def test_a_product_is_read_whole_and_what_it_leaves_out_takes_its_default() -> None:
    given = product_fields(tags=["a", "b"], status="DEPRECATED", version="2.0.0", description="What was ordered")
    assert said(kind="product", uid=str(UID), at="2026-03-01T13:00:00+01:00", **given) == AssetState(
        PRODUCT, IdentitySpec(UID), given, AT
    )
    least = said(**PRODUCT_LINE, uid=None, tags=None, at=None)
    defaults: dict[str, Any] = {"description": None, "tags": [], "status": "ACTIVE", "version": "1.0.0"}
    assert least == AssetState(PRODUCT, IdentitySpec(new_uid=product_uid("orders")), {**defaults, **product_fields()}, None)


def test_an_entity_is_meant_by_its_uid_its_key_or_its_name() -> None:
    details = [{"type": "email", "value": "a@shop.example"}]
    whole = said(**ENTITY_LINE, uid=str(UID), key="7", details=details, at="2026-03-01T12:00:00Z")
    assert whole == EntityState(IdentitySpec(UID, "TABLE", "7"), "Orders", {"email": "a@shop.example"}, AT)
    by_key = said(**ENTITY_LINE, key="7")
    assert by_key == EntityState(IdentitySpec(None, "TABLE", "7", entity_uid_by_key("TABLE", "7")), "Orders", {})
    assert said(**ENTITY_LINE) == EntityState(IdentitySpec(entity_uid("TABLE", "Orders"), "TABLE"), "Orders", {})
    assert entity_uid_by_key("TABLE", "Orders") != entity_uid("TABLE", "Orders")


def test_types_are_read_whole() -> None:
    source = {"service": "crm", "endpoint": "/customers/{key}", "lookupField": "id", "isLocal": True}
    kept = {"service": "crm", "endpoint": "/customers/{key}", "lookup_field": "id", "is_local": True}
    assert said(**TYPE_LINE, domain="sales", source=source) == EntityTypeRow("TABLE", "Table", "sales", kept)
    assert said(**TYPE_LINE) == EntityTypeRow("TABLE", "Table", None, None)
    assert said(kind="detailType", code="email", label="Email", format="email") == DetailTypeRow("email", "Email", "email")


def test_a_link_names_its_ends_in_one_of_three_ways() -> None:
    ends = {"source": {"product": "orders"}, "target": {"entity": {"type": "TABLE", "key": "7"}, "uid": None}}
    link_ = said(kind="link", **ends, type="DERIVED", confidence=0.5, metadata={"job": 1}, producer="dbt", transformation="sum")
    state = {"type": "DERIVED", "transformation": "sum", "confidence": 0.5, "metadata": {"job": 1}}
    assert link_ == lineage_link.LinkState(AssetRef(product="orders"), AssetRef(type="TABLE", key="7"), "dbt", state, None)
    default: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": 1.0, "metadata": {}}
    assert said(**LINK_LINE, confidence=None) == lineage_link.LinkState(
        AssetRef(uid=UID), AssetRef(uid=OTHER), None, default, None
    )


def test_a_join_and_its_type_are_read_whole() -> None:
    type_ = said(**JOIN_TYPE_LINE, onDelete="RESTRICT", foreignKeyField="steward_id")
    named = ("PRODUCT", "steward", "PERSON", "stewardOf")
    assert type_ == RelationshipTypeRow(*named, "MANY_TO_ONE", "RESTRICT", "steward_id")
    least = said(**JOIN_TYPE_LINE, onDelete=None)
    assert isinstance(least, RelationshipTypeRow)
    assert (least.on_delete, least.foreign_key_field) == ("CLOSE", None)
    join = said(**JOIN_LINE, attributes={"a": 1}, at="2026-03-01T12:00:00Z")
    assert join == relationship.RelationshipState(
        "steward", AssetRef(product="orders"), AssetRef(uid=OTHER), {"attributes": {"a": 1}}, AT
    )
    assert said(**JOIN_LINE) == relationship.RelationshipState(
        "steward", AssetRef(product="orders"), AssetRef(uid=OTHER), {"attributes": {}}
    )


def test_an_end_names_a_uid_and_perhaps_an_instant() -> None:
    assert said(**DELETE_LINE, at="2026-03-01T12:00:00Z") == Deletion(UID, AT)
    assert said(**DELETE_LINE) == Deletion(UID)


def test_a_byte_order_mark_either_line_ending_blank_lines_and_no_last_line_ending_are_accepted() -> None:
    line = json.dumps(DELETE_LINE).encode()
    unix = b"\n" + line + b"\n  \n\n" + line
    for content in (unix, unix.replace(b"\n", b"\r\n")):
        assert [(it.line, type(it)) for it in read(content)] == [(2, Row), (5, Row)]
    assert [it.line for it in read(b"\xef\xbb\xbf" + line)] == [1]
    assert read(b"") == []


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        (b"{", None, "The line is no JSON"),
        (b'{"kind": "delete"} {"kind": "delete"}', None, "The line is no JSON"),
        (b'{"kind": "delete", "uid": NaN}', None, "The line is no JSON"),
        (b'{"kind": "\xff"}', None, "The line is no JSON"),
        (b"[]", None, "no JSON object"),
        (b"{}", "kind", "; here it is None."),
        ({"kind": ["product"]}, "kind", "kind is one of"),
        ({**DELETE_LINE, "kind": "Delete"}, "kind", "here it is 'Delete'"),
        ({**DELETE_LINE, "when": "now"}, "when", "There is no field 'when' here. There are at, uid."),
        ({**PRODUCT_LINE, "idempotencyKey": "x"}, "idempotencyKey", "There is no field 'idempotencyKey' here."),
        ({"kind": "product", **product_fields(owner=None)}, "owner", "owner is missing."),
        ({"kind": "delete"}, "uid", "uid is missing."),
        ({**DELETE_LINE, "uid": 17}, "uid", "17 is no UUID"),
        ({**DELETE_LINE, "uid": "x"}, "uid", "'x' is no UUID"),
        ({**DELETE_LINE, "at": "2026-03-01T00:00:00"}, "at", "no offset"),
        ({**DELETE_LINE, "at": 1767225600}, "at", "no instant"),
        ({**PRODUCT_LINE, "tags": "a"}, "tags", "list of texts"),
        ({**PRODUCT_LINE, "tags": [1]}, "tags", "list of texts"),
        ({**PRODUCT_LINE, "name": 7}, "name", "name"),
        ({**PRODUCT_LINE, "schema": []}, "schema", "JSON object"),
        ({**PRODUCT_LINE, "status": ["ACTIVE"]}, "status", "status is ['ACTIVE']. It must be one of"),
        ({**PRODUCT_LINE, "version": 2}, "version", "semantic version"),
        ({**ENTITY_LINE, "type": 1}, "type", "type has to be text."),
        ({**ENTITY_LINE, "type": "A\0"}, "type", "NUL"),
        ({**ENTITY_LINE, "key": 1}, "key", "key"),
        ({**ENTITY_LINE, "details": {}}, "details", "JSON list of objects"),
        ({**ENTITY_LINE, "details": [{"type": "a", "value": "b", "x": 1}]}, "details", "There is no field 'x' here."),
        ({**ENTITY_LINE, "details": [{"type": "a"}]}, "details", "value is missing."),
        ({**ENTITY_LINE, "details": [{"type": "a", "value": 1}]}, "details", "value has to be text."),
        ({**ENTITY_LINE, "details": [{"type": "a", "value": "b"}] * 2}, "details", "two of the type a"),
        ({**TYPE_LINE, "code": 1}, "code", "code has to be text."),
        ({**TYPE_LINE, "code": "A B"}, "code", "code is not a code. A code begins with a letter"),
        ({**TYPE_LINE, "source": "crm"}, "source", "source has to be a JSON object."),
        ({**TYPE_LINE, "source": {"service": "crm"}}, "source", "endpoint is missing."),
        ({**TYPE_LINE, "source": {"service": "crm", "endpoint": "//evil", "lookupField": "id"}}, "endpoint", "must be a path"),
        ({"kind": "detailType", "code": "a", "label": "A", "format": "shoe"}, "format", "format is 'shoe'. It must be one of"),
        ({**JOIN_TYPE_LINE, "cardinality": "SOME"}, "cardinality", "cardinality is 'SOME'. It must be one of"),
        ({**JOIN_TYPE_LINE, "onDelete": 1}, "onDelete", "onDelete is 1. It must be one of"),
        ({**JOIN_TYPE_LINE, "reverseKey": "a b"}, "reverseKey", "reverseKey is not a code. A code begins with a letter"),
        ({**JOIN_LINE, "type": 1}, "type", "type has to be text."),
        ({**JOIN_LINE, "origin": {"uid": str(UID), "product": "a"}}, "origin", "exactly one of uid, product and entity"),
        ({**JOIN_LINE, "attributes": []}, "attributes", "JSON object"),
        ({**LINK_LINE, "source": str(UID)}, "source", "source has to be a JSON object."),
        ({**LINK_LINE, "source": {}}, "source", "exactly one of uid, product and entity"),
        ({**LINK_LINE, "target": {"uid": str(UID), "product": "a"}}, "target", "exactly one of uid, product and entity"),
        ({**LINK_LINE, "target": {"uid": "x"}}, "target", "no UUID"),
        ({**LINK_LINE, "target": {"product": "a\0"}}, "target", "NUL"),
        ({**LINK_LINE, "target": {"entity": {"type": "TABLE"}}}, "entity", "key is missing."),
        ({**LINK_LINE, "confidence": 1.2}, "confidence", "from 0 to 1"),
        ({**LINK_LINE, "confidence": True}, "confidence", "from 0 to 1"),
        ({**LINK_LINE, "type": "COPY"}, "type", "type must be one of"),
        ({**LINK_LINE, "metadata": []}, "metadata", "JSON object"),
        ({**LINK_LINE, "producer": ""}, "producer", "producer is empty"),
    ],
    ids=str,
)
def test_a_bad_line_is_a_fault_that_names_the_field_and_leaves_its_neighbours(line: Any, field: str | None, message: str) -> None:
    good = json.dumps(DELETE_LINE).encode()
    bad = line if isinstance(line, bytes) else json.dumps(line).encode()
    before, fault, after = read(b"\n".join([good, bad, good]))
    assert isinstance(fault, RowError)
    assert (fault.line, fault.field, fault.code) == (2, field, "BAD_INPUT")
    assert message in fault.message
    assert (before.line, after.line) == (1, 3)
    assert isinstance(before, Row)
    assert isinstance(after, Row)


def test_a_line_that_is_too_long_is_passed_over() -> None:
    line = json.dumps(DELETE_LINE).encode()
    longest = line + b" " * (LINE_LENGTH - len(line) - 1) + b"\n"
    found = read(longest + b" " + longest + b"x" * 3 * LINE_LENGTH + b"\n" + line)
    assert [(it.line, type(it)) for it in found] == [(1, Row), (2, RowError), (3, RowError), (4, Row)]
    assert isinstance(found[1], RowError)
    assert found[1].message == f"The line is longer than {LINE_LENGTH} bytes."


class Generated(io.RawIOBase):
    """A file that is larger than what may be held of it."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._left or next(self._lines, b"")
        size = min(len(piece), len(buffer))
        buffer[:size] = piece[:size]
        self._left = piece[size:]
        return size


def test_memory_does_not_grow_with_the_file() -> None:
    line = json.dumps({**PRODUCT_LINE, "description": "x" * 5_000}).encode() + b"\n"
    endless = [b"x" * LINE_LENGTH] * 20
    tracemalloc.start()
    try:
        file = Generated(iter([line] * 2_000 + endless + [b"\n"] + [line] * 2_000))
        rows = sum(isinstance(it, Row) for it in JsonLines(io.BufferedReader(file)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 4_000
    assert peak < 6 * LINE_LENGTH


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=500)
@given(
    st.sampled_from(sorted(INPUTS)).flatmap(
        lambda it: st.dictionaries(st.sampled_from(sorted(KINDS[it].fields.known)), json_values).map(
            lambda fields: {"kind": it, **fields}
        )
    )
)
def test_whatever_a_line_says_it_is_a_row_or_a_fault(line: dict[str, Any]) -> None:
    (found,) = read(json.dumps(line).encode())
    assert isinstance(found, Row | RowError)
