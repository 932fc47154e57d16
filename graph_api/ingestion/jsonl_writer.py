"""Export as JSON lines, in the form that `jsonl_kinds` reads. Fields that are null are left out."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import orjson

from db.bulk import export
from db.bulk.export import AssetPeriod, AssociationPeriod
from db.connection import ReadConnection
from db.instants import write_instant
from db.registries.detail_type import DETAIL_TYPES
from db.registries.entity_type import ENTITY_TYPES
from db.registries.relationship_type import all_relationship_types
from db.temporal.kinds import ENTITY, LINK, PRODUCT, RELATIONSHIP


async def lines(connection: ReadConnection, as_of: datetime | None) -> AsyncIterator[bytes]:
    """Yield registries, assets, links and relationships as lines: their whole history, or what is valid at an instant."""
    async for content in _contents(connection, as_of):
        present = {name: value for name, value in content.items() if value is not None}
        # asyncpg has a UUID class, which orjson does not know
        yield orjson.dumps(present, default=str, option=orjson.OPT_APPEND_NEWLINE)


async def _contents(connection: ReadConnection, as_of: datetime | None) -> AsyncIterator[dict[str, Any]]:
    for entity_type in await ENTITY_TYPES.all(connection):
        yield {
            "kind": "entityType",
            "code": entity_type.code,
            "label": entity_type.label,
            "domain": entity_type.domain,
            "source": None if entity_type.source is None else _source(entity_type.source),
        }
    for detail_type in await DETAIL_TYPES.all(connection):
        yield {
            "kind": "detailType",
            "code": detail_type.code,
            "label": detail_type.label,
            "format": detail_type.format,
            "role": detail_type.role,
        }
    relationship_types = await all_relationship_types(connection)
    for type_ in relationship_types.rows:
        yield {
            "kind": "relationshipType",
            "key": type_.key,
            "reverseKey": type_.reverse_key,
            "origin": type_.origin,
            "related": type_.related,
            "cardinality": type_.cardinality,
            "onDelete": type_.on_delete,
            "foreignKeyField": type_.foreign_key_field,
        }
    async for product in export.assets(connection, PRODUCT, as_of):
        for content in _period(product, "product", product.state):
            yield content
    async for entity in export.assets(connection, ENTITY, as_of):
        key, *alternates = entity.state["keys"] or [None]
        # without either, a line leaves the keys as they are
        alternate_keys = None if key is not None and not alternates else alternates
        details = [{"type": code, "value": value} for code, value in entity.state["details"].items()]
        state = {
            "type": entity.type,
            "key": key,
            "alternateKeys": alternate_keys,
            "displayName": entity.state["display_name"],
            "details": details,
        }
        for content in _period(entity, "entity", state):
            yield content
    async for link in export.associations(connection, LINK, as_of):
        state = {"source": {"uid": link.near}, "target": {"uid": link.far}, "producer": link.discriminator, **link.state}
        for content in _period(link, "link", state, with_uid=False):
            yield content
    async for relationship in export.associations(connection, RELATIONSHIP, as_of):
        type_code = relationship_types.by_id[relationship.discriminator].code
        ends = {"origin": {"uid": relationship.near}, "related": {"uid": relationship.far}}
        for content in _period(relationship, "relationship", {"type": type_code, **ends, **relationship.state}, with_uid=False):
            yield content


def _period(
    period: AssetPeriod | AssociationPeriod, kind: str, state: dict[str, Any], *, with_uid: bool = True
) -> list[dict[str, Any]]:
    """Return the line of a period, and that of the deletion at its end if there is one.

    The uid of an association follows from its ends.
    """
    uid = {"uid": period.uid} if with_uid else {}
    contents = [{"kind": kind, **uid, **state, "at": write_instant(period.valid_from)}]
    if period.ended is not None:
        contents.append({"kind": "delete", "uid": period.uid, "at": write_instant(period.ended)})
    return contents


def _source(source: dict[str, Any]) -> dict[str, Any]:
    return {
        "service": source["service"],
        "endpoint": source["endpoint"],
        "lookupField": source["lookup_field"],
        "isLocal": source["is_local"],
    }
