"""Entities: reads at any instant, and writes."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, cast
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.assets import asset as assets
from db.assets import entity as entities
from db.assets import entity_fields, entity_query
from db.assets.asset_fields import DETAIL_ROWS
from db.assets.entity_query import EntityQuery
from db.fields import refuse_unstorable
from db.registries.type_registry import TypeCode
from db.temporal.change_log import Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY
from schema.assets.asset import LABEL, TYPE_LABEL, Asset
from schema.assets.asset_filter import CREATED_SINCE, UIDS, UPDATED_BEFORE, UPDATED_SINCE, check_asset_filter, query_values
from schema.assets.entity_detail import (
    DETAILS_BY_ENTITY,
    DetailFilter,
    DetailInput,
    EntityDetail,
    changed_details,
    check_conditions,
    condition_of,
    details_of,
)
from schema.assets.entity_node import domain_field, role_field, tags_field, type_label_field
from schema.assets.search import Search, searchable
from schema.execution.connections import fetch_connection, read
from schema.execution.context import Info
from schema.execution.external_record import Lookup
from schema.execution.loading import Batch
from schema.execution.mutations import delete_once, lost_result_error, write_once
from schema.language.columns import column, reads
from schema.language.cost import (
    FETCH_COST,
    LIFETIME_COST,
    READS_ALL,
    SEARCH,
    WRITE_COST,
    cost,
    list_size,
    order_cost,
    scan_cost_with,
)
from schema.language.fields import batched, carried, field, resolver, single_read
from schema.language.inputs import (
    AT,
    END,
    INPUT,
    KEY,
    DeletePayload,
    idempotency_key_of,
    input_field,
    optional_input_field,
    provided_fields,
)
from schema.language.node_ids import ID, AsOf, write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, OrderDirection, PageArguments, paged
from schema.language.references import EntityKey, EntityRef, entity_ref
from schema.language.scopes import DOMAIN, READ
from schema.lazy import LazyDomain, asset_type
from schema.registries.entity_type import ENTITY_TYPE_BY_CODE, EntityType
from schema.registries.filter_types import require_types

ENTITY_BY_UID = Batch(entities.entities_by_uid)
ENTITY_BY_KEY = Batch(entities.entities_by_key)

Types = Annotated[list[str] | None, strawberry.argument(description="Only details of these types.")]


@strawberry.enum(description="Field by which a list of entities is ordered.")
class EntityOrderField(Enum):
    DISPLAY_NAME = strawberry.enum_value("DISPLAY_NAME", description="By display name.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="By the instant of the last change.")
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="By the instant of creation.")
    KEY = strawberry.enum_value("KEY", description="By primary key, as text. Entities without one come first.")
    TYPE = strawberry.enum_value("TYPE", description="By the code of the type.")
    DOMAIN = strawberry.enum_value(
        "DOMAIN", description=f"By the domain of the type. Entities without one come first. {READS_ALL}"
    )
    OWNER = strawberry.enum_value("OWNER", description=f"By owner. Entities without one come first. {READS_ALL}")


@asset_type
@strawberry.federation.type(
    keys=["id", "uid", "key type { code }"],
    description="An entity of a registered type with its details, such as a person, a table or a job, as it was at one instant.",
)
class Entity(Asset):
    id: strawberry.ID = column(READ, ID, compute=lambda row, pinned: write_id("Entity", row.uid, pinned))
    label: str = column(READ, LABEL, "display_name")
    key: str | None = column(
        READ,
        "Primary key: identifier in the system that the entity comes from, such as an integer, a UUID or a qualified name. At"
        " one instant, no other entity of the type has it.",
        compute=lambda row, pinned: next(iter(row["keys"]), None),
        reads=("keys",),
    )
    keys: list[str] = column(
        READ, "All keys of the entity: the primary one, and alternate keys in the order in which they were added. Each finds it."
    )
    display_name: str = column(READ, "Name to display.")
    type_label: str = type_label_field(TYPE_LABEL)
    domain: LazyDomain | None = domain_field("Domain that owns entities of this type.")
    description: str | None = role_field("DESCRIPTION", "Detail of the entity with the role `DESCRIPTION`.")
    owner: str | None = role_field("OWNER", "Detail of the entity with the role `OWNER`.")
    url: str | None = role_field("URL", "Detail of the entity with the role `URL`.")
    tags: list[str] = tags_field("Details of the entity with the role `TAG`, in order of their type, each once.")

    kind: ClassVar[Kind] = ENTITY
    by_uid = ENTITY_BY_UID

    @reads("as_of")
    @batched(READ, "Type of the entity.")
    @staticmethod
    async def type(entities: Sequence["Entity"], info: Info) -> list[EntityType]:
        readings = [(it.row.type, it.row.as_of, it.pinned) for it in entities]
        # every entity has a registered type
        return cast(list[EntityType], await info.context.load_all(ENTITY_TYPE_BY_CODE, readings))

    @list_size(20, like="types")
    @reads(DETAIL_ROWS, "as_of")
    @carried()
    @batched(READ, "Details of the entity, in order of their type. Each has a separate validity.")
    @staticmethod
    async def details(of: Sequence["Entity"], info: Info, types: Types = None) -> list[list[EntityDetail]]:
        for it in types or ():
            refuse_unstorable("types", it)
        carried_details = [entities.details_in(it.row) for it in of]
        unread = [(it.row.asset_id, it.row.as_of) for it, rows in zip(of, carried_details, strict=True) if rows is None]
        loaded = iter(await info.context.load_all(DETAILS_BY_ENTITY, unread, None if types is None else tuple(types)))
        return [
            next(loaded) if rows is None else [EntityDetail.of(row) for row in rows if types is None or row["code"] in types]
            for rows in carried_details
        ]

    @reads("details")
    @resolver(READ, "Value of one detail. Null if the entity has no detail of this type.")
    def detail(self, type: Annotated[str, strawberry.argument(description="Code of the detail type.")]) -> str | None:
        return cast(str | None, self.row.details.get(type))

    @reads("details", "keys", "as_of")
    @cost(FETCH_COST)
    @resolver(
        READ,
        "External record of the entity, fetched live from the source of its type: it is the record of now, whatever the"
        " instant. If the source is local, these are the details of the entity, by type. Null if the type has no source or the"
        " entity no key.",
    )
    async def record(self, info: Info) -> JSON | None:
        type_ = await info.context.load(ENTITY_TYPE_BY_CODE, (self.row.type, self.as_of, self.pinned))
        source = type_.source if type_ else None
        if source is None:
            return None
        if source.is_local:
            return JSON(self.row.details)
        if self.key is None:
            return None
        return JSON(
            info.context.defer_record(Lookup(source.service, source.endpoint, source.lookup_field, self.key), info._raw_info)
        )

    @classmethod
    def from_version(cls, uid: UUID, version: VersionPeriod) -> "Entity":
        return cls.of(entities.entity_from_version(uid, version), version.as_of)


@strawberry.input(description="Order of a list of entities.")
class EntityOrder:
    field: EntityOrderField = input_field("Field to order by.")
    direction: OrderDirection = input_field("Direction of the order.", default=OrderDirection.ASC)


BY_DISPLAY_NAME = EntityOrder(field=EntityOrderField("DISPLAY_NAME"), direction=OrderDirection("ASC"))


@strawberry.input(
    description="Filter of entities. An entity matches if it matches every given field. An empty list of types, domains,"
    " uids or keys matches nothing."
)
class EntityFilter:
    types: list[str] | None = optional_input_field("Any of these types.")
    domains: list[str] | None = optional_input_field("Types that belong to any of these domains.")
    details: list[DetailFilter] | None = optional_input_field("Conditions on details. All of them must match.")
    uids: list[UUID] | None = optional_input_field(UIDS)
    keys: list[EntityKey] | None = optional_input_field(
        "Any of these keys at that instant, primary or alternate, no more than a page may have."
    )
    updated_since: datetime | None = optional_input_field(UPDATED_SINCE)
    updated_before: datetime | None = optional_input_field(UPDATED_BEFORE)
    created_since: datetime | None = optional_input_field(CREATED_SINCE)


# The parts of a patch of keys, with the fields of the input.
_KEY_PARTS = {"add": "add_keys", "remove": "remove_keys"}


@strawberry.input(description="An entity to create.")
class CreateEntityInput:
    uid: UUID | None = optional_input_field("Uid of the entity. Defaults to that of the entity with this key, or else a new one.")
    type: str = input_field("Code of its entity type. It never changes.")
    key: str | None = optional_input_field(
        "Primary key: identifier in the system that the entity comes from. At one instant, no other entity of the type has it."
        " All spellings of a UUID are the same key."
    )
    alternate_keys: list[str] | None = optional_input_field(
        "Further keys, which find the entity as well: at most 20 with the primary one."
    )
    display_name: str = input_field("Name to display.")
    details: list[DetailInput] | None = optional_input_field("Details of the entity, at most one of each type.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="Changes of an entity. Fields that are left out stay as they are.")
class UpdateEntityInput:
    entity: EntityRef = input_field("The entity to change.")
    display_name: str | None = optional_input_field("New name to display.")
    key: str | None = optional_input_field(
        "New primary key, which replaces the present one. Null removes it; then the first alternate key is the primary one."
    )
    add_keys: list[str] | None = optional_input_field("Alternate keys to add, behind the others.")
    remove_keys: list[str] | None = optional_input_field("Keys to remove.")
    details: list[DetailInput] | None = optional_input_field("Details to add or to change. The others stay as they are.")
    remove_details: list[str] | None = optional_input_field("Types of the details to remove.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="An entity to delete.")
class DeleteEntityInput:
    entity: EntityRef = input_field("The entity to delete.")
    at: datetime | None = optional_input_field(END)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="A deleted entity to restore to its last state.")
class RestoreEntityInput:
    entity: EntityRef = input_field("The entity to restore.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="Result of a mutation of an entity.")
class EntityPayload:
    entity: Entity = field(READ, "The entity from that instant on.")
    changed: bool = field(READ, "True if the mutation changed the entity.")


@strawberry.type
class EntityQueries:
    @single_read()
    @resolver(READ, "The entity that a reference names. Null if there is none at that instant.")
    async def entity(
        self, info: Info, ref: Annotated[EntityRef, strawberry.argument(description="The entity.")], as_of: AsOf = None
    ) -> Entity | None:
        named = entity_ref(provided_fields(ref))
        if named.uid is not None:
            return await Entity.find(info, named.uid, as_of)
        return await entity_by_key(info, (named.type or "", named.key or ""), as_of)

    @scan_cost_with(SEARCH, "entities")
    @order_cost("entities", EntityOrderField.DOMAIN.name, EntityOrderField.OWNER.name)
    # conditions on details read the types of details first
    @single_read(unless="filter")
    @paged
    @resolver(READ, "Entities at that instant. Search, filter and order apply to their state at that instant.")
    async def entities(
        self,
        info: Info,
        search: Search = None,
        filter: Annotated[EntityFilter | None, strawberry.argument(description="Filter.")] = None,
        order_by: Annotated[EntityOrder, strawberry.argument(description="Order of the list.")] = BY_DISPLAY_NAME,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Entity]:
        query = EntityQuery(
            search=searchable(search),
            order=entity_query.EntityOrder[order_by.field.name],
            descending=order_by.direction is OrderDirection.DESC,
            as_of=as_of,
            **await query_parts(info, filter),
        )
        return await fetch_connection(
            info,
            Keyset(
                info.context.cursor_cipher, "entities", query, *query.digest_parts, key=entity_query.cursor_types(query.order)
            ),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, entity_query.list_entities, query, page),
            nodes=lambda rows: [Entity.of(row, as_of) for row in rows],
            cursor_key=lambda row: entity_query.cursor_key(row, query.order),
            count=lambda: read(info, entity_query.count_entities, query),
        )


@strawberry.type
class EntityMutations:
    @cost(WRITE_COST)
    @resolver(DOMAIN, "Create an entity. CONFLICT if an entity with its uid or its key exists at that instant.")
    async def create_entity(self, info: Info, input: Annotated[CreateEntityInput, INPUT]) -> EntityPayload:
        content = provided_fields(input)
        idempotency_key = idempotency_key_of("createEntity", content)
        at = content.get("at")
        details = details_of(content.get("details") or [])
        identity = assets.IdentitySpec(content.get("uid"), input.type, content.get("key"))
        alternate_keys = content.get("alternate_keys") or []
        entity_fields.keys(identity.key, alternate_keys)
        outcome = await write_once(
            info,
            idempotency_key,
            lambda connection: entities.create(
                connection, identity, input.display_name, details, alternate_keys=alternate_keys, at=at
            ),
        )
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(DOMAIN, "Change an entity from that instant on. Each detail keeps a separate validity.")
    async def update_entity(self, info: Info, input: Annotated[UpdateEntityInput, INPUT]) -> EntityPayload:
        content = provided_fields(input)
        idempotency_key = idempotency_key_of("updateEntity", content)
        at = content.get("at")
        ref, fields = entity_ref(content["entity"]), _changed_fields(content)
        outcome = await write_once(info, idempotency_key, lambda connection: entities.update(connection, ref, fields, at=at))
        return await _payload(info, outcome, at)

    @cost(LIFETIME_COST)
    @resolver(DOMAIN, "Delete an entity, with all its details, from that instant on. Reads at earlier instants still return it.")
    async def delete_entity(self, info: Info, input: Annotated[DeleteEntityInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        ref = entity_ref(content["entity"])
        return await delete_once(
            info,
            "deleteEntity",
            "Entity",
            content,
            lambda connection, at: assets.delete(connection, ENTITY, ref, at=at, field="entity"),
        )

    @cost(LIFETIME_COST)
    @resolver(DOMAIN, "Restore a deleted entity, with its details, to its last state, from that instant on.")
    async def restore_entity(self, info: Info, input: Annotated[RestoreEntityInput, INPUT]) -> EntityPayload:
        content = provided_fields(input)
        idempotency_key = idempotency_key_of("restoreEntity", content)
        at = content.get("at")
        ref = entity_ref(content["entity"])
        outcome = await write_once(
            info, idempotency_key, lambda connection: assets.restore(connection, ENTITY, ref, at=at, field="entity")
        )
        return await _payload(info, outcome, at)


async def entity_by_key(info: Info, key: tuple[str, str], pinned: datetime | None) -> Entity | None:
    """Return the entity with a type and key, at the requested instant or else now."""
    for name, part in zip(("type", "key"), key, strict=True):
        # text that PostgreSQL cannot store would fail all look-ups of the batch
        refuse_unstorable(f"ref.key.{name}", part)
    row = await info.context.load(ENTITY_BY_KEY, key, pinned)
    return None if row is None else Entity.of(row, pinned)


async def _payload(info: Info, outcome: Outcome, at: datetime | None) -> EntityPayload:
    """Build the payload of a write. The id of the entity is pinned if the mutation gave an instant."""
    row = outcome.row or await read(info, entities.entity_by_asset, outcome.subject_id, outcome.at)
    if row is None:
        raise lost_result_error("The entity")
    return EntityPayload(entity=Entity.of(row, at), changed=outcome.changed)


def _changed_fields(content: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that an update changes."""
    details = changed_details(content)
    fields = {"display_name": content["display_name"]} if "display_name" in content else {}
    keys = {"primary": content["key"]} if "key" in content else {}
    keys |= {part: content[name] for part, name in _KEY_PARTS.items() if content.get(name)}
    return {**fields, **({"details": details} if details else {}), **({"keys": keys} if keys else {})}


async def query_parts(info: Info, filter: EntityFilter | None) -> dict[str, Any]:
    """Convert the fields of a filter to those of a query. Raise an error if a type that it names does not exist."""
    fields = {name: value for name, value in (provided_fields(filter) or {}).items() if value is not None}
    check_asset_filter(fields, info.context.limits.page_size)
    conditions, keys = fields.pop("details", []), fields.pop("keys", None)
    check_conditions(conditions)
    types = [("types", TypeCode(True, it)) for it in fields.get("types", ())]
    types += [("keys.type", TypeCode(True, it["type"])) for it in keys or ()]
    types += [("details.type", TypeCode(False, it["type"])) for it in conditions]
    known = await require_types(info, types)
    formats = [it.format for it in known[len(known) - len(conditions) :]]
    details = tuple(condition_of(it, format_) for it, format_ in zip(conditions, formats, strict=True))
    named = None if keys is None else tuple((it["type"], it["key"]) for it in keys)
    return {**query_values(fields), "keys": named, "details": details}
