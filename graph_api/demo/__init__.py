"""The demo mesh: an online shop's data products, whom and what they go through, what feeds what, who answers for it, and the year
they have had. Loaded once, whole, into an empty tenant."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from db.assets import asset, entity, entity_fields, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.associations import lineage_link, lineage_link_fields, relationship, relationship_fields
from db.associations.association import AssetRef
from db.author import Author
from db.bulk.ingest import AssetState, Statement, ingest, register
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change
from db.database import Database
from db.errors import HeadwaterError
from db.pagination import Page
from db.registries import detail_type, entity_type, relationship_type
from db.registries.type_registry import read_type_registry
from db.temporal.change_log import Assertion, Operation, has_changes
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from graph_api.demo import entities, lineage, products, relationships

T = TypeVar("T")

_Between: TypeAlias = tuple[str, str, str | None]


def uid(name: str) -> UUID:
    """The same for the same name, so that every demo has the same uids: a product's name at first, an entity's type and name."""
    return uuid5(NAMESPACE_URL, f"headwater-demo/{name}")


async def load(database: Database) -> bool:
    """Load the mesh, unless something was written here before. Says whether it did."""
    async with database.transaction(DEFAULT_TENANT_ID, Author("demo")) as connection:
        if await has_changes(connection):
            return False
        await _write_products(connection)
        await _write_entities(connection)
        await _write_lineage(connection)
        await _write_relationships(connection)
        return True


async def _write_products(connection: WriteConnection) -> None:
    registered = []
    for name, domain, owner, since, schema, description, tags in products.REGISTERED:
        about = {"name": name, "domain": domain, "owner": owner, "description": description, "tags": tags.split()}
        state = product_fields.validate_state(_described({**about, "schema": schema}))
        registered.append(AssetState(PRODUCT, IdentitySpec(uid(name)), state, _at(since)))
    await _say(connection, registered)
    for changed in (products.UPDATED, products.SAID_LATE):
        patches = [(name, day, product_fields.validate_patch(_described(fields))) for name, day, fields in changed]
        await _change(connection, PRODUCT, patches)
    await _say(connection, [Deletion(uid(name), _at(day)) for name, day in products.DELETED])
    for name, day in products.RESTORED:
        await asset.restore(connection, PRODUCT, uid(name), at=_at(day))


async def _write_entities(connection: WriteConnection) -> None:
    entity_types = [entity_type.validate_state(*it) for it in entities.ENTITY_TYPES]
    _accepted(await register(connection, [*entity_types, *(detail_type.validate_state(*it) for it in entities.DETAIL_TYPES)]))
    types = await read_type_registry(connection)

    def stated(type_: str, key: str | None, name: str, since: str, details: str) -> AssetState:
        state = entity_fields.validate_state(types, type_, name, _parts(details))
        return AssetState(ENTITY, IdentitySpec(uid(f"{type_}/{name}"), type_, key), state, _at(since))

    tables = [
        stated("TABLE", key, name, day, f"rows={count}")
        for key, name, counts in entities.COUNTED
        for day, count in counts.items()
    ]
    await _say(connection, [stated(*it) for it in entities.CREATED] + tables)
    for changed in (entities.UPDATED, entities.SAID_LATE):
        await _change(
            connection, ENTITY, [(name, day, entity_fields.validate_patch(types, fields)) for name, day, fields in changed]
        )
    await _say(connection, [Deletion(uid(name), _at(day)) for name, day in entities.DELETED])
    for name, day in entities.RESTORED:
        await asset.restore(connection, ENTITY, uid(name), at=_at(day))
    await _say(connection, [stated(*it) for it in entities.BORN_EARLIER])


async def _write_lineage(connection: WriteConnection) -> None:
    states: dict[_Between, dict[str, Any]] = {}

    def stated(source: str, target: str, producer: str | None, day: str, fields: dict[str, Any]) -> lineage_link.LinkState:
        state = states[source, target, producer] = {**states.get((source, target, producer), {}), **fields}
        return lineage_link.LinkState(
            AssetRef(uid(source)), AssetRef(uid(target)), producer, lineage_link_fields.validate_state(state), _at(day)
        )

    said: list[Statement] = []
    for sources, target, type_, producer, since, confidence, transformation, metadata in lineage.STATED:
        fields = {"type": type_, "confidence": confidence, "transformation": transformation, "metadata": _parts(metadata)}
        said += [stated(source, target, producer, since, fields) for source in sources.split(", ")]
    said += [stated(*it) for it in lineage.CHANGED + lineage.RETURNED]
    said += [Deletion(_link_uid(source, target, producer), _at(day)) for source, target, producer, day in lineage.REMOVED]
    await _say(connection, said)

    between = {_link_uid(*it): it for it in states}
    again: list[Statement] = []
    for producer, day in lineage.SEEN:
        query = lineage_link.LinkQuery(producers=(producer,), as_of=_at(day))
        holding = await lineage_link.list_links(connection, query, Page(len(states)))
        again += [stated(*between[it.uid], day, {}) for it in holding.items]
    await _say(connection, again)


async def _write_relationships(connection: WriteConnection) -> None:
    joined_by = {it.key: it for it in (relationship_type.validate_state(*it) for it in relationships.RELATIONSHIP_TYPES)}
    _accepted(await register(connection, list(joined_by.values())))
    types = await read_type_registry(connection)

    def stated(type_: str, key: str, name: str, since: str, details: str) -> AssetState:
        state = entity_fields.validate_state(types, type_, name, _parts(details))
        return AssetState(ENTITY, IdentitySpec(None, type_, key, entity.entity_uid_by_key(type_, key)), state, _at(since))

    def joined(type_: str, origins: str, related: str, since: str, attributes: str) -> list[relationship.RelationshipState]:
        by, state = joined_by[type_], relationship_fields.validate_state({"attributes": _parts(attributes)})
        ends = [(_joined_end(by.origin, it), _joined_end(by.related, related)) for it in origins.split(", ")]
        return [relationship.RelationshipState(by.code, *each, state, _at(since)) for each in ends]

    def ended(type_: str, origins: str, related: str, day: str) -> list[Deletion]:
        by = joined_by[type_]
        ends = [(_joined_uid(by.origin, it), _joined_uid(by.related, related)) for it in origins.split(", ")]
        return [Deletion(relationship.relationship_uid(by, *each), _at(day)) for each in ends]

    said: list[Statement] = [stated("CONTRACT", *it) for it in relationships.CONTRACTS]
    for it in relationships.JOINED + relationships.CHANGED:
        said += joined(*it)
    for ending in relationships.ENDED:
        said += ended(*ending)
    await _say(connection, said)
    later: list[Statement] = [stated("CUSTOMER", *it) for it in relationships.CUSTOMERS]
    later += [Deletion(_joined_uid("CONTRACT", key), _at(day)) for key, day in relationships.CONTRACTS_DELETED]
    for it in relationships.SAID_LATE:
        later += joined(*it)
    for ending in relationships.ENDED_SAID_LATE:
        later += ended(*ending)
    await _say(connection, later)


async def _say(connection: WriteConnection, statements: Sequence[Statement]) -> None:
    _accepted(await ingest(connection, statements))


async def _change(connection: WriteConnection, kind: Kind, patches: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Change assets in part: which, from when on, what."""
    identities = _accepted(
        await asset.add_or_lock_each(connection, kind, [IdentitySpec(uid(name), create_missing=False) for name, *_ in patches])
    )
    said = zip(identities, patches, strict=True)
    await record_asset_change(
        connection, kind, [Assertion(it.asset_id, Operation.PATCH, patch, _at(day)) for it, (_, day, patch) in said]
    )


