"""Entities: reading them at any instant, and writing what changes about them."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.assets import asset as assets
from db.assets import entity as entities
from db.assets import entity_fields, entity_query
from db.assets.entity import EntityRow
from db.assets.entity_query import EntityQuery
from db.errors import BadInput, NotFound
from db.fields import refuse_unstorable
from db.temporal.change_log import Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY
from db.tenancy.idempotency import run_once
from schema.assets.asset import Asset
from schema.assets.entity_detail import (
    DETAILS_BY_ENTITY,
    DetailFilter,
    DetailInput,
    EntityDetail,
    changed_details,
    conditions_of,
    details_of,
)
from schema.assets.search import searchable
from schema.execution.context import Info
from schema.execution.external_record import Lookup
from schema.execution.loading import Batch
from schema.language.asset_refs import EntityKey
from schema.language.cost import FETCH_WEIGHT, LIFETIME_WEIGHT, WRITE_WEIGHT, cost, list_size
from schema.language.inputs import (
    AT,
    INPUT,
    KEY,
    DeleteInput,
    DeletePayload,
    RestoreInput,
    idempotency_key_of,
    input_field,
    optional_input_field,
    provided_fields,
)
from schema.language.node_ids import AsOf, write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, OrderDirection, paged
from schema.language.scopes import DOMAIN, READ, field, resolver
from schema.lazy import asset_type
from schema.registries.entity_type import ENTITY_TYPE_BY_CODE, EntityType

ENTITY_BY_UID = Batch(entities.entities_by_uid)
ENTITY_BY_KEY = Batch(entities.entities_by_key)

Types = Annotated[list[str] | None, strawberry.argument(description="Only details of these types.")]


@strawberry.enum(description="What a list of entities may be ordered by.")
class EntityOrderField(Enum):
    DISPLAY_NAME = strawberry.enum_value("DISPLAY_NAME", description="By display name.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="By when each last changed.")
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="By when each first came to be.")


@asset_type(EntityRow)
@strawberry.federation.type(
    keys=["id", "uid"],
    description="Anything of a registered type, with its details: a person, a table, a job. As it was at one instant.",
)
class Entity(Asset):
    key: str | None = field(
        READ, "Its identifier in the system it comes from, unique within the type: an integer, a uuid, a namespace and name."
    )
    display_name: str = field(READ, "What people call it.")

    kind: ClassVar[Kind] = ENTITY
    type_code: strawberry.Private[str]
    values: strawberry.Private[dict[str, str]]

    @resolver(READ, "What it is.")
    def type(self, info: Info) -> EntityType:
        return info.context.load(ENTITY_TYPE_BY_CODE, (self.type_code, self.as_of, self.pinned))  # type: ignore[return-value]

    @list_size(20, like="types")
    @resolver(READ, "What is known of it, in order of the type of detail; each has its own validity.")
    def details(self, info: Info, types: Types = None) -> list[EntityDetail]:
        of_types = None if types is None else tuple(types)
        return info.context.load(DETAILS_BY_ENTITY, (self.asset_id, self.as_of), of_types)  # type: ignore[return-value]

    @resolver(READ, "The value of one of its details; null: it has none of this type.")
    def detail(self, type: Annotated[str, strawberry.argument(description="The type of detail.")]) -> str | None:
        return self.values.get(type)

    @cost(FETCH_WEIGHT)
    @resolver(
        READ,
        "Its row in the system that the source of its type names, fetched live: as it is there now, whatever the instant. Of a"
        " local source it is the entity's own details, by their types. null: the type has no source, or the entity no key.",
    )
    async def record(self, info: Info) -> JSON | None:
        type_ = await info.context.load(ENTITY_TYPE_BY_CODE, (self.type_code, self.as_of, self.pinned))
        source = type_.source if type_ else None
        if source is None:
            return None
        if source.is_local:
            return JSON(self.values)
        if self.key is None:
            return None
        return JSON(
            info.context.defer_record(Lookup(source.service, source.endpoint, source.lookup_field, self.key), info._raw_info)
        )

    @classmethod
    def of(cls, row: EntityRow, pinned: datetime | None) -> "Entity":
        """An entity out of its row; `pinned` is the instant that was asked for, if one was."""
        return cls(
            id=write_id("Entity", row.uid, pinned),
            uid=row.uid,
            label=row.display_name,
            as_of=row.as_of,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            created_at=row.created_at,
            updated_at=row.valid_from,
            key=row.key,
            display_name=row.display_name,
            type_code=row.type,
            values=row.details,
            asset_id=row.asset_id,
            pinned=pinned,
        )

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "Entity | None":
        row = await info.context.load(ENTITY_BY_UID, uid, pinned)
        return None if row is None else cls.of(row, pinned)

    @classmethod
    def from_version(cls, uid: UUID, version: VersionPeriod) -> "Entity":
        return cls.of(entities.entity_from_version(uid, version), version.as_of)


@strawberry.input(description="An order of entities.")
class EntityOrder:
    field: EntityOrderField = input_field("What to order by.")
    direction: OrderDirection = input_field("Which way.", default=OrderDirection.ASC)


BY_DISPLAY_NAME = EntityOrder(field=EntityOrderField("DISPLAY_NAME"), direction=OrderDirection("ASC"))


@strawberry.input(
    description="Which entities: those that match every part given. An empty list of types or domains matches nothing."
)
class EntityFilter:
    types: list[str] | None = optional_input_field("Of any of these types.")
    domains: list[str] | None = optional_input_field("Of a type that belongs to any of these domains.")
    details: list[DetailFilter] | None = optional_input_field("With all of these details.")


@strawberry.input(description="An entity to create.")
class CreateEntityInput:
    uid: UUID | None = optional_input_field("Its stable identity; left out: the one that has the key, else a new one.")
    type: str = input_field("What it is; it never changes.")
    key: str | None = optional_input_field(
        "Its identifier in the system it comes from, unique within the type; it never changes."
    )
    display_name: str = input_field("What people call it.")
    details: list[DetailInput] | None = optional_input_field("What is known of it, one of each type.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="What changes about an entity. What is left out stays.")
class UpdateEntityInput:
    uid: UUID = input_field("Its uid.")
    display_name: str | None = optional_input_field("What people call it from then on.")
    details: list[DetailInput] | None = optional_input_field("Details that are new or have a new value; the others stay.")
    remove_details: list[str] | None = optional_input_field("The types of the details that it has no more.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="What became of an entity.")
class EntityPayload:
    entity: Entity = field(READ, "The entity from that instant on.")
    changed: bool = field(READ, "Whether anything is different now; false: it was so already.")


@strawberry.type
class EntityQueries:
    @resolver(READ, "The entity with this uid, or with this key; null: there is none at that instant.")
    async def entity(
        self,
        info: Info,
        uid: Annotated[UUID | None, strawberry.argument(description="Its uid. Give this or the key.")] = None,
        key: Annotated[EntityKey | None, strawberry.argument(description="Its key. Give this or the uid.")] = None,
        as_of: AsOf = None,
    ) -> Entity | None:
        if (uid is None) == (key is None):
            raise BadInput("Give exactly one of uid and key.", field="uid" if uid is None else "key")
        if uid is not None:
            return await Entity.find(info, uid, as_of)
        assert key is not None, "one of the two is given"
        return await entity_by_key(info, (key.type, key.key), as_of)

    @paged
    @resolver(READ, "Entities, searched, filtered and ordered as they were at that instant.")
    async def entities(
        self,
        info: Info,
        search: Annotated[
            str | None, strawberry.argument(description="Text that the display name contains, in upper or lower case alike.")
        ] = None,
        filter: Annotated[EntityFilter | None, strawberry.argument(description="Which of them.")] = None,
        order_by: Annotated[EntityOrder, strawberry.argument(description="In which order.")] = BY_DISPLAY_NAME,
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
            **query_parts(filter),
        )
        key: type = str if query.order is entity_query.EntityOrder.DISPLAY_NAME else datetime
        keyset = Keyset("entities", query, key=(key, int))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        connection = await info.context.transaction.reader()
        return keyset.connection(
            page,
            await entity_query.list_entities(connection, query, page),
            node=lambda row: Entity.of(row, as_of),
            place=lambda row: entity_query.cursor_key(row, query.order),
            count=lambda: entity_query.count_entities(connection, query),
        )


@strawberry.type
class EntityMutations:
    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Creates an entity. CONFLICT when its uid or its key is alive at that instant.")
    async def create_entity(self, info: Info, input: Annotated[CreateEntityInput, INPUT]) -> EntityPayload:
        content = provided_fields(input)
        request = idempotency_key_of("createEntity", content)
        at = content.get("at")
        details = details_of(content.get("details") or [])
        key = None if content.get("key") is None else entity_fields.key(content["key"])
        ref = assets.IdentitySpec(content.get("uid"), input.type, key)
        connection = await info.context.transaction.writer()
        outcome = await run_once(
            connection, request, lambda: entities.create(connection, ref, input.display_name, details, at=at)
        )
        return await _payload(info, outcome, at)

    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Changes what is given about an entity, from that instant on. Each detail keeps its own validity.")
    async def update_entity(self, info: Info, input: Annotated[UpdateEntityInput, INPUT]) -> EntityPayload:
        content = provided_fields(input)
        request = idempotency_key_of("updateEntity", content)
        at = content.get("at")
        fields = _changes(content)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: entities.update(connection, input.uid, fields, at=at))
        return await _payload(info, outcome, at)

    @cost(LIFETIME_WEIGHT)
    @resolver(DOMAIN, "Ends an entity, and all its details, at that instant. A read before it still sees it.")
    async def delete_entity(self, info: Info, input: Annotated[DeleteInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        request = idempotency_key_of("deleteEntity", content)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: assets.delete(connection, ENTITY, input.uid, at=content.get("at")))
        info.context.invalidate()
        return DeletePayload.of("Entity", input, changed=outcome.changed)

    @cost(LIFETIME_WEIGHT)
    @resolver(DOMAIN, "Brings an entity back as it was last, details included, from that instant on.")
    async def restore_entity(self, info: Info, input: Annotated[RestoreInput, INPUT]) -> EntityPayload:
        content = provided_fields(input)
        request = idempotency_key_of("restoreEntity", content)
        at = content.get("at")
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: assets.restore(connection, ENTITY, input.uid, at=at))
        return await _payload(info, outcome, at)


async def entity_by_key(info: Info, key: tuple[str, str], pinned: datetime | None) -> Entity | None:
    for name, part in zip(("type", "key"), key, strict=True):
        # it would fail those that are looked up with it
        refuse_unstorable(name, part)
    row = await info.context.load(ENTITY_BY_KEY, key, pinned)
    return None if row is None else Entity.of(row, pinned)


async def _payload(info: Info, outcome: Outcome, at: datetime | None) -> EntityPayload:
    """The entity as it was written. Where no instant was asked for, its id is the plain one."""
    info.context.invalidate()
    connection = await info.context.transaction.writer()
    row = await entities.entity_by_asset(connection, outcome.subject_id, outcome.at)
    if row is None:
        raise NotFound("The entity has been ended at that very instant since, or was purged.", field="at")
    return EntityPayload(entity=Entity.of(row, at), changed=outcome.changed)


def _changes(content: dict[str, Any]) -> dict[str, Any]:
    """The fields that an update is about."""
    details = changed_details(content)
    fields = {"display_name": content["display_name"]} if "display_name" in content else {}
    return {**fields, **({"details": details} if details else {})}


def query_parts(filter: EntityFilter | None) -> dict[str, Any]:
    """The parts of a filter as a query has them."""
    parts = {name: part for name, part in (provided_fields(filter) or {}).items() if part is not None}
    conditions = conditions_of(parts.pop("details", []))
    return {**{name: tuple(part) for name, part in parts.items()}, "details": conditions}
