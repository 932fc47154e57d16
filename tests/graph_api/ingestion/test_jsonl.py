"""Parsing of JSON lines: statements, errors that name line and field, and bounded memory."""

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
from db.assets.entity_key import entity_uid_by_key
from db.assets.product import product_uid_by_name
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.associations.reference import LinkEnds, RelationshipEnds
from db.bulk.ingest import AssetState, NamedDeletion
from db.registries.detail_type import DetailTypeRow
from db.registries.entity_type import EntityTypeRow
from db.registries.relationship_type import RelationshipTypeRow
from db.temporal.kinds import PRODUCT
from graph_api.ingestion.jsonl import LINE_LENGTH, JsonLines
from graph_api.ingestion.jsonl_kinds import KINDS
from graph_api.ingestion.row import EntityState, ParsedStatement, Row, RowError
from graph_api.ingestion.uids import entity_uid
from schema.root import schema
from tests.builders import product_fields
from tests.randomness import size

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
}
PRODUCT_LINE = {"kind": "product", **product_fields()}
ENTITY_LINE = {"kind": "entity", "type": "TABLE", "displayName": "Orders"}
LINK_ENDS = {"source": {"uid": str(UID)}, "target": {"uid": str(OTHER)}}
LINK_LINE = {"kind": "link", **LINK_ENDS}
RELATIONSHIP_TYPE_LINE = {
    "kind": "relationshipType",
    "key": "steward",
    "reverseKey": "stewardOf",
    "origin": "PRODUCT",
    "related": "PERSON",
    "cardinality": "MANY_TO_ONE",
}
RELATIONSHIP_ENDS = {"type": "steward", "origin": {"product": "orders"}, "related": {"uid": str(OTHER)}}
RELATIONSHIP_LINE = {"kind": "relationship", **RELATIONSHIP_ENDS}
DELETE_LINE = {"kind": "delete", "uid": str(UID)}
TYPE_LINE = {"kind": "entityType", "code": "TABLE", "label": "Table"}


def read(content: bytes) -> list[Row | RowError]:
    return list(JsonLines(io.BytesIO(content)))


def statement_of(**line: Any) -> ParsedStatement:
    """Parse one valid line."""
    (row,) = read(json.dumps(line).encode())
    assert isinstance(row, Row), row
    assert row.line == 1
    return row.statement


def test_the_fields_of_a_line_are_those_of_the_graphql_input() -> None:
    assert KINDS.keys() == {*INPUTS, "delete"}
    for kind, name in INPUTS.items():
        fields = schema._schema.type_map[name].fields  # type: ignore[attr-defined]
        # a loaded association may name an end that is recorded later
        of_requests_only = {"idempotencyKey", "createMissing"}
        assert {to_camel_case(it) for it in fields} - of_requests_only == KINDS[kind].fields.names, kind


def test_a_product_is_parsed_with_defaults_for_missing_fields() -> None:
    fields = product_fields(tags=["a", "b"], status="DEPRECATED", version="2.0.0", description="What was ordered")
    assert statement_of(kind="product", uid=str(UID), at="2026-03-01T13:00:00+01:00", **fields) == AssetState(
        PRODUCT, IdentitySpec(UID), fields, AT
    )
    minimal = statement_of(**PRODUCT_LINE, uid=None, tags=None, at=None)
    defaults: dict[str, Any] = {"description": None, "tags": [], "status": "ACTIVE", "version": "1.0.0"}
    assert minimal == AssetState(
        PRODUCT, IdentitySpec(new_uid=product_uid_by_name("orders")), {**defaults, **product_fields()}, None
    )


def test_an_entity_is_identified_by_uid_key_or_name() -> None:
    details = [{"type": "email", "value": "a@shop.example"}]
    by_uid = statement_of(**ENTITY_LINE, uid=str(UID), key="7", details=details, at="2026-03-01T12:00:00Z")
    assert by_uid == EntityState(IdentitySpec(UID, "TABLE", "7"), "Orders", {"email": "a@shop.example"}, AT, ["7"])
    by_key = statement_of(**ENTITY_LINE, key="7")
    assert by_key == EntityState(IdentitySpec(None, "TABLE", "7", entity_uid_by_key("TABLE", "7")), "Orders", {}, keys=["7"])
    assert statement_of(**ENTITY_LINE) == EntityState(IdentitySpec(entity_uid("TABLE", "Orders"), "TABLE"), "Orders", {})
    assert entity_uid_by_key("TABLE", "Orders") != entity_uid("TABLE", "Orders")


