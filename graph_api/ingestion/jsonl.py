"""JSON lines of anything: bytes in, rows or faults out, in memory that does not grow with the file.

A line is one object, in UTF-8. Its `kind` says what it is about; its other fields are those of the GraphQL input for the same.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

import orjson

from db.assets import entity_fields, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity import entity_uid_by_key
from db.associations import lineage_link, lineage_link_fields, relationship, relationship_fields
from db.associations.association import AssetRef
from db.bulk.ingest import AssetState, RegistryEntry
from db.errors import BadInput, HeadwaterError, NotFound, ResolvableConflict, UnknownType
from db.fields import refuse_unstorable
from db.instants import read_instant
from db.registries import detail_type, entity_type, relationship_type
from db.temporal.kinds import PRODUCT
from graph_api.ingestion.row import EntityState, ParsedStatement, Row, RowError, fault_of
from graph_api.ingestion.uids import entity_uid, product_uid

# What a line may take, in bytes.
LINE_LENGTH = 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonLines:
    """A file as a stream of rows and faults, in its order."""

    part = "field"
    # an asset or a type may come, and what is in the way may be given up, further down
    resolvable: tuple[type[HeadwaterError], ...] = (NotFound, ResolvableConflict, UnknownType)

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0
        self._file = file

    def __iter__(self) -> Iterator[Row | RowError]:
        number = 0
        while line := self._readline():
            number += 1
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if len(line) > LINE_LENGTH:
                self._pass_over_rest_of(line)
                yield RowError(number, None, f"The line is longer than {LINE_LENGTH} bytes.")
            elif not line.isspace():
                yield self._read(number, line)

    def row_error(self, line: int, error: HeadwaterError) -> RowError:
        return fault_of(line, error.field, error.message, error.code)

    def _read(self, number: int, line: bytes) -> Row | RowError:
        try:
            return Row(number, _said(line))
        except BadInput as error:
            return self.row_error(number, error)

    def _readline(self) -> bytes:
        line = self._file.readline(LINE_LENGTH + 1)
        self.position += len(line)
        return line

    def _pass_over_rest_of(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._readline()


def _said(line: bytes) -> ParsedStatement:
    """What a line says, checked as far as that can be done without the registries."""
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The line is no JSON: {error.msg}, at character {error.pos + 1}.") from error
    if not isinstance(content, dict):
        raise BadInput('The line is no JSON object, such as {"kind": "delete", "uid": "…"}. Each object stands on one line.')
    name = content.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadInput(f"kind is one of {', '.join(KINDS)}; here it is {name!r}.", field="kind")
    return kind.said(kind.fields.of(content))


class Fields:
    """The fields that an object has to have, and those that it may have."""

    def __init__(self, required: str, optional: str = "") -> None:
        self._required = required.split()
        self.known = frozenset([*self._required, *optional.split()])

    def of(self, content: dict[str, Any], field: str | None = None) -> dict[str, Any]:
        """The object, if it has those fields and no others. One that is a field itself is at fault as that."""
        if not content.keys() <= self.known:
            name = min(content.keys() - self.known)
            raise BadInput(f"There is no field {name!r} here. There are {', '.join(sorted(self.known))}.", field=field or name)
        for name in self._required:
            if content.get(name) is None:
                raise BadInput(f"{name} is missing.", field=field or name)
        return content

    def within(self, content: Mapping[str, Any], field: str) -> dict[str, Any]:
        """The same of the object that is a field of another."""
        value = content[field]
        if not isinstance(value, dict):
            raise BadInput(f"{field} has to be a JSON object.", field=field)
        return self.of(value, field)


class LineKind(NamedTuple):
    """What a line may be about: its fields, and what it says."""

    fields: Fields
    said: Callable[[dict[str, Any]], ParsedStatement]


_SOURCE = Fields("service endpoint lookupField", "isLocal")
_DETAIL = Fields("type value")
_REFERENCE = Fields("", "uid product entity")
_KEY = Fields("type key")


def _product(content: dict[str, Any]) -> AssetState:
    uid, at = _uid(content), _instant(content)
    tags = content.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(it, str) for it in tags)):
        raise BadInput("tags has to be a JSON list of texts.", field="tags")
    payload = product_fields.validate_state(content)
    ref = IdentitySpec(uid) if uid is not None else IdentitySpec(new_uid=product_uid(payload["name"]))
    return AssetState(PRODUCT, ref, payload, at)


def _entity(content: dict[str, Any]) -> EntityState:
    uid, at = _uid(content), _instant(content)
    type_, name, key = _text(content, "type"), _text(content, "displayName"), content.get("key")
    if key is not None:
        ref = IdentitySpec(uid, type_, entity_fields.key(key), entity_uid_by_key(type_, key) if uid is None else None)
    else:
        ref = IdentitySpec(uid or entity_uid(type_, name), type_)
    return EntityState(ref, name, _details(content.get("details")), at)


def _entity_type(content: dict[str, Any]) -> RegistryEntry:
    source = content.get("source")
    if source is not None:
        given = _SOURCE.within(content, "source")
        if not isinstance(given.get("isLocal", False), bool):
            raise BadInput("isLocal is true or false.", field="source")
        source = {
            "service": given["service"],
            "endpoint": given["endpoint"],
            "lookup_field": given["lookupField"],
            "is_local": given.get("isLocal"),
        }
    return entity_type.validate_state(_text(content, "code"), content["label"], content.get("domain"), source)


def _detail_type(content: dict[str, Any]) -> RegistryEntry:
    return detail_type.validate_state(_text(content, "code"), content["label"], content.get("format"))


def _link(content: dict[str, Any]) -> lineage_link.LinkState:
    return lineage_link.LinkState(
        _end(content, "source"),
        _end(content, "target"),
        lineage_link_fields.producer(content.get("producer")),
        lineage_link_fields.validate_state(content),
        _instant(content),
    )


def _relationship_type(content: dict[str, Any]) -> RegistryEntry:
    return relationship_type.validate_state(
        key=_text(content, "key"),
        reverse_key=_text(content, "reverseKey"),
        origin=_text(content, "origin"),
        related=_text(content, "related"),
        cardinality=_text(content, "cardinality"),
        on_delete=content.get("onDelete"),
        foreign_key_field=content.get("foreignKeyField"),
    )


def _relationship(content: dict[str, Any]) -> relationship.RelationshipState:
    return relationship.RelationshipState(
        _text(content, "type"),
        _end(content, "origin"),
        _end(content, "related"),
        relationship_fields.validate_state(content),
        _instant(content),
    )


def _delete(content: dict[str, Any]) -> Deletion:
    uid = _uid(content)
    assert uid is not None, "it is required"
    return Deletion(uid, _instant(content))


KINDS = {
    "product": LineKind(Fields("name domain owner schema", "uid description tags status version at"), _product),
    "entity": LineKind(Fields("type displayName", "uid key details at"), _entity),
    "entityType": LineKind(Fields("code label", "domain source"), _entity_type),
    "detailType": LineKind(Fields("code label", "format"), _detail_type),
    "relationshipType": LineKind(
        Fields("key reverseKey origin related cardinality", "onDelete foreignKeyField"), _relationship_type
    ),
    "relationship": LineKind(Fields("type origin related", "attributes at"), _relationship),
    "link": LineKind(Fields("source target", "type transformation confidence metadata producer at"), _link),
    "delete": LineKind(Fields("uid", "at"), _delete),
}


def _text(content: Mapping[str, Any], name: str, field: str | None = None) -> str:
    value = content[name]
    if not isinstance(value, str):
        raise BadInput(f"{name} has to be text.", field=field or name)
    refuse_unstorable(field or name, value)
    return value


def _uid(content: dict[str, Any], field: str = "uid") -> UUID | None:
    value = content.pop("uid", None)
    if value is None:
        return None
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"{value!r} is no UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101.", field=field) from error


def _instant(content: dict[str, Any]) -> datetime | None:
    value = content.pop("at", None)
    try:
        return None if value is None else read_instant(value)
    except BadInput as error:
        raise BadInput(error.message, field="at") from error


def _details(listed: Any) -> dict[str, str]:
    details: dict[str, str] = {}
    if listed is None:
        return details
    if not isinstance(listed, list) or not all(isinstance(it, dict) for it in listed):
        raise BadInput(
            'details has to be a JSON list of objects such as {"type": "email", "value": "ann@shop.example"}.', field="details"
        )
    for it in listed:
        given = _DETAIL.of(it, "details")
        code, value = _text(given, "type", "details"), _text(given, "value", "details")
        if code in details:
            raise BadInput(f"details has two of the type {code}. An entity has one of each type.", field="details")
        details[code] = value
    return details


def _end(content: Mapping[str, Any], field: str) -> AssetRef:
    """The asset that a bond begins or ends at."""
    meant = {name: value for name, value in _REFERENCE.within(content, field).items() if value is not None}
    if len(meant) != 1:
        raise BadInput(f"{field} names an asset by exactly one of uid, product and entity.", field=field)
    if "uid" in meant:
        return AssetRef(uid=_uid(meant, field))
    if "product" in meant:
        return AssetRef(product=_text(meant, "product", field))
    key = _KEY.within(meant, "entity")
    return AssetRef(type=_text(key, "type", field), key=_text(key, "key", field))
