"""Domains: the parts of an organisation that own data, as they are at an instant."""

from datetime import datetime
from typing import Annotated

import strawberry

from db.assets import domain as domains
from db.assets import entity_query, product_query
from db.assets.domain import DomainAt
from db.assets.entity_query import EntityQuery
from db.assets.product_query import ProductQuery
from db.fields import refuse_unstorable
from schema.assets.entity import Entity, EntityFilter, query_parts
from schema.assets.product import Product, ProductStatus
from schema.execution.connections import fetch_connection
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import list_size
from schema.language.fields import field, resolver
from schema.language.node_ids import AsOf
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, PageArguments, paged
from schema.language.scopes import READ
from schema.lazy import domain_type

DOMAINS_AT = Batch(domains.domains_at)
DOMAIN_BY_NAME = Batch(domains.domains_by_name)
OWNERS_BY_DOMAIN = Batch(domains.owners_by_domain)
PRODUCTS_BY_DOMAIN = Batch(product_query.products_by_domain)
PRODUCT_COUNT_BY_DOMAIN = Batch(product_query.count_products_by_domain)
ENTITIES_BY_DOMAIN = Batch(entity_query.entities_by_domain)
ENTITY_COUNT_BY_DOMAIN = Batch(entity_query.count_entities_by_domain)


@domain_type
@strawberry.type(description="A part of the organisation that owns data, as it was at one instant.")
class Domain:
    name: str = field(READ, "Unique name of the domain.")

    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @paged
    @resolver(READ, "Products of the domain at that instant, in order of the name.")
    async def products(
        self,
        info: Info,
        status: Annotated[ProductStatus | None, strawberry.argument(description="Only products with this status.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Product]:
        query = ProductQuery(statuses=None if status is None else (status.name,))
        return await fetch_connection(
            info,
            Keyset("products of a domain", self.name, query, self.pinned, key=(str, int)),
            PageArguments(first, after, last, before),
            fetch=lambda page: info.context.load(PRODUCTS_BY_DOMAIN, self.key, query, page),
            nodes=lambda rows: [Product.of(row, self.pinned) for row in rows],
            cursor_key=lambda row: product_query.cursor_key(row, query.order),
            count=lambda: info.context.load(PRODUCT_COUNT_BY_DOMAIN, self.key, query),
        )

    @paged
    @resolver(
        READ, "Entities at that instant whose type belongs to the domain, in order of the display name. Types are not versioned."
    )
    async def entities(
        self,
        info: Info,
        filter: Annotated[EntityFilter | None, strawberry.argument(description="Filter.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Entity]:
        query = EntityQuery(**query_parts(filter))
        return await fetch_connection(
            info,
            Keyset("entities of a domain", self.name, query, self.pinned, key=(str, int)),
            PageArguments(first, after, last, before),
            fetch=lambda page: info.context.load(ENTITIES_BY_DOMAIN, self.key, query, page),
            nodes=lambda rows: [Entity.of(row, self.pinned) for row in rows],
            cursor_key=lambda row: entity_query.cursor_key(row, query.order),
            count=lambda: info.context.load(ENTITY_COUNT_BY_DOMAIN, self.key, query),
        )

    @resolver(READ, "Owners of the products of the domain at that instant, each once, in order.")
    def owners(self, info: Info) -> list[str]:
        return info.context.load(OWNERS_BY_DOMAIN, self.key)  # type: ignore[return-value]

    @property
    def key(self) -> DomainAt:
        """The key of the loaders."""
        return DomainAt(self.name, self.as_of)


@strawberry.type
class DomainQueries:
    @list_size(50)
    @resolver(
        READ,
        "Domains at that instant, in order of the name. A domain exists while a product belongs to it. A domain of an entity type"
        " always exists, since types are not versioned.",
    )
    async def domains(self, info: Info, as_of: AsOf = None) -> list[Domain]:
        connection = await info.context.transaction.reader()
        instant = await connection.instant(as_of)
        names = await info.context.load(DOMAINS_AT, instant)
        return [Domain(name=name, as_of=instant, pinned=as_of) for name in names]

    @resolver(READ, "The domain with this name. Null if there is none at that instant.")
    async def domain(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Name of the domain.")], as_of: AsOf = None
    ) -> Domain | None:
        refuse_unstorable("name", name)
        connection = await info.context.transaction.reader()
        instant = await connection.instant(as_of)
        known_name = await info.context.load(DOMAIN_BY_NAME, name, instant)
        return None if known_name is None else Domain(name=known_name, as_of=instant, pinned=as_of)
