"""Where strangers' addresses lead: which of them a worker may open.

A requester chooses what its worker downloads, and gets the content back inside a result. So an
address must not lead into the worker's own network, where it could read what only neighbours
may: the node, the router, the metadata of a cloud machine.
"""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlsplit

import anyio

from tallystick.engine.public_ip import is_public

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_P2P: Final = bytes.fromhex("a503")
"""The multiaddr code of /ipfs and /p2p, as the official client writes it on chain."""


class AddressRefused(Exception):
    """The address is of a kind that is not opened, or leads to a place that is not public."""


def uri_of(multiaddr: bytes) -> str:
    """What the on-chain `multiaddr` of a dataset says: a URL, or a path such as /ipfs/Qm…"""
    if multiaddr.startswith(_P2P) and len(multiaddr) > 3 and multiaddr[2] == len(multiaddr) - 3:
        return f"/ipfs/{base58(multiaddr[3:])}"
    return multiaddr.decode("utf-8", "replace")


def base58(raw: bytes) -> str:
    """The spelling of binary multihashes."""
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + digits


def candidates(uri: str, gateways: tuple[str, ...]) -> list[str]:
    """The URLs to try in order. Raises `AddressRefused` for anything but HTTP and IPFS."""
    for prefix in ("/ipfs/", "/p2p/", "ipfs://"):
        if uri.startswith(prefix):
            path = f"/ipfs/{uri.removeprefix(prefix)}"
            return [gateway.rstrip("/") + path for gateway in gateways]
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise AddressRefused(f"{uri[:200]!r} is neither an http(s) URL nor an IPFS path.")
    return [uri]


async def require_public(url: str) -> None:
    """Raise `AddressRefused` when the host of `url` is, or resolves to, a private address."""
    host, port = host_and_port(url)
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as trouble:
        raise AddressRefused(f"the host {host} is not known.") from trouble
    for *_, address in found:
        require_public_ip(str(address[0]), url)


def host_and_port(url: str) -> tuple[str, int]:
    """Where an http(s) URL leads. Raise `AddressRefused` when it is malformed."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as trouble:
        raise AddressRefused(f"{url[:200]!r} is no address: {trouble}.") from trouble
    if not parts.hostname:
        raise AddressRefused(f"{url[:200]!r} names no host.")
    return parts.hostname, port


def require_public_ip(ip: str, url: str) -> None:
    """Raise `AddressRefused` unless `ip` is an address that everybody could reach."""
    if not is_public(ip):
        raise AddressRefused(f"{url[:200]!r} leads to {ip}, which is not a public address.")
