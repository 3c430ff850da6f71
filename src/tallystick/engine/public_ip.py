"""Which addresses of the internet everybody can reach. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(ip: str) -> bool:
    """Whether `ip` means the same place for everybody: no private, local or group address.

    An IPv6 address that stands for one of IPv4 is judged by that. Raises ValueError for text
    that is no address.
    """
    address = ipaddress.ip_address(ip.partition("%")[0])
    meant = _meant(address) if isinstance(address, ipaddress.IPv6Address) else address
    return meant.is_global and not meant.is_multicast


def _meant(
    address: ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address at which a translator on the way would send it on."""
    if address.teredo:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
