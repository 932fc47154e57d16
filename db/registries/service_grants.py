"""Grants of services: the services, and the paths in them, that the source of an entity type of one tenant may name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import BadInput
from db.registries.endpoint import is_below


@dataclass(frozen=True, slots=True)
class ServiceGrants:
    """Services that one tenant may use."""

    tenant: str
    # prefixes of the granted paths, by the name of the service
    paths: Mapping[str, Sequence[str]]

    def covers(self, service: str, endpoint: str) -> bool:
        """Return true if the tenant may fetch records of a service at this endpoint."""
        return any(is_below(endpoint, prefix) for prefix in self.paths.get(service, ()))

    def check(self, source: Mapping[str, Any] | None) -> None:
        """Raise BadInput if the source of an entity type calls a service that is not granted to the tenant.

        The error of a service that is configured for other tenants is that of one that does not exist.
        """
        if source is None or source["is_local"] or self.covers(source["service"], source["endpoint"]):
            return
        prefixes = self.paths.get(source["service"])
        if prefixes is None:
            raise BadInput(
                f"service is {source['service']!r}, which is not configured for the tenant {self.tenant}. Name another service,"
                f" or let the operator add it to HEADWATER_SERVICES, with this tenant in its option tenants.",
                field="service",
            )
        outside = (
            f"endpoint is {source['endpoint']!r}, which is outside the paths of the service {source['service']} that are"
            f" configured for the tenant {self.tenant}"
        )
        remedy = "Name a path at or below one of them."
        raise BadInput(
            f"{outside}: {', '.join(prefixes)}. {remedy}",
            field="endpoint",
            blind=f"{outside}. {remedy}",
        )