def test_types_are_parsed() -> None:
    source = {"service": "crm", "endpoint": "/customers/{key}", "lookupField": "id", "isLocal": True}
    stored = {"service": "crm", "endpoint": "/customers/{key}", "lookup_field": "id", "is_local": True}
    assert statement_of(**TYPE_LINE, domain="sales", source=source) == EntityTypeRow("TABLE", "Table", "sales", stored)
    assert statement_of(**TYPE_LINE) == EntityTypeRow("TABLE", "Table", None, None)
    assert statement_of(kind="detailType", code="email", label="Email", format="email", role="OWNER") == DetailTypeRow(
        "email", "Email", "email", "OWNER"
    )


def test_a_link_refers_to_its_ends_in_one_of_three_ways() -> None:
    ends = {"source": {"product": "orders"}, "target": {"entity": {"type": "TABLE", "key": "7"}, "uid": None}}
    link = statement_of(
        kind="link", **ends, type="DERIVED", confidence=0.5, metadata={"job": 1}, producer="dbt", transformation="sum"
    )
    state = {"type": "DERIVED", "transformation": "sum", "confidence": 0.5, "metadata": {"job": 1}}
    assert link == lineage_link.LinkState(AssetRef(product="orders"), AssetRef(type="TABLE", key="7"), "dbt", state, None)
    default: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": 1.0, "metadata": {}}
    assert statement_of(**LINK_LINE, confidence=None) == lineage_link.LinkState(
        AssetRef(uid=UID), AssetRef(uid=OTHER), None, default, None
    )


def test_a_relationship_and_its_type_are_parsed() -> None:
    type_ = statement_of(**RELATIONSHIP_TYPE_LINE, onDelete="RESTRICT", foreignKeyField="steward_id")
    names = ("PRODUCT", "steward", "PERSON", "stewardOf")
    assert type_ == RelationshipTypeRow(*names, "MANY_TO_ONE", "RESTRICT", "steward_id")
    minimal = statement_of(**RELATIONSHIP_TYPE_LINE, onDelete=None)
    assert isinstance(minimal, RelationshipTypeRow)
    assert (minimal.on_delete, minimal.foreign_key_field) == ("CLOSE", None)
    relationship_ = statement_of(**RELATIONSHIP_LINE, attributes={"a": 1}, at="2026-03-01T12:00:00Z")
    assert relationship_ == relationship.RelationshipState(
        "steward", AssetRef(product="orders"), AssetRef(uid=OTHER), {"attributes": {"a": 1}}, AT
    )
    assert statement_of(**RELATIONSHIP_LINE) == relationship.RelationshipState(
        "steward", AssetRef(product="orders"), AssetRef(uid=OTHER), {"attributes": {}}
    )


def test_a_deletion_names_one_thing_and_optionally_an_instant() -> None:
    assert statement_of(**DELETE_LINE, at="2026-03-01T12:00:00Z") == Deletion(UID, AT)
    assert statement_of(**DELETE_LINE, product=None) == Deletion(UID)
    ends, related = (AssetRef(uid=UID), AssetRef(uid=OTHER)), AssetRef(product="orders")
    for subject, ref in (
        ({"product": "orders"}, AssetRef(product="orders")),
        ({"entity": {"type": "TABLE", "key": "7"}}, AssetRef(type="TABLE", key="7")),
        ({"link": LINK_ENDS}, LinkEnds(*ends, any_producer=True)),
        ({"link": {**LINK_ENDS, "producer": None}}, LinkEnds(*ends)),
        ({"link": {**LINK_ENDS, "producer": "dbt"}}, LinkEnds(*ends, "dbt")),
        ({"relationship": RELATIONSHIP_ENDS}, RelationshipEnds("steward", related, AssetRef(uid=OTHER))),
    ):
        assert statement_of(kind="delete", **subject, at="2026-03-01T12:00:00Z") == NamedDeletion(ref, AT)


