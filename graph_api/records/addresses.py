"""IP addresses: name resolution, and the check that an address is public."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# The range of allocated global IPv6 addresses.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# NAT64: the last 32 bits are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")
# Interface ids with which ISATAP embeds an IPv4 address, for private and for global addresses.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
# Networks that ipaddress reports as global: IETF protocols, the metadata service of Azure, 6to4 relays.
_NOT_PUBLIC = [IPv4Network(it) for it in ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24")]
_DOCUMENTATION = IPv6Network("3fff::/20")


def is_public(address: Address) -> bool:
    """True if the address is reachable on the internet, and does not embed one that is not."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
        if embedded is None:
            interface = int(address) & 0xFFFF_FFFF_FFFF_FFFF
            if interface >> 32 in _ISATAP and not is_public(IPv4Address(interface & 0xFFFF_FFFF)):
                return False
            return address in _GLOBAL_UNICAST and address.is_global and address not in _DOCUMENTATION
        address = embedded
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_address(host: str) -> bool:
    """True if a host is an IP address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def resolve(host: str, port: int) -> list[Address]:
    """Resolve a host name to its addresses, in the order in which to try them."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(socket_address[0]) for *_, socket_address in entries))
