"""Domains: the parts of an organisation that own data, as they are at an instant."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from db.assets.domain import DomainAt
from db.fields import refuse_unstorable
from schema.execution.context import Info
from schema.language.cost import list_size
from schema.language.node_ids import AsOf
from schema.language.pagination import After, Before, Connection, First, Last, paged
from schema.language.scopes import READ, field, resolver

if TYPE_CHECKING:
    from schema.assets.entity import Entity, EntityFilter
    from schema.assets.product import Product, ProductStatus

Status = Annotated["ProductStatus", strawberry.lazy("schema.assets.product")]
Filter = Annotated["EntityFilter", strawberry.lazy("schema.assets.entity")]


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
        status: Annotated[Status | None, strawberry.argument(description="Only those with this status.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated["Product", strawberry.lazy("schema.assets.product")]]:
        # what a domain holds knows its domain
        from schema.assets.product import products_of_domain

        return await products_of_domain(info, self, status, first=first, after=after, last=last, before=before)

    @paged
    @resolver(READ, "The entities then of the types that belong to it, in order of the display name. Types are not versioned.")
    async def entities(
        self,
        info: Info,
        filter: Annotated[Filter | None, strawberry.argument(description="Which of them.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated["Entity", strawberry.lazy("schema.assets.entity")]]:
        from schema.assets.entity import entities_of_domain

        return await entities_of_domain(info, self, filter, first=first, after=after, last=last, before=before)

    @resolver(READ, "Who answers for its products then, each once, in order.")
    def owners(self, info: Info) -> list[str]:
        return info.context.loaders.owners_by_domain.load((self.reading,))  # type: ignore[return-value]

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
        names = await info.context.loaders.domains_then.load((instant,))
        return [Domain(name=it, as_of=instant, pinned=as_of) for it in names]

    @resolver(READ, "The domain with this name; null: there is none at that instant.")
    async def domain(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Its name.")], as_of: AsOf = None
    ) -> Domain | None:
        refuse_unstorable("name", name)
        connection = await info.context.transaction.reader()
        instant = as_of or connection.now
        found = await info.context.loaders.domain_by_name.load((name, instant))
        return None if found is None else Domain(name=found, as_of=instant, pinned=as_of)
