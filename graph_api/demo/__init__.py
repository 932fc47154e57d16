"""The demo mesh: an online shop's data products, whom and what they go through, what feeds what, and the year they have had.
Loaded once, whole, into an empty tenant."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from db import asset, detail_type, entity, entity_fields, entity_type, link, link_fields, product
from db.asset import Ref
from db.connection import Author, Database, WriteConnection
from db.entity import ENTITY
from db.errors import HeadwaterError
from db.ingest import Stated, ingest
from db.product import PRODUCT
from db.temporal import Assertion, Operation, Outcome, anything_recorded
from graph_api.auth import DEFAULT_TENANT_ID
from graph_api.demo import entities, lineage, products


def uid(name: str) -> UUID:
    """The same for the same name, so that every demo has the same uids: a product's name at first, an entity's type and name."""
    return uuid5(NAMESPACE_URL, f"headwater-demo/{name}")


async def load(database: Database) -> bool:
    """Load the mesh, unless something was written here before. Says whether it did."""
    async with database.transaction(DEFAULT_TENANT_ID, Author("demo")) as connection:
        if await anything_recorded(connection):
            return False
        await _write_products(connection)
        await _write_entities(connection)
        await _write_lineage(connection)
        return True


async def _write_products(connection: WriteConnection) -> None:
    for name, domain, owner, since, schema, description, tags in products.REGISTERED:
        fields = {"name": name, "domain": domain, "owner": owner, "description": description, "tags": tags.split()}
        await product.register(connection, {**fields, "schema": _schema(schema)}, uid=uid(name), at=_at(since))
    for name, day, changes in products.UPDATED:
        schemas = {field: _schema(described) for field, described in changes.items() if field == "schema"}
        await product.update(connection, uid(name), {**changes, **schemas}, at=_at(day))
    for name, day in products.DELETED:
        await asset.end(connection, PRODUCT, uid(name), at=_at(day))
    for name, day in products.RESTORED:
        await asset.revive(connection, PRODUCT, uid(name), at=_at(day))


async def _write_entities(connection: WriteConnection) -> None:
    for entity_code, label, domain, source in entities.ENTITY_TYPES:
        await entity_type.put(connection, entity_code, label, domain, source)
    for detail_code, label, format_ in entities.DETAIL_TYPES:
        await detail_type.put(connection, detail_code, label, format_)
    await _state(connection, entities.CREATED)
    await _state(
        connection,
        [("TABLE", key, name, day, f"rows={count}") for key, name, counts in entities.COUNTED for day, count in counts.items()],
    )
    for name, day, changes in entities.UPDATED:
        await entity.update(connection, uid(name), changes, at=_at(day))
    for name, day in entities.DELETED:
        await asset.end(connection, ENTITY, uid(name), at=_at(day))
    for name, day in entities.RESTORED:
        await asset.revive(connection, ENTITY, uid(name), at=_at(day))
    await _state(connection, entities.BORN_EARLIER)


async def _state(connection: WriteConnection, states: Iterable[tuple[str, str | None, str, str, str]]) -> None:
    """Write whole states of entities: type, key, display name, since, details."""
    types = await entity.types_known(connection)
    stated = [
        Stated(
            ENTITY,
            Ref(uid(f"{type_}/{name}"), type_, key),
            entity_fields.whole(types, type_, name, _parts(details)),
            _at(since),
        )
        for type_, key, name, since, details in states
    ]
    _require(await ingest(connection, stated))


async def _write_lineage(connection: WriteConnection) -> None:
    """Write all that was ever said of links, then end some, and begin those anew that came back."""
    states: dict[tuple[str, str, str | None], dict[str, Any]] = {}

    def stated(source: str, target: str, producer: str | None, day: str, fields: dict[str, Any]) -> link.Stated:
        state = states[source, target, producer] = {**states.get((source, target, producer), {}), **fields}
        return link.Stated(link.End(uid(source)), link.End(uid(target)), producer, link_fields.whole(state), _at(day))

    said = []
    for sources, target, type_, producer, since, confidence, transformation, metadata in lineage.STATED:
        fields = {"type": type_, "confidence": confidence, "transformation": transformation, "metadata": _parts(metadata)}
        said += [stated(source, target, producer, since, fields) for source in sources.split(", ")]
    _require(await link.state_each(connection, said + [stated(*it) for it in lineage.CHANGED]))

    removed = [link.link_uid(uid(source), uid(target), producer) for source, target, producer, _ in lineage.REMOVED]
    ids = [it for it in await link.lock_by_uid(connection, removed) if it is not None]
    ended = [Assertion(id_, Operation.DELETE, None, _at(day)) for id_, (*_, day) in zip(ids, lineage.REMOVED, strict=True)]
    _require(await link.state_each(connection, [stated(*it) for it in lineage.RETURNED], ended=ended))


def _require(outcomes: Sequence[Outcome | HeadwaterError]) -> None:
    """That nothing was refused."""
    for outcome in outcomes:
        if isinstance(outcome, HeadwaterError):
            raise outcome


def _at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _parts(described: str) -> dict[str, str]:
    """`job=load; tile=All` as what it says."""
    return dict(it.split("=", 1) for it in described.split("; ") if it)


def _schema(described: str) -> dict[str, Any]:
    """`id:int email:string` as a schema."""
    return {"fields": [dict(zip(("name", "type"), it.split(":"), strict=True)) for it in described.split()]}
