"""Data products: what they are at an instant, and how they come to be, change, end and return."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, func, select, text

from db.assets import asset, product_fields
from db.assets.domain import DOMAIN, INSTANT, DomainAt, count_of_each, page_of_each
from db.connection import ReadConnection, WriteConnection
from db.consistency.lifecycle import record_asset_change
from db.errors import NotFound, TransactionConflict
from db.filters import TENANT, any_of, contains_pattern
from db.instants import write_instant
from db.pagination import Page, Slice
from db.sql import statement
from db.tables import asset as assets
from db.tables import product_version as versions
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kind import Instant
from db.temporal.kinds import PRODUCT

_ADD_DOMAINS = statement("registries/add_domains")
_LOCK_BY_NAME = statement("assets/lock_product_by_name")


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A product as it was at one instant."""

    asset_id: int
    uid: UUID
    as_of: datetime
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    name: str
    domain: str
    owner: str
    description: str | None
    schema: dict[str, Any]
    status: str
    version: str
    tags: list[str]


class ProductOrder(StrEnum):
    NAME = "NAME"
    UPDATED_AT = "UPDATED_AT"
    CREATED_AT = "CREATED_AT"


@dataclass(frozen=True, slots=True)
class ProductQuery:
    """Which products, and in which order. A filter that is None leaves nothing out; an empty one leaves out everything."""

    search: str | None = None
    domains: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    order: ProductOrder = ProductOrder.NAME
    descending: bool = False
    as_of: datetime | None = None


_ORDER: dict[ProductOrder, ColumnElement[Any]] = {
    ProductOrder.NAME: versions.c.name,
    ProductOrder.UPDATED_AT: versions.c.valid_from,
    ProductOrder.CREATED_AT: versions.c.created_at,
}


def cursor_key(row: ProductRow, order: ProductOrder) -> tuple[Any, ...]:
    """Where a product stands in an order: what a cursor remembers."""
    match order:
        case ProductOrder.NAME:
            return (row.name, row.asset_id)
        case ProductOrder.UPDATED_AT:
            return (row.valid_from, row.asset_id)
        case ProductOrder.CREATED_AT:
            return (row.created_at, row.asset_id)


async def products_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[ProductRow | None]:
    return await _matching(connection, assets.c.uid == any_of(uids, Uuid), "uid", uids, as_of)


async def products_by_name(connection: ReadConnection, names: Sequence[str], as_of: datetime | None) -> list[ProductRow | None]:
    return await _matching(connection, versions.c.name == any_of(names, Text), "name", names, as_of)


async def product_by_asset(connection: ReadConnection, asset_id: int, instant: datetime) -> ProductRow | None:
    """The product that lives under this identity at that instant."""
    (row,) = await _matching(connection, versions.c.asset_id == asset_id, "asset_id", [asset_id], instant)
    return row


async def list_products(connection: ReadConnection, query: ProductQuery, page: Page) -> Slice[ProductRow]:
    instant = query.as_of or connection.now
    statement = page.apply(
        _filtered(_select(instant), query, instant),
        _ORDER[query.order],
        versions.c.asset_id,
        descending=query.descending,
    )
    return page.slice(await connection.fetch(statement), lambda row: _product(row, instant))


async def count_products(connection: ReadConnection, query: ProductQuery) -> int:
    instant = query.as_of or connection.now
    counting = select(func.count().label("products")).where(versions.c.tenant_id == TENANT, PRODUCT.valid_at(instant))
    row = await connection.fetch_one(_filtered(counting, query, instant))
    return int(row.products) if row else 0


async def products_by_domain(
    connection: ReadConnection, readings: Sequence[DomainAt], query: ProductQuery, page: Page
) -> list[Slice[ProductRow]]:
    """A page of the products of each domain, in order of the name."""
    within = _filtered(_select(INSTANT).where(versions.c.domain == DOMAIN), query, INSTANT)
    return await page_of_each(connection, readings, within, page, (versions.c.name, versions.c.asset_id), _product)


async def count_products_by_domain(connection: ReadConnection, readings: Sequence[DomainAt], query: ProductQuery) -> list[int]:
    """How many products each domain has."""
    within = select(versions.c.asset_id).where(
        versions.c.tenant_id == TENANT, PRODUCT.valid_at(INSTANT), versions.c.domain == DOMAIN
    )
    return await count_of_each(connection, readings, _filtered(within, query, INSTANT))


