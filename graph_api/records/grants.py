"""Grants of configured services: the tenants and the paths that each service is for."""

from collections.abc import Awaitable, Callable, Mapping

from db.registries.service_grants import ServiceGrants
from graph_api.records.configuration import Service

# The grant of a service that names no tenants, to the tenant of a database that has no other.
_WHOLE_SERVICE = ("/",)


class GrantedServices:
    """The configured services, by the tenants that they are for.

    A service that names no tenants is for the tenant of a database that has only one, and for none of several: its headers are
    the operator's, and a tenant chooses what is requested with them.
    """

    def __init__(self, services: Mapping[str, Service], find_only_tenant: Callable[[], Awaitable[str | None]]) -> None:
        self._services = services
        self._find_only_tenant = find_only_tenant
        self._any_without_tenants = any(service.tenants is None for service in services.values())

    async def __call__(self, tenant: str) -> ServiceGrants | None:
        """Return the services that sources of a tenant may name. None: no service is configured, so that they may name any."""
        if not self._services:
            return None
        is_only_tenant = self._any_without_tenants and await self._find_only_tenant() == tenant
        paths: dict[str, tuple[str, ...]] = {}
        for name, service in self._services.items():
            if service.tenants is None:
                if is_only_tenant:
                    paths[name] = _WHOLE_SERVICE
            elif tenant in service.tenants:
                paths[name] = tuple(service.tenants[tenant])
        return ServiceGrants(tenant, paths)
