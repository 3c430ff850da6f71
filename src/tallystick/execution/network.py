"""What a job may reach over the network. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

PROXY_PORT = 3_128
"""Of the job's own loopback: where it finds the proxy, when it has one."""
NAME_SERVER = "10.0.2.3"
"""Where slirp4netns answers lookups, with what this machine's resolver says."""
_PLACE = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class Reach(StrEnum):
    """How far a job's connections go."""

    NONE = "none"
    ALLOW_LIST = "allow-list"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The network of a job; without one it has none at all."""

    reach: Reach = Reach.NONE
    hosts: tuple[str, ...] = ()
    """For the allow-list: `host:port` each; `*.example.org:443` means every host below it."""
    private: bool = False
    """Whether allowed hosts may have private addresses: only for a market on one machine."""

    def __post_init__(self) -> None:
        for place in self.hosts:
            host, _, port = place.rpartition(":")
            number = int(port) if port.isascii() and port.isdecimal() else 0
            if not _PLACE.fullmatch(host.lower()) or not 0 < number < 65_536:
                raise ValueError(
                    f"{place!r} is no place on the network; write host:port or *.host:port"
                )

    def allows(self, host: str, port: int) -> bool:
        """Whether the allow-list has this place in it."""
        wanted = host.lower().rstrip(".")
        return any(_means(place.lower(), wanted, port) for place in self.hosts)

    def told(self) -> str:
        """What an app gets, as the end of a sentence that begins with `It gets`."""
        if self.reach is Reach.NONE:
            return "no network"
        if self.reach is Reach.FULL:
            return "the public internet, and nothing of this machine or its neighbours"
        places = ", ".join(self.hosts) or "nothing yet"
        return f"a proxy that leads to {places}, and nothing else"

    def environment(self) -> dict[str, str]:
        """Variables that tell a program where the proxy is."""
        if self.reach is not Reach.ALLOW_LIST:
            return {}
        proxy, own = f"http://127.0.0.1:{PROXY_PORT}", "localhost,127.0.0.1,::1"
        names = ("http_proxy", "https_proxy", "all_proxy")
        found = dict.fromkeys(names, proxy) | {"no_proxy": own}
        return found | {name.upper(): value for name, value in found.items()}


def _means(place: str, host: str, port: int) -> bool:
    name, _, number = place.rpartition(":")
    if int(number) != port:
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name
