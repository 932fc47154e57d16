"""Domains: the parts of an organisation that own data, as they are at an instant."""

from collections.abc import Sequence
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
from schema.execution.connections import fetch_connection, fetch_connections, read
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import domain_cost
from schema.language.fields import batched, field, resolver
from schema.language.node_ids import ID, AsOf, Node, write_domain_id
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


def _id_of(self: "Domain") -> strawberry.ID:
    return write_domain_id(self.name, self.pinned)


@domain_type
@strawberry.federation.type(
    keys=["id", "name"], description="A part of the organisation that owns data, as it was at one instant."
)
class Domain(Node):
    id: strawberry.ID = field(READ, ID, resolver=_id_of)
    name: str = field(READ, "Unique name of the domain.")

    as_of: strawberry.Private[datetime]
    pinned: strawberry.Private[datetime | None]

    @paged
    @batched(READ, "Products of the domain at that instant, in order of the name.")
    @staticmethod
    async def products(
        domains: Sequence["Domain"],
        info: Info,
        status: Annotated[ProductStatus | None, strawberry.argument(description="Only products with this status.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[Connection[Product]]:
        query = ProductQuery(statuses=None if status is None else (status.name,))
        cipher = info.context.cursor_cipher
        return await fetch_connections(
            info,
            domains,
            PageArguments(first, after, last, before),
            keyset=lambda domain: Keyset(cipher, "products of a domain", domain.name, query, domain.pinned, key=(str, int)),
            fetch=lambda of, page: info.context.load_all(PRODUCTS_BY_DOMAIN, [domain.key for domain in of], query, page),
            nodes=lambda domain, rows: [Product.of(row, domain.pinned) for row in rows],
            cursor_key=lambda _, row: product_query.cursor_key(row, query.order),
            count=lambda domain: info.context.load(PRODUCT_COUNT_BY_DOMAIN, domain.key, query),
        )

    @paged
    @batched(
        READ, "Entities at that instant whose type belongs to the domain, in order of the display name. Types are not versioned."
    )
    @staticmethod
    async def entities(
        domains: Sequence["Domain"],
        info: Info,
        filter: Annotated[EntityFilter | None, strawberry.argument(description="Filter.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[Connection[Entity]]:
        query = EntityQuery(**await query_parts(info, filter))
        cipher = info.context.cursor_cipher
        return await fetch_connections(
            info,
            domains,
            PageArguments(first, after, last, before),
            keyset=lambda domain: Keyset(
                cipher, "entities of a domain", domain.name, query, *query.digest_parts, domain.pinned, key=(str, int)
            ),
            fetch=lambda of, page: info.context.load_all(ENTITIES_BY_DOMAIN, [domain.key for domain in of], query, page),
            nodes=lambda domain, rows: [Entity.of(row, domain.pinned) for row in rows],
            cursor_key=lambda _, row: entity_query.cursor_key(row, query.order),
            count=lambda domain: info.context.load(ENTITY_COUNT_BY_DOMAIN, domain.key, query),
        )

    @domain_cost("products_of_domain")
    @batched(READ, "Owners of the products of the domain at that instant, each once, in order.")
    @staticmethod
    async def owners(domains: Sequence["Domain"], info: Info) -> list[list[str]]:
        keys = [domain.key for domain in domains]
        owners = await info.context.load_all(OWNERS_BY_DOMAIN, keys)
        # domains of one name and instant are read once
        info.context.cost_meter.products |= {key: it.products for key, it in zip(keys, owners, strict=True)}
        return [it.owners for it in owners]

    @property
    def key(self) -> DomainAt:
        """The key of the loaders."""
        return DomainAt(self.name, self.as_of)

    @classmethod
    async def find(cls, info: Info, name: str, pinned: datetime | None) -> "Domain | None":
        """Return the domain with a name, at the requested instant or else now."""
        connection = await info.context.transaction.reader()
        instant = await connection.instant(pinned)
        known_name = await info.context.load(DOMAIN_BY_NAME, name, instant)
        return None if known_name is None else cls(name=known_name, as_of=instant, pinned=pinned)


@strawberry.type
class DomainQueries:
    @paged
    @resolver(
        READ,
        "Domains at that instant, in order of the name. A domain exists while a product belongs to it. A domain of an entity type"
        " always exists, since types are not versioned.",
    )
    async def domains(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Domain]:
        instant = await (await info.context.transaction.reader()).instant(as_of)
        return await fetch_connection(
            info,
            Keyset(info.context.cursor_cipher, "domains", as_of, key=(str,)),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, domains.domain_page, instant, page),
            nodes=lambda names: [Domain(name=name, as_of=instant, pinned=as_of) for name in names],
            cursor_key=lambda name: (name,),
            count=lambda: read(info, domains.count_domains, instant),
        )

    @resolver(READ, "The domain with this name. Null if there is none at that instant.")
    async def domain(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Name of the domain.")], as_of: AsOf = None
    ) -> Domain | None:
        refuse_unstorable("name", name)
        return await Domain.find(info, name, as_of)
