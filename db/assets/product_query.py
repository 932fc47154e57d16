"""Lists of products: searched, filtered and ordered as they were at an instant, of a whole tenant or of each domain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, func, select

from db.assets.asset_filters import ASSET_FILTERS, asset_conditions, digest_parts
from db.assets.asset_list import (
    DOMAIN,
    INSTANT,
    NUMBER,
    AssetList,
    SortKey,
    count,
    count_by_domain,
    count_by_domain_statement,
    search_matches,
    select_assets,
)
from db.assets.domain import DomainAt
from db.assets.product import ProductRow
from db.connection import ReadConnection
from db.filters import AS_OF, TENANT, any_of, filters_of, is_among, overlaps
from db.pagination import Page, PageShape, Slice
from db.sql import MAX_SHAPES, Statement, compose
from db.tables import product_version as versions
from db.temporal.kinds import PRODUCT


class ProductOrder(StrEnum):
    NAME = "NAME"
    UPDATED_AT = "UPDATED_AT"
    CREATED_AT = "CREATED_AT"
    DOMAIN = "DOMAIN"
    OWNER = "OWNER"
    STATUS = "STATUS"
    VERSION = "VERSION"


@dataclass(frozen=True, slots=True)
class ProductQuery:
    """Filters and order of a list of products. A filter that is None admits every product; an empty one admits none.

    Cursors carry a digest of its repr and of its `digest_parts`: do not rename its parts.
    """

    search: str | None = None
    domains: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    order: ProductOrder = ProductOrder.NAME
    descending: bool = False
    as_of: datetime | None = None
    uids: tuple[UUID, ...] | None = field(default=None, repr=False)
    names: tuple[str, ...] | None = field(default=None, repr=False)
    updated_since: datetime | None = field(default=None, repr=False)
    updated_before: datetime | None = field(default=None, repr=False)
    created_since: datetime | None = field(default=None, repr=False)

    @property
    def digest_parts(self) -> tuple[Any, ...]:
        return digest_parts(self, ("names", *ASSET_FILTERS))


# Filters of a query, by the parameter that holds their value.
_FILTERS = ("search", "domains", "statuses", "owners", "tags", "names", *ASSET_FILTERS)
_Filters = frozenset[str]

_PRODUCTS: AssetList[ProductRow] = AssetList(
    PRODUCT,
    {
        ProductOrder.NAME: SortKey(versions.c.name),
        ProductOrder.UPDATED_AT: SortKey(versions.c.valid_from, datetime),
        ProductOrder.CREATED_AT: SortKey(versions.c.created_at, datetime),
        ProductOrder.OWNER: SortKey(versions.c.owner),
        # no index serves these: each version of a product would pay for it
        ProductOrder.DOMAIN: SortKey(versions.c.domain),
        ProductOrder.STATUS: SortKey(versions.c.status),
        ProductOrder.VERSION: SortKey(func.version_precedence(versions.c.version, type_=Text).collate("C")),
    },
)


def cursor_key(row: ProductRow, order: ProductOrder) -> tuple[Any, ...]:
    """Return the values by which a product sorts. A cursor holds them."""
    return _PRODUCTS.cursor_key(row, order)


def cursor_types(order: ProductOrder) -> tuple[type, ...]:
    """Return the types of these values."""
    return _PRODUCTS.cursor_types(order)


async def list_products(connection: ReadConnection, query: ProductQuery, page: Page) -> Slice[ProductRow]:
    """Fetch a page of the products of a query."""
    fields = _PRODUCTS.fields_read(connection.asset_fields, query.order)
    statement = _page_statement(filters_of(query, _FILTERS), query.order, query.descending, page.shape, fields)
    return await _PRODUCTS.page(connection, statement, page, _parameters(query, query.as_of or connection.now_if_read))


async def count_products(connection: ReadConnection, query: ProductQuery) -> int:
    """Count the products of a query."""
    return await count(
        connection, _count_statement(filters_of(query, _FILTERS)), _parameters(query, query.as_of or connection.now_if_read)
    )


async def products_by_domain(
    connection: ReadConnection, domains: Sequence[DomainAt], query: ProductQuery, page: Page
) -> list[Slice[ProductRow]]:
    """Fetch a page of the products of each domain, in order of the name."""
    fields = _PRODUCTS.fields_read(connection.asset_fields, ProductOrder.NAME)
    statement = _page_by_domain_statement(filters_of(query, _FILTERS), page.shape, fields)
    return await _PRODUCTS.page_by_domain(connection, domains, statement, page, _parameters(query))


async def count_products_by_domain(connection: ReadConnection, domains: Sequence[DomainAt], query: ProductQuery) -> list[int]:
    """Count the products of each domain."""
    return await count_by_domain(connection, domains, _count_by_domain_statement(filters_of(query, _FILTERS)), _parameters(query))


def _parameters(query: ProductQuery, as_of: datetime | None = None) -> dict[str, Any]:
    return {"as_of": as_of, **{name: getattr(query, name) for name in _FILTERS}}


@lru_cache(MAX_SHAPES)
def _page_statement(
    filters: _Filters, order: ProductOrder, descending: bool, page: PageShape, fields: frozenset[str] | None
) -> Statement:
    statement = _filtered(select_assets(PRODUCT, AS_OF, fields), filters, AS_OF)
    return _PRODUCTS.page_statement(statement, page, order, descending=descending)


@lru_cache(MAX_SHAPES)
def _count_statement(filters: _Filters) -> Statement:
    return compose(_filtered(select(NUMBER).where(versions.c.tenant_id == TENANT, PRODUCT.valid_at(AS_OF)), filters, AS_OF))


@lru_cache(MAX_SHAPES)
def _page_by_domain_statement(filters: _Filters, page: PageShape, fields: frozenset[str] | None) -> Statement:
    statement = _filtered(select_assets(PRODUCT, INSTANT, fields).where(versions.c.domain == DOMAIN), filters, INSTANT)
    return _PRODUCTS.page_by_domain_statement(statement, page, ProductOrder.NAME)


@lru_cache(MAX_SHAPES)
def _count_by_domain_statement(filters: _Filters) -> Statement:
    statement = select(versions.c.asset_id).where(
        versions.c.tenant_id == TENANT, PRODUCT.valid_at(INSTANT), versions.c.domain == DOMAIN
    )
    return count_by_domain_statement(_filtered(statement, filters, INSTANT))


def _filtered(statement: Select[Any], filters: _Filters, instant: ColumnElement[Any]) -> Select[Any]:
    """Add filters to a statement that reads versions at an instant."""
    if "search" in filters:
        statement = statement.where(versions.c.asset_id.in_(search_matches(PRODUCT, instant)))
    for column, name in (
        (versions.c.domain, "domains"),
        (versions.c.status, "statuses"),
        (versions.c.owner, "owners"),
    ):
        if name in filters:
            statement = statement.where(is_among(column, name, filters))
    if "tags" in filters:
        statement = statement.where(overlaps(versions.c.tags, "tags", filters))
    if "names" in filters:
        # an index finds each
        statement = statement.where(versions.c.name == any_of("names", Text))
    return statement.where(*asset_conditions(PRODUCT, filters))
