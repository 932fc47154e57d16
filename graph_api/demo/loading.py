"""The load of the demo data into an empty tenant, in one transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from db.assets import asset, entity_fields, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity_key import entity_uid_by_key
from db.assets.reference import AssetRef
from db.associations import lineage_link, lineage_link_fields, reference, relationship, relationship_fields
from db.author import Author
from db.bulk.ingest import AssetState, BatchEntry, ingest, register
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change
from db.database import Database
from db.pagination import Page
from db.registries import detail_type, entity_type, relationship_type
from db.registries.relationship_type import RelationshipTypeRow
from db.registries.type_registry import TypeRegistry, read_type_registry
from db.temporal.change_log import Assertion, Operation, has_changes, raise_first_error
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT
from db.tenant_ids import DEFAULT_TENANT_ID
from graph_api.demo import entities, lineage, products, relationships

# Source, target and producer of a link, by names.
_LinkNames: TypeAlias = tuple[str, str, str | None]


async def load(database: Database) -> bool:
    """Load the demo data if the tenant has no changes. Return True if it was loaded."""
    async with database.transaction(DEFAULT_TENANT_ID, Author("demo")) as connection:
        if await has_changes(connection):
            return False
        await _load_products(connection)
        await _load_entities(connection)
        await _load_lineage(connection)
        await _load_relationships(connection)
        return True


def _uid(name: str) -> UUID:
    """Derive the uid of an asset, which is the same in every demo.

    The name is the first name of a product, or the type and first display name of an entity.
    """
    return uuid5(NAMESPACE_URL, f"headwater-demo/{name}")


async def _load_products(connection: WriteConnection) -> None:
    registered = []
    for name, domain, owner, since, schema, description, tags in products.REGISTERED:
        fields = {"name": name, "domain": domain, "owner": owner, "description": description, "tags": tags.split()}
        state = product_fields.validate_state(_with_schema({**fields, "schema": schema}))
        registered.append(AssetState(PRODUCT, IdentitySpec(_uid(name)), state, _instant(since)))
    await _ingest(connection, registered)
    for updates in (products.UPDATED, products.UPDATED_LATE):
        patches = [(name, day, product_fields.validate_patch(_with_schema(fields))) for name, day, fields in updates]
        await _patch(connection, PRODUCT, patches)
    await _delete_and_restore(connection, PRODUCT, products.DELETED, products.RESTORED)


async def _load_entities(connection: WriteConnection) -> None:
    entity_types = [entity_type.validate_state(*it) for it in entities.ENTITY_TYPES]
    detail_types = [detail_type.validate_state(*it) for it in entities.DETAIL_TYPES]
    raise_first_error(await register(connection, [*entity_types, *detail_types]))
    types = await read_type_registry(connection)

    def state(type_: str, key: str | None, name: str, since: str, details: str) -> AssetState:
        return _entity_state(types, IdentitySpec(_uid(f"{type_}/{name}"), type_, key), name, since, details)

    tables = [
        state("TABLE", key, name, day, f"rows={count}")
        for key, name, counts in entities.ROW_COUNTS
        for day, count in counts.items()
    ]
    await _ingest(connection, [state(*it) for it in entities.CREATED] + tables)
    for updates in (entities.UPDATED, entities.UPDATED_LATE):
        patches = [(name, day, entity_fields.validate_patch(types, fields)) for name, day, fields in updates]
        await _patch(connection, ENTITY, patches)
    await _delete_and_restore(connection, ENTITY, entities.DELETED, entities.RESTORED)
    await _ingest(connection, [state(*it) for it in entities.CREATED_EARLIER])


async def _load_lineage(connection: WriteConnection) -> None:
    states: dict[_LinkNames, dict[str, Any]] = {}

    def state(source: str, target: str, producer: str | None, day: str, changes: dict[str, Any]) -> lineage_link.LinkState:
        fields = states[source, target, producer] = {**states.get((source, target, producer), {}), **changes}
        return lineage_link.LinkState(
            AssetRef(_uid(source)), AssetRef(_uid(target)), producer, lineage_link_fields.validate_state(fields), _instant(day)
        )

    statements: list[BatchEntry] = []
    for sources, target, type_, producer, since, confidence, transformation, metadata in lineage.STATED:
        fields = {"type": type_, "confidence": confidence, "transformation": transformation, "metadata": _pairs(metadata)}
        statements += [state(source, target, producer, since, fields) for source in sources.split(", ")]
    statements += [state(*it) for it in lineage.CHANGED + lineage.RESTATED]
    statements += [
        Deletion(_link_uid(source, target, producer), _instant(day)) for source, target, producer, day in lineage.REMOVED
    ]
    await _ingest(connection, statements)

    names_of = {_link_uid(*names): names for names in states}
    observations: list[BatchEntry] = []
    for producer, day in lineage.OBSERVED:
        query = lineage_link.LinkQuery(producers=(producer,), as_of=_instant(day))
        links = await lineage_link.list_links(connection, query, Page(len(states)))
        observations += [state(*names_of[it.uid], day, {}) for it in links.items]
    await _ingest(connection, observations)


async def _load_relationships(connection: WriteConnection) -> None:
    types_by_key = {it.key: it for it in (relationship_type.validate_state(*it) for it in relationships.RELATIONSHIP_TYPES)}
    raise_first_error(await register(connection, list(types_by_key.values())))
    types = await read_type_registry(connection)

    def state(type_: str, key: str, name: str, since: str, details: str) -> AssetState:
        ref = IdentitySpec(None, type_, key, entity_uid_by_key(type_, key))
        return _entity_state(types, ref, name, since, details)

    def related(key: str, origins: str, related: str, since: str, attributes: str) -> list[relationship.RelationshipState]:
        type_, fields = types_by_key[key], relationship_fields.validate_state({"attributes": _pairs(attributes)})
        ends = [(_end(type_.origin, it), _end(type_.related, related)) for it in origins.split(", ")]
        return [relationship.RelationshipState(type_.code, *it, fields, _instant(since)) for it in ends]

    def ended(key: str, origins: str, related: str, day: str) -> list[Deletion]:
        uids = _relationship_uids(types_by_key[key], origins.split(", "), related)
        return [Deletion(it, _instant(day)) for it in uids]

    statements: list[BatchEntry] = [state("CONTRACT", *it) for it in relationships.CONTRACTS]
    for it in relationships.RELATED + relationships.CHANGED:
        statements += related(*it)
    for ending in relationships.ENDED:
        statements += ended(*ending)
    await _ingest(connection, statements)

    late: list[BatchEntry] = [state("CUSTOMER", *it) for it in relationships.CUSTOMERS]
    late += [Deletion(_end_uid("CONTRACT", key), _instant(day)) for key, day in relationships.CONTRACTS_DELETED]
    for it in relationships.RELATED_LATE:
        late += related(*it)
    for ending in relationships.ENDED_LATE:
        late += ended(*ending)
    await _ingest(connection, late)


async def _ingest(connection: WriteConnection, statements: Sequence[BatchEntry]) -> None:
    raise_first_error(await ingest(connection, statements))


async def _patch(connection: WriteConnection, kind: Kind, patches: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Record patches of assets, each given by name, day and changed fields."""
    specs = [IdentitySpec(_uid(name), create_missing=False) for name, _, _ in patches]
    identities = raise_first_error(await asset.add_or_lock_each(connection, kind, specs))
    assertions = [
        Assertion(identity.asset_id, Operation.PATCH, fields, _instant(day))
        for identity, (_, day, fields) in zip(identities, patches, strict=True)
    ]
    await record_asset_change(connection, kind, assertions)


