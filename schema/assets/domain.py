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
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import list_size
from schema.language.node_ids import AsOf
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, paged
from schema.language.scopes import READ, field, resolver
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
    name: str = field(READ, "Its name, unique.")

    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @paged
    @resolver(READ, "The products that are in it then, in order of the name.")
    async def products(
        self,
        info: Info,
        status: Annotated[ProductStatus | None, strawberry.argument(description="Only those with this status.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Product]:
        query = ProductQuery(statuses=None if status is None else (status.name,))
        keyset = Keyset("products of a domain", self.name, query, self.pinned, key=(str, int))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        return keyset.connection(
            page,
            await info.context.load(PRODUCTS_BY_DOMAIN, self.reading, query, page),
            node=lambda row: Product.of(row, self.pinned),
            place=lambda row: product_query.cursor_key(row, query.order),
            count=lambda: info.context.load(PRODUCT_COUNT_BY_DOMAIN, self.reading, query),
        )

    @paged
    @resolver(READ, "The entities then of the types that belong to it, in order of the display name. Types are not versioned.")
    async def entities(
        self,
        info: Info,
        filter: Annotated[EntityFilter | None, strawberry.argument(description="Which of them.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Entity]:
        query = EntityQuery(**query_parts(filter))
        keyset = Keyset("entities of a domain", self.name, query, self.pinned, key=(str, int))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        return keyset.connection(
            page,
            await info.context.load(ENTITIES_BY_DOMAIN, self.reading, query, page),
            node=lambda row: Entity.of(row, self.pinned),
            place=lambda row: entity_query.cursor_key(row, query.order),
            count=lambda: info.context.load(ENTITY_COUNT_BY_DOMAIN, self.reading, query),
        )

    @resolver(READ, "Who answers for its products then, each once, in order.")
    def owners(self, info: Info) -> list[str]:
        return info.context.load(OWNERS_BY_DOMAIN, self.reading)  # type: ignore[return-value]

    @property
    def reading(self) -> DomainAt:
        """What a loader is asked for."""
        return DomainAt(self.name, self.as_of)


@strawberry.type
class DomainQueries:
    @list_size(50)
    @resolver(
        READ,
        "The domains that there are at that instant, in order of the name. A domain is there while a product is in it; one that a"
        " type of entities belongs to always is, for types are not versioned.",
    )
    async def domains(self, info: Info, as_of: AsOf = None) -> list[Domain]:
        connection = await info.context.transaction.reader()
        instant = as_of or connection.now
        names = await info.context.load(DOMAINS_AT, instant)
        return [Domain(name=it, as_of=instant, pinned=as_of) for it in names]

    @resolver(READ, "The domain with this name; null: there is none at that instant.")
    async def domain(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Its name.")], as_of: AsOf = None
    ) -> Domain | None:
        refuse_unstorable("name", name)
        connection = await info.context.transaction.reader()
        instant = as_of or connection.now
        found = await info.context.load(DOMAIN_BY_NAME, name, instant)
        return None if found is None else Domain(name=found, as_of=instant, pinned=as_of)
