"""JSON lines out: all that is known, in the form in which `ingestion/jsonl.py` reads it. What is null is left out."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from db.bulk import export
from db.connection import ReadConnection
from db.instants import write_instant
from db.registries.detail_type import all_detail_types
from db.registries.entity_type import all_entity_types
from db.registries.relationship_type import all_relationship_types
from db.temporal.kinds import ENTITY, LINK, PRODUCT, RELATIONSHIP


async def lines(connection: ReadConnection, as_of: datetime | None) -> AsyncIterator[bytes]:
    """All that ever was, or what holds at an instant: registries, assets, what is between them, one object a line."""
    async for said in _said(connection, as_of):
        stated = {name: value for name, value in said.items() if value is not None}
        # the driver's UUIDs are a class of its own
        yield orjson.dumps(stated, default=str, option=orjson.OPT_APPEND_NEWLINE)


async def _said(connection: ReadConnection, as_of: datetime | None) -> AsyncIterator[dict[str, Any]]:
    for entity_type in await all_entity_types(connection):
        source = None if entity_type.source is None else _source(entity_type.source)
        registered = {"code": entity_type.code, "label": entity_type.label}
        yield {"kind": "entityType", **registered, "domain": entity_type.domain, "source": source}
    for detail_type in await all_detail_types(connection):
        yield {"kind": "detailType", "code": detail_type.code, "label": detail_type.label, "format": detail_type.format}
    relationship_types = await all_relationship_types(connection)
    joined_by = relationship_types.by_id
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
    async for it in export.assets(connection, PRODUCT, as_of):
        yield {"kind": "product", "uid": it.uid, **it.state, "at": write_instant(it.valid_from)}
        if it.ended is not None:
            yield _end(it.uid, it.ended)
    async for it in export.assets(connection, ENTITY, as_of):
        details = [{"type": code, "value": value} for code, value in it.state["details"].items()]
        state = {"displayName": it.state["display_name"], "details": details}
        yield {"kind": "entity", "uid": it.uid, "type": it.type, "key": it.key, **state, "at": write_instant(it.valid_from)}
        if it.ended is not None:
            yield _end(it.uid, it.ended)
    async for link in export.associations(connection, LINK, as_of):
        ends = {"source": {"uid": link.near}, "target": {"uid": link.far}}
        yield {"kind": "link", **ends, "producer": link.discriminator, **link.state, "at": write_instant(link.valid_from)}
        if link.ended is not None:
            yield _end(link.uid, link.ended)
    async for join in export.associations(connection, RELATIONSHIP, as_of):
        ends = {"origin": {"uid": join.near}, "related": {"uid": join.far}}
        code = joined_by[join.discriminator].code
        yield {"kind": "relationship", "type": code, **ends, **join.state, "at": write_instant(join.valid_from)}
        if join.ended is not None:
            yield _end(join.uid, join.ended)


def _source(source: dict[str, Any]) -> dict[str, Any]:
    return {
        "service": source["service"],
        "endpoint": source["endpoint"],
        "lookupField": source["lookup_field"],
        "isLocal": source["is_local"],
    }


def _end(uid: UUID, at: datetime) -> dict[str, Any]:
    return {"kind": "delete", "uid": uid, "at": write_instant(at)}
