"""Credentials of a request, as its headers contain them."""

from typing import NamedTuple

from db.tenancy.api_key import KEY_PREFIX


class Credentials(NamedTuple):
    """The headers X-API-Key, Authorization and X-Headwater-Tenant; None for one that is missing."""

    api_key: str | None = None
    authorization: str | None = None
    tenant: str | None = None

    @property
    def forwarded(self) -> str | None:
        """The Authorization header for other services, unless it contains an API key of Headwater, or a malformed one."""
        return None if self.authorization is None or KEY_PREFIX in self.authorization else self.authorization
