"""What a pool asks of those who join, and tells them: the values of page, script and JSON."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tallystick import __version__
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.scheduler.joining.wheel import NoWheel, own_wheel

if TYPE_CHECKING:
    from tallystick.scheduler.config import SchedulerConfig

log = logging.getLogger(__name__)

PAGE: Final = "/join"
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def join_path(config: SchedulerConfig) -> str:
    """The path of the Join page; empty where nobody may join, or nothing could be installed."""
    if not config.join:
        return ""
    try:
        own_wheel()
    except NoWheel as trouble:
        log.warning("Nobody can join: %s", trouble)
        return ""
    return PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The values of one pool."""

    name: str
    """What the pool is called, without anything that could steer a terminal."""
    pool: Address
    chain_id: int
    hub: Address
    url: str
    """The scheduler, as workers reach it; without a slash at its end."""
    deposit: Nrlc
    """What a worker shall have in the hub."""
    min_eth: Wei
    """What its wallet shall have for gas."""
    required_version: str

    @property
    def folder(self) -> str:
        """What the pool's folder on a worker's machine is called: readable, and its own."""
        word = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:24].strip("-")
        return f"{word or 'pool'}-{str(self.pool)[2:8].lower()}"

    def as_json(self) -> dict[str, Any]:
        """What `/join.json` tells of the pool itself."""
        return {
            "name": self.name,
            "workerpool": str(self.pool),
            "chain_id": self.chain_id,
            "hub": str(self.hub),
            "scheduler_url": self.url,
            "deposit_nrlc": self.deposit,
            "minimum_eth_wei": self.min_eth,
            "required_worker_version": self.required_version,
            "version": __version__,
            "python": ">=3.11,<3.14",
            "folder": self.folder,
        }


def offer_of(config: SchedulerConfig, chain_id: int) -> Offer:
    """What the settings offer. Where gas is free nobody needs ETH."""
    return Offer(
        name=_UNPRINTABLE.sub(" ", config.name),
        pool=config.workerpool,
        chain_id=chain_id,
        hub=config.hub,
        url=_UNPRINTABLE.sub("", config.url).rstrip("/"),
        deposit=config.join_deposit,
        min_eth=0 if config.sidechain else config.join_min_eth,
        required_version=config.required_worker_version,
    )