async def _delete_and_restore(
    connection: WriteConnection, kind: Kind, deleted: Sequence[tuple[str, str]], restored: Sequence[tuple[str, str]]
) -> None:
    """Delete assets, each given by name and day, and then restore some of them."""
    await _ingest(connection, [Deletion(_uid(name), _instant(day)) for name, day in deleted])
    for name, day in restored:
        await asset.restore(connection, kind, _uid(name), at=_instant(day))


def _entity_state(types: TypeRegistry, ref: IdentitySpec, name: str, since: str, details: str) -> AssetState:
    keys = None if ref.key is None else [ref.key]
    fields = entity_fields.validate_state(types, ref.type or "", name, _pairs(details), keys)
    return AssetState(ENTITY, ref, fields, _instant(since))


def _link_uid(source: str, target: str, producer: str | None) -> UUID:
    return reference.link_uid(_uid(source), _uid(target), producer)


def _relationship_uids(type_: RelationshipTypeRow, origins: Sequence[str], related: str) -> list[UUID]:
    ends = [(_end_uid(type_.origin, origin), _end_uid(type_.related, related)) for origin in origins]
    return [reference.relationship_uid(type_, *it) for it in ends]


def _end(type_: str, name: str) -> AssetRef:
    """Return the reference to an end of a relationship. An end that is named by its key may be missing: it becomes a stub."""
    return AssetRef(type=type_, key=name) if type_ in relationships.BY_KEY else AssetRef(_end_uid(type_, name))


def _end_uid(type_: str, name: str) -> UUID:
    if type_ in relationships.BY_KEY:
        return entity_uid_by_key(type_, name)
    return _uid(name if type_ == PRODUCT.name else f"{type_}/{name}")


def _instant(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _pairs(text: str) -> dict[str, str]:
    """Parse pairs such as `job=load; tile=All`."""
    return dict(it.split("=", 1) for it in text.split("; ") if it)


def _with_schema(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields of a product with a schema such as `id:int email:string` parsed, if there is one."""
    if "schema" not in fields:
        return fields
    columns = [dict(zip(("name", "type"), it.split(":"), strict=True)) for it in fields["schema"].split()]
    return {**fields, "schema": {"fields": columns}}
