"""Lists of products: searched, filtered and ordered as they were at an instant, of a whole tenant or of each domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, Text, func, select

from db.assets.asset_list import DOMAIN, INSTANT, NUMBER, AssetList, count, count_by_domain, select_assets
from db.assets.domain import DomainAt
from db.assets.product import ProductRow, product_from_row
from db.connection import ReadConnection
from db.filters import TENANT, any_of, contains_pattern
from db.pagination import Page, Slice
from db.tables import product_version as versions
from db.temporal.kind import Instant
from db.temporal.kinds import PRODUCT


class ProductOrder(StrEnum):
    NAME = "NAME"
    UPDATED_AT = "UPDATED_AT"
    CREATED_AT = "CREATED_AT"


@dataclass(frozen=True, slots=True)
class ProductQuery:
    """Filters and order of a list of products. A filter that is None admits every product; an empty one admits none.

    Cursors carry a digest of its repr: do not rename its parts.
    """

    search: str | None = None
    domains: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    order: ProductOrder = ProductOrder.NAME
    descending: bool = False
    as_of: datetime | None = None


_PRODUCTS = AssetList(
    PRODUCT,
    {ProductOrder.NAME: "name", ProductOrder.UPDATED_AT: "valid_from", ProductOrder.CREATED_AT: "created_at"},
    product_from_row,
)


def cursor_key(row: ProductRow, order: ProductOrder) -> tuple[Any, ...]:
    """Return the values by which a product sorts. A cursor holds them."""
    return _PRODUCTS.cursor_key(row, order)


async def list_products(connection: ReadConnection, query: ProductQuery, page: Page) -> Slice[ProductRow]:
    """Fetch a page of the products of a query."""
    instant = query.as_of or connection.now
    statement = _filtered(select_assets(PRODUCT, instant), query, instant)
    return await _PRODUCTS.page(connection, statement, page, query.order, instant, descending=query.descending)


async def count_products(connection: ReadConnection, query: ProductQuery) -> int:
    """Count the products of a query."""
    instant = query.as_of or connection.now
    statement = select(NUMBER).where(versions.c.tenant_id == TENANT, PRODUCT.valid_at(instant))
    return await count(connection, _filtered(statement, query, instant))


async def products_by_domain(
    connection: ReadConnection, domains: Sequence[DomainAt], query: ProductQuery, page: Page
) -> list[Slice[ProductRow]]:
    """Fetch a page of the products of each domain, in order of the name."""
    statement = _filtered(select_assets(PRODUCT, INSTANT).where(versions.c.domain == DOMAIN), query, INSTANT)
    return await _PRODUCTS.page_by_domain(connection, domains, statement, page, ProductOrder.NAME)


async def count_products_by_domain(connection: ReadConnection, domains: Sequence[DomainAt], query: ProductQuery) -> list[int]:
    """Count the products of each domain."""
    statement = select(versions.c.asset_id).where(
        versions.c.tenant_id == TENANT, PRODUCT.valid_at(INSTANT), versions.c.domain == DOMAIN
    )
    return await count_by_domain(connection, domains, _filtered(statement, query, INSTANT))


def _filtered(statement: Select[Any], query: ProductQuery, instant: Instant) -> Select[Any]:
    """Add the filters of a query to a statement that reads versions at an instant."""
    if query.search is not None:
        matching = func.search_products(contains_pattern(query.search), instant).column_valued("matching")
        statement = statement.where(versions.c.asset_id.in_(select(matching)))
    for column, values in (
        (versions.c.domain, query.domains),
        (versions.c.status, query.statuses),
        (versions.c.owner, query.owners),
    ):
        if values is not None:
            statement = statement.where(column == any_of(values, Text))
    if query.tags is not None:
        statement = statement.where(versions.c.tags.overlap(list(query.tags)))
    return statement
