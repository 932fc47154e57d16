"""The viewer: who asks, and what they may."""

from collections.abc import Mapping, Sequence

import strawberry

from db.connection import ReadConnection
from db.tenancy import tenant
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.scopes import SELF, field, resolver


@strawberry.federation.type(description="How much of something there is, and how much there may be.", shareable=True)
class Quota:
    used: int = field(SELF, "How many there are; what was deleted counts until it is purged.")
    allowed: int | None = field(SELF, "How many there may be; null: any number.")

    @classmethod
    def of(cls, quota: tenant.Quota) -> "Quota":
        return cls(used=quota.used, allowed=quota.allowed)


@strawberry.type(name="Limits", description="How much may be asked for, and kept.")
class ViewerLimits:
    @resolver(SELF, "The most that an operation may cost.")
    def max_cost(self, info: Info) -> int:
        return info.context.limits.cost

    @resolver(SELF, "How deep fields may stand within each other.")
    def max_depth(self, info: Info) -> int:
        return info.context.limits.depth

    @resolver(SELF, "The most items that come on one page; a page of a lineage walk may have more.")
    def max_page_size(self, info: Info) -> int:
        return info.context.limits.page_size

    @resolver(SELF, "How many links away a lineage walk may be asked to go, at most.")
    def max_lineage_depth(self, info: Info) -> int:
        return info.context.limits.walk_depth

    @resolver(SELF, "The most assets that one lineage walk reaches; it is cut short beyond, and says so.")
    def max_lineage_assets(self, info: Info) -> int:
        return info.context.limits.walk.assets

    @resolver(SELF, "Products of this tenant.")
    async def products(self, info: Info) -> Quota:
        return await _quota(info, "products")

    @resolver(SELF, "Entities of this tenant.")
    async def entities(self, info: Info) -> Quota:
        return await _quota(info, "entities")

    @resolver(SELF, "Lineage links of this tenant.")
    async def lineage_links(self, info: Info) -> Quota:
        return await _quota(info, "links")


@strawberry.type(description="Whoever asks.")
class Viewer:
    tenant: str = field(SELF, "The tenant that is asked.")
    actor: str = field(SELF, "What is written of whoever asks, as the author of a change.")
    scopes: list[str] = field(
        SELF, "What they may do: `read`, `write`, `admin`, or `write:` with a domain, such as `write:sales`."
    )

    @resolver(SELF, "How much they may ask for, and their tenant may keep.")
    def limits(self) -> ViewerLimits:
        return ViewerLimits()


@strawberry.type
class ViewerQueries:
    @resolver(SELF, "Who asks, and what they may.")
    def viewer(self, info: Info) -> Viewer:
        principal = info.context.principal
        return Viewer(tenant=principal.tenant, actor=principal.actor, scopes=principal.scope_names)


async def _quota(info: Info, limited: str) -> Quota:
    return Quota.of((await info.context.load(QUOTAS, None))[limited])


async def _quotas(connection: ReadConnection, keys: Sequence[None]) -> list[Mapping[str, tenant.Quota]]:
    return [await tenant.quotas(connection)] * len(keys)


QUOTAS = Batch(_quotas)
