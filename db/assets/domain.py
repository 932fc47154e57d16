"""Domains: the parts of an organisation that own data. A domain exists at an instant if a product or an entity type is in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from db.connection import ReadConnection
from db.pagination import DIRECTIONS, Page, Slice
from db.sql import statement

_COUNT = statement("assets/count_domains")
_DOMAINS = statement("assets/domains")
_BY_NAME = statement("assets/domains_by_name")
_PAGES = {it: statement("assets/domain_page", direction=it) for it in DIRECTIONS}
_OWNERS = statement("assets/owners_by_domain")


class DomainAt(NamedTuple):
    """A domain at an instant."""

    domain: str
    instant: datetime


async def domains_at(connection: ReadConnection, instants: Sequence[datetime]) -> list[list[str]]:
    """List the names of the domains that exist at each instant, in order."""
    results = [await connection.fetch(_DOMAINS, {"instant": instant}) for instant in instants]
    return [[row.name for row in rows] for rows in results]


async def domain_page(connection: ReadConnection, instant: datetime, page: Page) -> Slice[str]:
    """Fetch a page of the names of the domains that exist at an instant."""
    (after,), (before,) = page.after or (None,), page.before or (None,)
    parameters = {"instant": instant, "after": after, "before": before, "limit": page.limit}
    return page.slice(await connection.fetch(_PAGES[page.direction], parameters), lambda row: str(row.name))


async def count_domains(connection: ReadConnection, instant: datetime) -> int:
    """Count the domains that exist at an instant."""
    (row,) = await connection.fetch(_COUNT, {"instant": instant})
    return int(row.number)


async def domains_by_name(connection: ReadConnection, names: Sequence[str], instant: datetime) -> list[str | None]:
    """Return each of these names whose domain exists at an instant, else None."""
    rows = await connection.fetch(_BY_NAME, {"names": list(names), "instant": instant})
    existing = {row.name for row in rows}
    return [name if name in existing else None for name in names]


@dataclass(slots=True)
class DomainOwners:
    """Owners of the products of a domain, in order, and the number of these products."""

    owners: list[str] = field(default_factory=list)
    products: int = 0


async def owners_by_domain(connection: ReadConnection, domains: Sequence[DomainAt]) -> list[DomainOwners]:
    """List the owners of the products of each domain."""
    owners = [DomainOwners() for _ in domains]
    parameters = {"domains": [it.domain for it in domains], "instants": [it.instant for it in domains]}
    for row in await connection.fetch(_OWNERS, parameters):
        of_domain = owners[row.ordinal - 1]
        of_domain.owners.append(row.owner)
        of_domain.products += row.products
    return owners