async def register(
    connection: WriteConnection,
    fields: Mapping[str, Any],
    *,
    uid: UUID | None = None,
    at: datetime | None = None,
) -> Outcome:
    """Begin a product's life. Its name must be free, and its uid must not be alive at that instant."""
    payload = product_fields.validate_state(fields)
    identity = await asset.add_or_lock(connection, PRODUCT, asset.IdentitySpec(uid))
    return await _record(connection, Assertion(identity.asset_id, Operation.SET, payload, at, creating=True))


async def update(
    connection: WriteConnection,
    ref: UUID | str,
    fields: Mapping[str, Any],
    *,
    at: datetime | None = None,
) -> Outcome:
    """Change some fields of the product with this uid, or with this name at that instant."""
    payload = product_fields.validate_patch(fields)
    if isinstance(ref, UUID):
        asset_id = await asset.lock(connection, PRODUCT, ref, field="product")
    else:
        asset_id = await _lock_by_name(connection, ref, at)
    return await _record(connection, Assertion(asset_id, Operation.PATCH, payload, at))


async def add_domains(connection: WriteConnection, payloads: Iterable[Mapping[str, Any] | None]) -> None:
    """See that the domains are there that states of products name."""
    names = {payload["domain"] for payload in payloads if payload is not None and "domain" in payload}
    if names:
        await connection.execute(_ADD_DOMAINS, {"names": list(names)})


async def _record(connection: WriteConnection, assertion: Assertion) -> Outcome:
    await add_domains(connection, [assertion.payload])
    (outcome,) = await record_asset_change(connection, PRODUCT, [assertion])
    return outcome


async def _lock_by_name(connection: WriteConnection, name: str, at: datetime | None) -> int:
    """The product that bears a name at that instant. Asked twice: whoever held its lock may have renamed it."""
    parameters = {"name": name, "instant": at, "now": connection.now}
    first = await connection.fetch_one(_LOCK_BY_NAME, parameters)
    found = first and await connection.fetch_one(_LOCK_BY_NAME, parameters)
    if first is None or found is None:
        raise NotFound(f"No product is called {name!r} at {write_instant(at or connection.now)}.", field="product")
    if found.id != first.id:
        raise TransactionConflict("Another writer gave this name to another product meanwhile. Try again.")
    return int(found.id)


async def _matching(
    connection: ReadConnection, condition: ColumnElement[bool], key: str, wanted: Sequence[Any], as_of: datetime | None
) -> list[ProductRow | None]:
    instant = as_of or connection.now
    rows = await connection.fetch(_select(instant).where(condition))
    found = {getattr(row, key): _product(row, instant) for row in rows}
    return [found.get(it) for it in wanted]


def _select(instant: Instant) -> Select[Any]:
    return (
        select(
            versions.c.asset_id,
            assets.c.uid,
            versions.c.valid_from,
            func.nullif(versions.c.valid_to, text("'infinity'")).label("valid_to"),
            versions.c.created_at,
            *(versions.c[field] for field in PRODUCT.fields),
        )
        .join(assets, (assets.c.tenant_id == versions.c.tenant_id) & (assets.c.id == versions.c.asset_id))
        .where(versions.c.tenant_id == TENANT, PRODUCT.valid_at(instant))
    )


def _filtered(statement: Select[Any], query: ProductQuery, instant: Instant) -> Select[Any]:
    if query.search is not None:
        found = func.search_products(contains_pattern(query.search), instant).column_valued("found")
        statement = statement.where(versions.c.asset_id.in_(select(found)))
    for column, wanted in (
        (versions.c.domain, query.domains),
        (versions.c.status, query.statuses),
        (versions.c.owner, query.owners),
    ):
        if wanted is not None:
            statement = statement.where(column == any_of(wanted, Text))
    if query.tags is not None:
        statement = statement.where(versions.c.tags.overlap(list(query.tags)))
    return statement


def product_from_version(uid: UUID, version: VersionPeriod) -> ProductRow:
    """The product as one stretch of its history has it."""
    return ProductRow(
        asset_id=version.subject_id,
        uid=uid,
        as_of=version.as_of,
        valid_from=version.valid_from,
        valid_to=version.valid_to,
        created_at=version.created_at,
        **version.state,
    )


def _product(row: Any, instant: datetime) -> ProductRow:
    asset_id, uid, *rest = row
    return ProductRow(asset_id, uid, instant, *rest)
