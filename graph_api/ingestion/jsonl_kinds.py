"""Kinds of JSON lines: the fields of each, and the statement that it makes.

A line is one object in UTF-8. Its `kind` names the subject; its other fields are those of the GraphQL input for the same subject.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from db.assets import entity_fields, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.product import product_uid_by_name
from db.assets.reference import AssetRef
from db.associations import lineage_link, lineage_link_fields, relationship, relationship_fields
from db.associations.reference import LinkEnds, RelationshipEnds
from db.bulk.ingest import AssetState, NamedDeletion, RegistryEntry
from db.errors import BadInput
from db.fields import refuse_unstorable
from db.instants import read_instant
from db.registries import detail_type, entity_type, relationship_type
from db.temporal.kinds import PRODUCT
from graph_api.ingestion.row import EntityState, ParsedStatement
from graph_api.ingestion.uids import entity_spec


class Fields:
    """The required and the optional fields of an object."""

    def __init__(self, required: str, optional: str = "") -> None:
        self._required = required.split()
        self.names = frozenset([*self._required, *optional.split()])

    def check(self, content: dict[str, Any], parent: str | None = None) -> dict[str, Any]:
        """Return the object, or raise BadInput if a field is unknown or missing.

        The error names the field, or the parent if the object is the value of a field itself.
        """
        if not content.keys() <= self.names:
            name = min(content.keys() - self.names)
            raise BadInput(f"There is no field {name!r} here. There are {', '.join(sorted(self.names))}.", field=parent or name)
        for name in self._required:
            if content.get(name) is None:
                raise BadInput(f"{name} is missing.", field=parent or name)
        return content

    def check_field(self, content: Mapping[str, Any], field: str) -> dict[str, Any]:
        """Check the object that is the value of a field, and return it."""
        value = content[field]
        if not isinstance(value, dict):
            raise BadInput(f"{field} must be a JSON object.", field=field)
        return self.check(value, field)


class LineKind(NamedTuple):
    """Fields of a kind of lines, and the function that makes a statement of them."""

    fields: Fields
    parse: Callable[[dict[str, Any]], ParsedStatement]


_SOURCE = Fields("service endpoint lookupField", "isLocal")
_DETAIL = Fields("type value")
_REFERENCE = Fields("", "uid product entity")
_KEY = Fields("type key")
_LINK_ENDS = Fields("source target", "producer")
_RELATIONSHIP_ENDS = Fields("type origin related")


def _texts(content: dict[str, Any], name: str) -> list[str] | None:
    value = content.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(it, str) for it in value)):
        raise BadInput(f"{name} must be a JSON list of texts.", field=name)
    return value


def _product(content: dict[str, Any]) -> AssetState:
    uid, at = _uid(content), _instant(content)
    _texts(content, "tags")
    payload = product_fields.validate_state(content)
    ref = IdentitySpec(uid) if uid is not None else IdentitySpec(new_uid=product_uid_by_name(payload["name"]))
    return AssetState(PRODUCT, ref, payload, at)


def _entity(content: dict[str, Any]) -> EntityState:
    uid, at = _uid(content), _instant(content)
    type_, name, key = _text(content, "type"), _text(content, "displayName"), content.get("key")
    keys = entity_fields.keys(key, _texts(content, "alternateKeys"))
    return EntityState(entity_spec(uid, type_, key, name), name, _details(content.get("details")), at, keys)


def _entity_type(content: dict[str, Any]) -> RegistryEntry:
    source = None
    if content.get("source") is not None:
        fields = _SOURCE.check_field(content, "source")
        if not isinstance(fields.get("isLocal", False), bool):
            raise BadInput("isLocal must be true or false.", field="source")
        source = {
            "service": fields["service"],
            "endpoint": fields["endpoint"],
            "lookup_field": fields["lookupField"],
            "is_local": fields.get("isLocal"),
        }
    return entity_type.validate_state(_text(content, "code"), content["label"], content.get("domain"), source)


def _detail_type(content: dict[str, Any]) -> RegistryEntry:
    return detail_type.validate_state(_text(content, "code"), content["label"], content.get("format"), content.get("role"))


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


def _delete(content: dict[str, Any]) -> Deletion | NamedDeletion:
    at = _instant(content)
    subject = {name: value for name, value in content.items() if value is not None}
    if len(subject) != 1:
        raise BadInput("A delete line has to name one thing by exactly one of uid, product, entity, link and relationship.")
    (field,) = subject
    if field in _REFERENCE.names:
        ref = _asset_ref(subject, field)
        return NamedDeletion(ref, at) if ref.uid is None else Deletion(ref.uid, at)
    if field == "link":
        ends = _LINK_ENDS.check_field(subject, field)
        producer = lineage_link_fields.producer(ends.get("producer"))
        link = LinkEnds(_end(ends, "source"), _end(ends, "target"), producer, any_producer="producer" not in ends)
        return NamedDeletion(link, at)
    ends = _RELATIONSHIP_ENDS.check_field(subject, field)
    type_ = _text(ends, "type")
    return NamedDeletion(RelationshipEnds(type_, _end(ends, "origin"), _end(ends, "related")), at)


KINDS = {
    "product": LineKind(Fields("name domain owner schema", "uid description tags status version at"), _product),
    "entity": LineKind(Fields("type displayName", "uid key alternateKeys details at"), _entity),
    "entityType": LineKind(Fields("code label", "domain source"), _entity_type),
    "detailType": LineKind(Fields("code label", "format role"), _detail_type),
    "relationshipType": LineKind(
        Fields("key reverseKey origin related cardinality", "onDelete foreignKeyField"), _relationship_type
    ),
    "relationship": LineKind(Fields("type origin related", "attributes at"), _relationship),
    "link": LineKind(Fields("source target", "type transformation confidence metadata producer at"), _link),
    "delete": LineKind(Fields("", "uid product entity link relationship at"), _delete),
}


def _text(content: Mapping[str, Any], name: str, parent: str | None = None) -> str:
    value = content[name]
    if not isinstance(value, str):
        raise BadInput(f"{name} must be text.", field=parent or name)
    refuse_unstorable(parent or name, value)
    return value


def _uid(content: dict[str, Any], parent: str = "uid") -> UUID | None:
    value = content.pop("uid", None)
    if value is None:
        return None
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"{value!r} is not a UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101.", field=parent) from error


def _instant(content: dict[str, Any]) -> datetime | None:
    value = content.pop("at", None)
    try:
        return None if value is None else read_instant(value)
    except BadInput as error:
        raise BadInput(error.message, field="at") from error


def _details(items: Any) -> dict[str, str]:
    details: dict[str, str] = {}
    if items is None:
        return details
    if not isinstance(items, list) or not all(isinstance(it, dict) for it in items):
        raise BadInput(
            'details must be a JSON list of objects such as {"type": "email", "value": "ann@shop.example"}.', field="details"
        )
    for item in items:
        fields = _DETAIL.check(item, "details")
        code, value = _text(fields, "type", "details"), _text(fields, "value", "details")
        if code in details:
            raise BadInput(f"details has two of the type {code}. Give one of each type.", field="details")
        details[code] = value
    return details


def _end(content: Mapping[str, Any], field: str) -> AssetRef:
    """Return the reference to an end of a link or relationship."""
    reference = {name: value for name, value in _REFERENCE.check_field(content, field).items() if value is not None}
    if len(reference) != 1:
        raise BadInput(f"{field} has to name an asset by exactly one of uid, product and entity.", field=field)
    return _asset_ref(reference, field)


def _asset_ref(reference: dict[str, Any], field: str) -> AssetRef:
    """Return the reference of an object with one of the fields that name an asset. Errors name `field`."""
    if "uid" in reference:
        return AssetRef(uid=_uid(reference, field))
    if "product" in reference:
        return AssetRef(product=_text(reference, "product", field))
    key = _KEY.check_field(reference, "entity")
    return AssetRef(type=_text(key, "type", field), key=_text(key, "key", field))
