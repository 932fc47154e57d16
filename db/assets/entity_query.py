"""Lists of entities: searched, filtered and ordered as they were at an instant, of a whole tenant or of each domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Numeric, Select, Text, any_, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from db.assets.asset_list import DOMAIN, INSTANT, NUMBER, AssetList, count, count_by_domain, identity_of, select_assets
from db.assets.domain import DomainAt
from db.assets.entity import EntityRow, entity_from_row
from db.connection import ReadConnection
from db.errors import BadInput
from db.fields import excerpt
from db.filters import TENANT, any_of, contains_pattern
from db.pagination import Page, Slice
from db.registries.detail_format import format_error
from db.registries.type_registry import read_type_registry
from db.tables import asset as assets
from db.tables import entity_detail as entity_details
from db.tables import entity_type as entity_types
from db.tables import entity_version as versions
from db.temporal.kind import Instant
from db.temporal.kinds import ENTITY


class EntityOrder(StrEnum):
    DISPLAY_NAME = "DISPLAY_NAME"
    UPDATED_AT = "UPDATED_AT"
    CREATED_AT = "CREATED_AT"


@dataclass(frozen=True, slots=True)
class DetailCondition:
    """Condition that an entity has a detail of a type with a value that meets every part. The range includes `least` and
    `most`."""

    type: str
    equals: str | None = None
    among: tuple[str, ...] | None = None
    contains: str | None = None
    least: str | None = None
    most: str | None = None


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """Filters and order of a list of entities. A filter that is None admits every entity; an empty one admits none.

    Cursors carry a digest of its repr: do not rename its parts, nor those of `DetailCondition`.
    """

    search: str | None = None
    types: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    details: tuple[DetailCondition, ...] = ()
    order: EntityOrder = EntityOrder.DISPLAY_NAME
    descending: bool = False
    as_of: datetime | None = None


_ENTITIES = AssetList(
    ENTITY,
    {
        EntityOrder.DISPLAY_NAME: "display_name",
        EntityOrder.UPDATED_AT: "valid_from",
        EntityOrder.CREATED_AT: "created_at",
    },
    entity_from_row,
)

# The format of each detail type, None for any text.
_Formats = Mapping[str, str | None]


def cursor_key(row: EntityRow, order: EntityOrder) -> tuple[Any, ...]:
    """Return the values by which an entity sorts. A cursor holds them."""
    return _ENTITIES.cursor_key(row, order)


async def list_entities(connection: ReadConnection, query: EntityQuery, page: Page) -> Slice[EntityRow]:
    """Fetch a page of the entities of a query."""
    instant = query.as_of or connection.now
    formats = await _formats_of_conditions(connection, query)
    statement = _filtered(select_assets(ENTITY, instant), query, instant, formats)
    return await _ENTITIES.page(connection, statement, page, query.order, instant, descending=query.descending)


async def count_entities(connection: ReadConnection, query: EntityQuery) -> int:
    """Count the entities of a query."""
    instant = query.as_of or connection.now
    statement = select(NUMBER).where(versions.c.tenant_id == TENANT, ENTITY.valid_at(instant))
    if query.types is not None or query.domains is not None:
        # only these filters read the identity
        statement = statement.join_from(versions, assets, identity_of(ENTITY))
    formats = await _formats_of_conditions(connection, query)
    return await count(connection, _filtered(statement, query, instant, formats))


async def entities_by_domain(
    connection: ReadConnection, domains: Sequence[DomainAt], query: EntityQuery, page: Page
) -> list[Slice[EntityRow]]:
    """Fetch a page of the entities of each domain, in order of the display name."""
    formats = await _formats_of_conditions(connection, query)
    statement = _filtered(select_assets(ENTITY, INSTANT).where(_is_in_domain(DOMAIN)), query, INSTANT, formats)
    return await _ENTITIES.page_by_domain(connection, domains, statement, page, EntityOrder.DISPLAY_NAME)


async def count_entities_by_domain(connection: ReadConnection, domains: Sequence[DomainAt], query: EntityQuery) -> list[int]:
    """Count the entities of each domain."""
    formats = await _formats_of_conditions(connection, query)
    type_of_entity = (entity_types.c.tenant_id == TENANT) & (entity_types.c.code == assets.c.type)
    statement = (
        select(versions.c.asset_id)
        .join(assets, identity_of(ENTITY))
        .join(entity_types, type_of_entity)
        .where(versions.c.tenant_id == TENANT, ENTITY.valid_at(INSTANT), entity_types.c.domain == DOMAIN)
    )
    return await count_by_domain(connection, domains, _filtered(statement, query, INSTANT, formats))


async def _formats_of_conditions(connection: ReadConnection, query: EntityQuery) -> _Formats:
    """Read the formats of detail types, if a query has conditions on details. Raise an error if a condition does not fit its
    type."""
    if not query.details:
        return {}
    registry = await read_type_registry(connection)
    for condition in query.details:
        registry.require_detail(condition.type, field="type")
        format_ = registry.formats[condition.type]
        if format_ in ("date", "number"):
            for field, bound in (("from", condition.least), ("to", condition.most)):
                error = None if bound is None else format_error(format_, bound)
                if error is not None:
                    raise BadInput(f"{field} {excerpt(bound)} {error}", field=field)
    return registry.formats


def _filtered(statement: Select[Any], query: EntityQuery, instant: Instant, formats: _Formats) -> Select[Any]:
    """Add the filters of a query to a statement that reads versions at an instant."""
    if query.search is not None:
        matching = func.search_entities(contains_pattern(query.search), instant).column_valued("matching")
        statement = statement.where(versions.c.asset_id.in_(select(matching)))
    if query.types is not None:
        statement = statement.where(assets.c.type == any_of(query.types, Text))
    if query.domains is not None:
        statement = statement.where(_is_in_domain(any_of(query.domains, Text)))
    for condition in query.details:
        matches_condition = _entities_with_detail(condition, instant, formats[condition.type])
        statement = statement.where(versions.c.asset_id.in_(matches_condition))
    return statement


def _is_in_domain(domain: Any) -> ColumnElement[bool]:
    """Build the condition that the type of an entity belongs to a domain."""
    types_of_domain = select(entity_types.c.code).where(entity_types.c.tenant_id == TENANT, entity_types.c.domain == domain)
    codes = func.array(types_of_domain.scalar_subquery(), type_=ARRAY(Text))
    # without such a type PostgreSQL reads no entity at all
    return (func.cardinality(codes) > 0) & (assets.c.type == any_(codes))


def _entities_with_detail(condition: DetailCondition, instant: Instant, format_: str | None) -> Select[Any]:
    """Build the statement that reads the ids of the entities that meet a condition at an instant."""
    d = entity_details.c
    conditions: list[ColumnElement[bool]] = []
    if condition.equals is not None:
        conditions.append(d.value == condition.equals)
    if condition.among is not None:
        conditions.append(d.value == any_of(condition.among, Text))
    if condition.contains is not None:
        conditions.append(d.value.ilike(contains_pattern(condition.contains)))
    if format_ == "number":
        # the index holds doubles; the exact value decides between numbers that are the same double
        exact = cast(d.value, Numeric)
        if condition.least is not None:
            conditions += [d.number >= float(condition.least), exact >= cast(condition.least, Numeric)]
        if condition.most is not None:
            conditions += [d.number <= float(condition.most), exact <= cast(condition.most, Numeric)]
    else:
        if condition.least is not None:
            conditions.append(d.value >= condition.least)
        if condition.most is not None:
            conditions.append(d.value <= condition.most)
    return select(d.asset_id).where(
        d.tenant_id == TENANT, d.detail_type == condition.type, d.valid_from <= instant, d.valid_to > instant, *conditions
    )
