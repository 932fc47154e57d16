"""Bounds of connections: how many an address and a tenant hold."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address, IPv6Network
from typing import Protocol

from starlette.types import Scope

from db.errors import Unavailable

TOO_MANY_CONNECTIONS = "The caller holds too many connections to this process. Use fewer, or close those that are idle."

# Bits of an IPv6 address that a provider gives to one customer.
_IPV6_PREFIX = 64

log = logging.getLogger("uvicorn.error")


@dataclass(slots=True)
class ConnectionLimits:
    """Limits of connections, and the counts of those that are open.

    A connection belongs to the tenant of its latest request. Those without a credential belong to none, only to their address.
    """

    per_address: int = 250
    per_tenant: int = 500
    by_address: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[int] = field(default_factory=Counter)
    # addresses that were refused since they last had fewer connections, so that the log has one line for each
    _refused: set[str] = field(default_factory=set)

    def admit(self, holder: int | str) -> bool:
        """Count a connection of a tenant or an address, or return False if it has too many."""
        return self.admit_address(holder) if isinstance(holder, str) else self.admit_tenant(holder)

    def leave(self, holder: int | str) -> None:
        """Count a connection of a tenant or an address no more."""
        if isinstance(holder, str):
            self.leave_address(holder)
        else:
            self.leave_tenant(holder)

    def admit_address(self, address: str) -> bool:
        """Count a connection of an address, or return False if it has too many."""
        if self.by_address[address] >= self.per_address:
            if address not in self._refused:
                self._refused.add(address)
                log.warning("%s holds %d connections. Further ones are closed.", address, self.per_address)
            return False
        self.by_address[address] += 1
        return True

    def leave_address(self, address: str) -> None:
        """Count a connection of an address no more."""
        self._refused.discard(address)
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]

    def admit_tenant(self, tenant_id: int) -> bool:
        """Count a connection of a tenant, or return False if it has too many."""
        if self.by_tenant[tenant_id] >= self.per_tenant:
            return False
        self.by_tenant[tenant_id] += 1
        return True

    def leave_tenant(self, tenant_id: int) -> None:
        """Count a connection of a tenant no more."""
        self.by_tenant[tenant_id] -= 1
        if not self.by_tenant[tenant_id]:
            del self.by_tenant[tenant_id]


class CountedConnection(Protocol):
    """A connection that is counted for a tenant."""

    def claim(self, tenant_id: int, address: str) -> bool: ...


def claim_connection(scope: Scope, tenant_id: int) -> None:
    """Count the connection of a request for its tenant. Raise Unavailable if the tenant has too many.

    A request without a credential that a proxy forwards is counted for the address of its client.
    """
    connection: CountedConnection | None = scope.get("connection")
    client = scope.get("client")
    if connection is not None and not connection.claim(tenant_id, client[0] if client else ""):
        raise Unavailable(TOO_MANY_CONNECTIONS)


def countable_address(address: str) -> str:
    """Return the address under which a client is counted: its network for IPv6, as a client has all addresses of it."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except AddressValueError:
        # a proxy forwards what it likes
        return address
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
