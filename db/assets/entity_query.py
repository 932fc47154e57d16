"""Lists of entities: searched, filtered and ordered as they were at an instant, of a whole tenant or of each domain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Double,
    Numeric,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.assets.asset_filters import ASSET_FILTERS, asset_conditions, digest_parts, is_one_of
from db.assets.asset_list import (
    DOMAIN,
    INSTANT,
    NUMBER,
    AssetList,
    SortKey,
    count,
    count_by_domain,
    count_by_domain_statement,
    identity_of,
    search_matches,
    select_assets,
)
from db.assets.domain import DomainAt
from db.assets.entity import EntityRow, holders_of_keys
from db.connection import ReadConnection
from db.errors import BadInput
from db.fields import excerpt
from db.filters import AS_OF, TENANT, any_of, contains, contains_pattern, filters_of, is_among
from db.pagination import Page, PageShape, Slice
from db.registries.detail_format import format_error
from db.sql import MAX_SHAPES, Statement, compose
from db.tables import asset as assets
from db.tables import detail_type as detail_types
from db.tables import entity_detail as entity_details
from db.tables import entity_type as entity_types
from db.tables import entity_version as versions
from db.temporal.kinds import ENTITY


class EntityOrder(StrEnum):
    DISPLAY_NAME = "DISPLAY_NAME"
    UPDATED_AT = "UPDATED_AT"
    CREATED_AT = "CREATED_AT"
    KEY = "KEY"
    TYPE = "TYPE"
    DOMAIN = "DOMAIN"
    OWNER = "OWNER"


@dataclass(frozen=True, slots=True)
class DetailCondition:
    """Condition that an entity has a detail of a type with a value that meets every part. The range includes `least` and
    `most`, which compare by the format of the type."""

    type: str
    equals: str | None = None
    among: tuple[str, ...] | None = None
    contains: str | None = None
    least: str | None = None
    most: str | None = None
    format: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """Filters and order of a list of entities. A filter that is None admits every entity; an empty one admits none.

    Cursors carry a digest of its repr and of its `digest_parts`: do not rename its parts, nor those of `DetailCondition`.
    """

    search: str | None = None
    types: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    details: tuple[DetailCondition, ...] = ()
    order: EntityOrder = EntityOrder.DISPLAY_NAME
    descending: bool = False
    as_of: datetime | None = None
    uids: tuple[UUID, ...] | None = field(default=None, repr=False)
    # types and keys
    keys: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)
    updated_since: datetime | None = field(default=None, repr=False)
    updated_before: datetime | None = field(default=None, repr=False)
    created_since: datetime | None = field(default=None, repr=False)

    @property
    def digest_parts(self) -> tuple[Any, ...]:
        return digest_parts(self, ("keys", *ASSET_FILTERS))


_NO_VALUE: ColumnElement[str] = literal_column("''", Text)


def _domain() -> ColumnElement[Any]:
    """Build the expression of the domain of an entity, which is that of its type."""
    types = entity_types.alias("type_of_entity")
    of_entity = (types.c.tenant_id == TENANT) & (types.c.code == assets.c.type)
    return select(types.c.domain).where(of_entity).correlate(assets).scalar_subquery()


def _owner() -> ColumnElement[Any]:
    """Build the expression of the owner of an entity: its first detail of a type with this role."""
    types = detail_types.alias("owner_type")
    plays_role = (types.c.tenant_id == TENANT) & (types.c.role == literal_column("'OWNER'"))
    values = select(versions.c.details[types.c.code].astext).where(plays_role, versions.c.details.has_key(types.c.code))
    return values.order_by(types.c.code).limit(literal_column("1")).correlate(versions).scalar_subquery()


_ENTITIES: AssetList[EntityRow] = AssetList(
    ENTITY,
    {
        EntityOrder.DISPLAY_NAME: SortKey(versions.c.display_name),
        EntityOrder.UPDATED_AT: SortKey(versions.c.valid_from, datetime),
        EntityOrder.CREATED_AT: SortKey(versions.c.created_at, datetime),
        # the expression of the index
        EntityOrder.KEY: SortKey(func.coalesce(literal_column("entity_version.keys[1]", Text), _NO_VALUE)),
        EntityOrder.TYPE: SortKey(assets.c.type, id=assets.c.id, condition=assets.c.type.is_not(None)),
        # no index serves these: types are not versioned, and details are no columns
        EntityOrder.DOMAIN: SortKey(func.coalesce(_domain(), _NO_VALUE)),
        EntityOrder.OWNER: SortKey(func.coalesce(_owner(), _NO_VALUE)),
    },
)

# Filters of a query without those on details, by the parameter that holds their value.
_FILTERS = ("search", "types", "domains", "keys", *ASSET_FILTERS)

# Parts of a condition on a detail.
_PARTS = ("equals", "among", "contains", "least", "most")


class _DetailShape(NamedTuple):
    """The part of a condition that its statement depends on: its number, its parts, and if values are compared as numbers."""

    number: int
    parts: frozenset[str]
    is_number: bool

    def parameter(self, part: str, type_: Any = Text) -> BindParameter[Any]:
        return bindparam(self.name(part), type_=type_)

    def name(self, part: str) -> str:
        return f"detail_{self.number}_{part}"


class _Shape(NamedTuple):
    """The part of a query that its statement depends on."""

    filters: frozenset[str]
    details: tuple[_DetailShape, ...]


def cursor_key(row: EntityRow, order: EntityOrder) -> tuple[Any, ...]:
    """Return the values by which an entity sorts. A cursor holds them."""
    return _ENTITIES.cursor_key(row, order)


def cursor_types(order: EntityOrder) -> tuple[type, ...]:
    """Return the types of these values."""
    return _ENTITIES.cursor_types(order)


async def list_entities(connection: ReadConnection, query: EntityQuery, page: Page) -> Slice[EntityRow]:
    """Fetch a page of the entities of a query."""
    shape = _shape_of(query)
    fields = _ENTITIES.fields_read(connection.asset_fields, query.order)
    statement = _page_statement(shape, query.order, query.descending, page.shape, fields)
    return await _ENTITIES.page(connection, statement, page, _parameters(query, shape, query.as_of or connection.now_if_read))


async def count_entities(connection: ReadConnection, query: EntityQuery) -> int:
    """Count the entities of a query."""
    shape = _shape_of(query)
    return await count(connection, _count_statement(shape), _parameters(query, shape, query.as_of or connection.now_if_read))


async def entities_by_domain(
    connection: ReadConnection, domains: Sequence[DomainAt], query: EntityQuery, page: Page
) -> list[Slice[EntityRow]]:
    """Fetch a page of the entities of each domain, in order of the display name."""
    shape = _shape_of(query)
    fields = _ENTITIES.fields_read(connection.asset_fields, EntityOrder.DISPLAY_NAME)
    statement = _page_by_domain_statement(shape, page.shape, fields)
    return await _ENTITIES.page_by_domain(connection, domains, statement, page, _parameters(query, shape))


async def count_entities_by_domain(connection: ReadConnection, domains: Sequence[DomainAt], query: EntityQuery) -> list[int]:
    """Count the entities of each domain."""
    shape = _shape_of(query)
    return await count_by_domain(connection, domains, _count_by_domain_statement(shape), _parameters(query, shape))


def _shape_of(query: EntityQuery) -> _Shape:
    """Return the shape of a query. Raise an error if a condition on a detail does not fit the format of its type."""
    shapes = []
    for number, condition in enumerate(query.details):
        format_ = condition.format
        if format_ in ("date", "number"):
            for name, bound in (("from", condition.least), ("to", condition.most)):
                error = None if bound is None else format_error(format_, bound)
                if error is not None:
                    raise BadInput(f"{name} {excerpt(bound)} {error}", field=name)
        parts = frozenset(part for part in _PARTS if getattr(condition, part) is not None)
        shapes.append(_DetailShape(number, parts, format_ == "number"))
    return _Shape(filters_of(query, _FILTERS), tuple(shapes))


def _parameters(query: EntityQuery, shape: _Shape, as_of: datetime | None = None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"as_of": as_of, **{name: getattr(query, name) for name in _FILTERS}}
    if query.keys is not None:
        parameters["key_types"] = [type_ for type_, _ in query.keys]
        parameters["keys"] = [key for _, key in query.keys]
    for condition, detail in zip(query.details, shape.details, strict=True):
        parameters[detail.name("type")] = condition.type
        for part in detail.parts:
            parameters[detail.name(part)] = getattr(condition, part)
        if "contains" in detail.parts:
            parameters[detail.name("contains")] = contains_pattern(condition.contains or "")
        if detail.is_number:
            for part in detail.parts & {"least", "most"}:
                parameters[detail.name(f"{part}_number")] = float(getattr(condition, part))
    return parameters


@lru_cache(MAX_SHAPES)
def _page_statement(
    shape: _Shape, order: EntityOrder, descending: bool, page: PageShape, fields: frozenset[str] | None
) -> Statement:
    statement = _filtered(select_assets(ENTITY, AS_OF, fields), shape, AS_OF)
    return _ENTITIES.page_statement(statement, page, order, descending=descending)


@lru_cache(MAX_SHAPES)
def _count_statement(shape: _Shape) -> Statement:
    statement = select(NUMBER).where(versions.c.tenant_id == TENANT, ENTITY.valid_at(AS_OF))
    if shape.filters & {"types", "domains"}:
        # only these filters read the identity
        statement = statement.join_from(versions, assets, identity_of(ENTITY))
    return compose(_filtered(statement, shape, AS_OF))


@lru_cache(MAX_SHAPES)
def _page_by_domain_statement(shape: _Shape, page: PageShape, fields: frozenset[str] | None) -> Statement:
    statement = _filtered(select_assets(ENTITY, INSTANT, fields).where(_is_in_domain(DOMAIN)), shape, INSTANT)
    return _ENTITIES.page_by_domain_statement(statement, page, EntityOrder.DISPLAY_NAME)


@lru_cache(MAX_SHAPES)
def _count_by_domain_statement(shape: _Shape) -> Statement:
    type_of_entity = (entity_types.c.tenant_id == TENANT) & (entity_types.c.code == assets.c.type)
    statement = (
        select(versions.c.asset_id)
        .join(assets, identity_of(ENTITY))
        .join(entity_types, type_of_entity)
        .where(versions.c.tenant_id == TENANT, ENTITY.valid_at(INSTANT), entity_types.c.domain == DOMAIN)
    )
    return count_by_domain_statement(_filtered(statement, shape, INSTANT))


def _filtered(statement: Select[Any], shape: _Shape, instant: ColumnElement[Any]) -> Select[Any]:
    """Add the filters of a query to a statement that reads versions at an instant."""
    if "search" in shape.filters:
        statement = statement.where(versions.c.asset_id.in_(search_matches(ENTITY, instant)))
    if "types" in shape.filters:
        statement = statement.where(is_among(assets.c.type, "types", shape.filters))
    if "domains" in shape.filters:
        statement = statement.where(_is_in_domain(any_of("domains", Text)))
    if "keys" in shape.filters:
        holders = holders_of_keys("key_types", "keys", instant).subquery("holders")
        statement = statement.where(is_one_of(ENTITY, select(holders.c.asset_id)))
    statement = statement.where(*asset_conditions(ENTITY, shape.filters))
    for detail in shape.details:
        statement = statement.where(versions.c.asset_id.in_(_entities_with_detail(detail, instant)))
    return statement


def _is_in_domain(domain: Any) -> ColumnElement[bool]:
    """Build the condition that the type of an entity belongs to a domain."""
    types_of_domain = select(entity_types.c.code).where(entity_types.c.tenant_id == TENANT, entity_types.c.domain == domain)
    codes = func.array(types_of_domain.scalar_subquery(), type_=ARRAY(Text))
    # without such a type PostgreSQL reads no entity at all
    return (func.cardinality(codes) > 0) & (assets.c.type == any_(codes))


def _entities_with_detail(detail: _DetailShape, instant: ColumnElement[Any]) -> Select[Any]:
    """Build the statement that reads the ids of the entities that meet a condition at an instant."""
    d = entity_details.c
    conditions: list[ColumnElement[bool]] = []
    if "equals" in detail.parts:
        conditions.append(d.value == detail.parameter("equals"))
    if "among" in detail.parts:
        conditions.append(d.value == any_of(detail.name("among"), Text))
    if "contains" in detail.parts:
        conditions.append(contains(d.value, detail.name("contains")))
    if detail.is_number:
        # the index holds doubles; the exact value decides between numbers that are the same double
        exact = cast(d.value, Numeric)
        if "least" in detail.parts:
            least = detail.parameter("least_number", Double)
            conditions += [d.number >= least, exact >= cast(detail.parameter("least"), Numeric)]
        if "most" in detail.parts:
            most = detail.parameter("most_number", Double)
            conditions += [d.number <= most, exact <= cast(detail.parameter("most"), Numeric)]
    else:
        if "least" in detail.parts:
            conditions.append(d.value >= detail.parameter("least"))
        if "most" in detail.parts:
            conditions.append(d.value <= detail.parameter("most"))
    return select(d.asset_id).where(
        d.tenant_id == TENANT,
        d.detail_type == detail.parameter("type"),
        d.valid_from <= instant,
        d.valid_to > instant,
        *conditions,
    )