def _accepted(outcomes: Iterable[T | HeadwaterError]) -> list[T]:
    """What became of each. Nothing of the mesh is refused."""
    accepted = []
    for outcome in outcomes:
        if isinstance(outcome, HeadwaterError):
            raise outcome
        accepted.append(outcome)
    return accepted


def _link_uid(source: str, target: str, producer: str | None) -> UUID:
    return lineage_link.link_uid(uid(source), uid(target), producer)


def _joined_end(type_: str, name: str) -> AssetRef:
    """An end of a join. What is named by its key may be unknown but for that."""
    return AssetRef(type=type_, key=name) if type_ in relationships.BY_KEY else AssetRef(_joined_uid(type_, name))


def _joined_uid(type_: str, name: str) -> UUID:
    if type_ in relationships.BY_KEY:
        return entity.entity_uid_by_key(type_, name)
    return uid(name if type_ == PRODUCT.name else f"{type_}/{name}")


def _at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _parts(described: str) -> dict[str, str]:
    """`job=load; tile=All` as what it says."""
    return dict(it.split("=", 1) for it in described.split("; ") if it)


def _described(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a product whose schema, if it is among them, stands there as `id:int email:string`."""
    if "schema" not in fields:
        return fields
    columns = [dict(zip(("name", "type"), it.split(":"), strict=True)) for it in fields["schema"].split()]
    return {**fields, "schema": {"fields": columns}}
