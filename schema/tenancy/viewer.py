"""The viewer: the principal of the request, its scopes and its limits."""

from collections.abc import Mapping, Sequence

import strawberry

from db.connection import ReadConnection
from db.tenancy import tenant
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.fields import field, resolver
from schema.language.scopes import SELF


@strawberry.federation.type(description="A quota of the tenant.", shareable=True)
class TenantQuota:
    used: int = field(SELF, "Number in use. Deleted ones count until they are purged.")
    allowed: int | None = field(SELF, "Maximum number. Null if there is no limit.")

    @classmethod
    def of(cls, quota: tenant.Quota) -> "TenantQuota":
        return cls(used=quota.used, allowed=quota.allowed)


@strawberry.type(description="Limits of operations and quotas of the tenant.")
class ViewerLimits:
    @resolver(SELF, "Maximum cost of an operation.")
    def max_cost(self, info: Info) -> int:
        return info.context.limits.cost

    @resolver(SELF, "Maximum nesting depth of fields.")
    def max_depth(self, info: Info) -> int:
        return info.context.limits.depth

    @resolver(SELF, "Maximum number of items on a page. A page of a lineage walk may have more.")
    def max_page_size(self, info: Info) -> int:
        return info.context.limits.page_size

    @resolver(SELF, "Maximum value of maxDepth of a lineage walk.")
    def max_lineage_depth(self, info: Info) -> int:
        return info.context.limits.max_walk_depth

    @resolver(SELF, "Maximum number of assets that a lineage walk visits. Beyond it the walk is truncated and reports it.")
    def max_lineage_assets(self, info: Info) -> int:
        return info.context.limits.walk_bounds.assets

    @resolver(SELF, "Quota of products.")
    async def products(self, info: Info) -> TenantQuota:
        return await _quota(info, "products")

    @resolver(SELF, "Quota of entities.")
    async def entities(self, info: Info) -> TenantQuota:
        return await _quota(info, "entities")

    @resolver(SELF, "Quota of lineage links.")
    async def lineage_links(self, info: Info) -> TenantQuota:
        return await _quota(info, "links")


@strawberry.type(description="The principal of the request.")
class Viewer:
    tenant: str = field(SELF, "Name of the tenant.")
    actor: str = field(
        SELF, "Name under which changes of this principal are recorded: the label of an API key, or the subject of a token."
    )
    scopes: list[str] = field(
        SELF, "Scopes of the principal: `read`, `write`, `admin`, or `write:` with a domain, such as `write:sales`."
    )

    @resolver(SELF, "Limits of operations and quotas of the tenant.")
    def limits(self) -> ViewerLimits:
        return ViewerLimits()


@strawberry.type
class ViewerQueries:
    @resolver(SELF, "The principal of the request, its scopes and its limits.")
    def viewer(self, info: Info) -> Viewer:
        principal = info.context.principal
        return Viewer(tenant=principal.tenant, actor=principal.actor, scopes=principal.scope_names)


async def _quota(info: Info, limited: str) -> TenantQuota:
    return TenantQuota.of((await info.context.load(QUOTAS, None))[limited])


async def _quotas(connection: ReadConnection, keys: Sequence[None]) -> list[Mapping[str, tenant.Quota]]:
    return [await tenant.quotas(connection)] * len(keys)


QUOTAS = Batch(_quotas)