def test_byte_order_marks_both_line_endings_blank_lines_and_a_missing_last_line_ending_are_accepted() -> None:
    line = json.dumps(DELETE_LINE).encode()
    unix = b"\n" + line + b"\n  \n\n" + line
    for content in (unix, unix.replace(b"\n", b"\r\n")):
        assert [(it.line, type(it)) for it in read(content)] == [(2, Row), (5, Row)]
    assert [it.line for it in read(b"\xef\xbb\xbf" + line)] == [1]
    assert read(b"") == []


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        (b"{", None, "The line is not JSON"),
        (b'{"kind": "delete"} {"kind": "delete"}', None, "The line is not JSON"),
        (b'{"kind": "delete", "uid": NaN}', None, "The line is not JSON"),
        (b'{"kind": "\xff"}', None, "The line is not JSON"),
        (b"[]", None, "not a JSON object"),
        (b"{}", "kind", "kind is None. Give one of"),
        ({"kind": ["product"]}, "kind", "kind is ['product']. Give one of"),
        ({**DELETE_LINE, "kind": "Delete"}, "kind", "kind is 'Delete'. Give one of"),
        ({**DELETE_LINE, "when": "now"}, "when", "There is no field 'when' here. There are at, entity, link, product, re"),
        ({**PRODUCT_LINE, "idempotencyKey": "x"}, "idempotencyKey", "There is no field 'idempotencyKey' here."),
        ({"kind": "product", **product_fields(owner=None)}, "owner", "owner is missing."),
        ({"kind": "delete"}, None, "exactly one of uid, product, entity, link and relationship."),
        ({**DELETE_LINE, "product": "orders"}, None, "exactly one of uid, product, entity, link and relationship."),
        ({"kind": "delete", "product": {"name": "orders"}}, "product", "product must be text."),
        ({"kind": "delete", "entity": "7"}, "entity", "entity must be a JSON object."),
        ({"kind": "delete", "entity": {"type": "TABLE"}}, "entity", "key is missing."),
        ({"kind": "delete", "link": str(UID)}, "link", "link must be a JSON object."),
        ({"kind": "delete", "link": {"source": {"uid": str(UID)}}}, "link", "target is missing."),
        ({"kind": "delete", "link": {**LINK_ENDS, "type": "DIRECT"}}, "link", "There is no field 'type' here."),
        ({"kind": "delete", "link": {**LINK_ENDS, "source": {}}}, "source", "exactly one of uid, product and entity"),
        ({"kind": "delete", "link": {**LINK_ENDS, "producer": 1}}, "producer", "producer"),
        ({"kind": "delete", "relationship": {"type": "a"}}, "relationship", "origin is missing."),
        ({"kind": "delete", "relationship": {**RELATIONSHIP_ENDS, "type": 1}}, "type", "type must be text."),
        ({**DELETE_LINE, "uid": 17}, "uid", "17 is not a UUID"),
        ({**DELETE_LINE, "uid": "x"}, "uid", "'x' is not a UUID"),
        ({**DELETE_LINE, "at": "2026-03-01T00:00:00"}, "at", "no UTC offset"),
        ({**DELETE_LINE, "at": 1767225600}, "at", "not an instant"),
        ({**PRODUCT_LINE, "tags": "a"}, "tags", "list of texts"),
        ({**PRODUCT_LINE, "tags": [1]}, "tags", "list of texts"),
        ({**PRODUCT_LINE, "name": 7}, "name", "name"),
        ({**PRODUCT_LINE, "schema": []}, "schema", "JSON object"),
        ({**PRODUCT_LINE, "status": ["ACTIVE"]}, "status", "status is ['ACTIVE']. It must be one of"),
        ({**PRODUCT_LINE, "version": 2}, "version", "semantic version"),
        ({**ENTITY_LINE, "type": 1}, "type", "type must be text."),
        ({**ENTITY_LINE, "type": "A\0"}, "type", "NUL"),
        ({**ENTITY_LINE, "key": 1}, "key", "key"),
        ({**ENTITY_LINE, "details": {}}, "details", "JSON list of objects"),
        ({**ENTITY_LINE, "details": [{"type": "a", "value": "b", "x": 1}]}, "details", "There is no field 'x' here."),
        ({**ENTITY_LINE, "details": [{"type": "a"}]}, "details", "value is missing."),
        ({**ENTITY_LINE, "details": [{"type": "a", "value": 1}]}, "details", "value must be text."),
        ({**ENTITY_LINE, "details": [{"type": "a", "value": "b"}] * 2}, "details", "two of the type a"),
        ({**TYPE_LINE, "code": 1}, "code", "code must be text."),
        ({**TYPE_LINE, "code": "A B"}, "code", "code is not a code. A code begins with a letter"),
        ({**TYPE_LINE, "source": "crm"}, "source", "source must be a JSON object."),
        ({**TYPE_LINE, "source": {"service": "crm"}}, "source", "endpoint is missing."),
        ({**TYPE_LINE, "source": {"service": "crm", "endpoint": "//evil", "lookupField": "id"}}, "endpoint", "must be a path"),
        ({"kind": "detailType", "code": "a", "label": "A", "format": "shoe"}, "format", "format is 'shoe'. It must be one of"),
        ({"kind": "detailType", "code": "a", "label": "A", "role": "BOSS"}, "role", "role is 'BOSS'. It must be one of"),
        ({**RELATIONSHIP_TYPE_LINE, "cardinality": "SOME"}, "cardinality", "cardinality is 'SOME'. It must be one of"),
        ({**RELATIONSHIP_TYPE_LINE, "onDelete": 1}, "onDelete", "onDelete is 1. It must be one of"),
        ({**RELATIONSHIP_TYPE_LINE, "reverseKey": "a b"}, "reverseKey", "reverseKey is not a code. A code begins with a letter"),
        ({**RELATIONSHIP_LINE, "type": 1}, "type", "type must be text."),
        ({**RELATIONSHIP_LINE, "origin": {"uid": str(UID), "product": "a"}}, "origin", "exactly one of uid, product and entity"),
        ({**RELATIONSHIP_LINE, "attributes": []}, "attributes", "JSON object"),
        ({**LINK_LINE, "source": str(UID)}, "source", "source must be a JSON object."),
        ({**LINK_LINE, "source": {}}, "source", "exactly one of uid, product and entity"),
        ({**LINK_LINE, "target": {"uid": str(UID), "product": "a"}}, "target", "exactly one of uid, product and entity"),
        ({**LINK_LINE, "target": {"uid": "x"}}, "target", "not a UUID"),
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
def test_the_error_of_a_bad_line_names_the_field_and_other_lines_are_unaffected(
    line: Any, field: str | None, message: str
) -> None:
    good = json.dumps(DELETE_LINE).encode()
    bad = line if isinstance(line, bytes) else json.dumps(line).encode()
    before, error, after = read(b"\n".join([good, bad, good]))
    assert isinstance(error, RowError)
    assert (error.line, error.field, error.code) == (2, field, "BAD_INPUT")
    assert message in error.message
    assert (before.line, after.line) == (1, 3)
    assert isinstance(before, Row)
    assert isinstance(after, Row)


