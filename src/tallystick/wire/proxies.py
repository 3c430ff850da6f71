"""Who really asks, when a reverse proxy stands between: believed from named proxies only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
Header = tuple[bytes, bytes]

_TOLD: Final = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-real-ip",
)
"""What a proxy says of its caller; from anybody else it is dropped."""
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~\-]{1,100}){1,10}")
_MOST_HOPS: Final = 30


class BadNetwork(ValueError):
    """Not an address, nor a network like 10.0.0.0/8."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """`texts` as networks; an address is a network of one. Raises BadNetwork."""
    try:
        return tuple(ip_network(text.strip()) for text in texts)
    except ValueError as problem:
        raise BadNetwork(
            f"{problem}: a trusted proxy is an address, or a network like 10.0.0.0/8."
        ) from problem


class Forwarded:
    """Takes address, scheme, host and path prefix of a request from the `X-Forwarded-…`
    headers of trusted proxies. What others say there is never seen by anybody.

    The caller is the last of `X-Forwarded-For` that is no trusted proxy itself: what stands
    before it, the caller may have written.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network], root_path: str = "") -> None:
        """`root_path`: where a proxy shows this service, when it does not say so itself."""
        self._app, self._trusted, self._root = app, trusted, root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._app(self._seen(scope) if scope["type"] == "http" else scope, receive, send)

    def _seen(self, scope: Scope) -> Scope:
        headers: list[Header] = scope["headers"]
        kept = [each for each in headers if each[0] not in _TOLD]
        seen = dict(scope) | {"headers": kept, "root_path": self._root}
        client = scope.get("client")
        if client is None or not self._trusted or not self._trusts(_address(client[0])):
            return seen
        told = [(name, value.decode("latin-1")) for name, value in headers if name in _TOLD]
        said = dict(told)
        hops = [value for name, value in told if name == b"x-forwarded-for"]
        if (asker := self._asker(",".join(hops))) is not None:
            seen["client"] = (str(asker), 0)
        if (scheme := said.get(b"x-forwarded-proto", "").strip()) in ("http", "https"):
            seen["scheme"] = scheme
        if host := said.get(b"x-forwarded-host", "").strip():
            seen["headers"] = [
                *(each for each in kept if each[0] != b"host"),
                (b"host", host.encode("latin-1")),
            ]
        if _PREFIX.fullmatch(prefix := said.get(b"x-forwarded-prefix", "").rstrip("/")):
            seen["root_path"] = prefix
        return seen

    def _asker(self, hops: str) -> IPv4Address | IPv6Address | None:
        """None where the chain of proxies cannot be read: then the proxy itself counts."""
        for hop in reversed(hops.split(",")[-_MOST_HOPS:]):
            address = _address(hop.strip())
            if address is None:
                return None
            if not self._trusts(address):
                return address
        return None

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in `text`; one of version 4 in the clothes of version 6 is undressed."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