def test_a_line_that_is_too_long_is_skipped() -> None:
    line = json.dumps(DELETE_LINE).encode()
    longest = line + b" " * (LINE_LENGTH - len(line) - 1) + b"\n"
    items = read(longest + b" " + longest + b"x" * 3 * LINE_LENGTH + b"\n" + line)
    assert [(it.line, type(it)) for it in items] == [(1, Row), (2, RowError), (3, RowError), (4, Row)]
    assert isinstance(items[1], RowError)
    assert items[1].message == f"The line is longer than {LINE_LENGTH} bytes."


class Generated(io.RawIOBase):
    """A file generated while it is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._rest or next(self._pieces, b"")
        size = min(len(piece), len(buffer))
        buffer[:size] = piece[:size]
        self._rest = piece[size:]
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


@pytest.mark.random
@settings(max_examples=size(quick=100, soak=5_000))
@given(
    st.sampled_from(sorted(KINDS)).flatmap(
        lambda it: st.dictionaries(st.sampled_from(sorted(KINDS[it].fields.names)), json_values).map(
            lambda fields: {"kind": it, **fields}
        )
    )
)
def test_every_line_gives_a_row_or_an_error(line: dict[str, Any]) -> None:
    (item,) = read(json.dumps(line).encode())
    assert isinstance(item, Row | RowError)
