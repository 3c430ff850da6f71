"""Keeps a party going: starts its process, buries it, starts it again on its own disk."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from tallystick.chain.wallet import Wallet
from tallystick.poco.values import Address, TaskId
from tallystick.sim.whole import loop
from tallystick.sim.whole.life import LIFE, Life, Mistake

if TYPE_CHECKING:
    from tallystick.sim.whole.edges import Weather
    from tallystick.sim.whole.node import Node


@dataclass(slots=True, kw_only=True, eq=False)
class Keeper:
    """One party over all its lives."""

    name: str
    wallet: Wallet
    home: Path
    make: Callable[[Keeper, Life], Any]
    """Starts a process."""
    nodes: dict[str, Node]
    weather: Weather
    tell: Callable[[object], None]
    outage: float
    kills: dict[int, int]
    """By its lives, the point at which it is killed."""
    reads: bool = True
    """Whether questions count as points."""
    process: Any = None
    """The running one; None while there is none."""
    life: Life | None = None
    lives: list[Life] = field(default_factory=list[Life])
    since: int = 0
    """When its life began, in seconds since the beginning."""
    disturbed: int = 0
    """Until when the world keeps it from what it owes, in seconds since the beginning."""
    aged: bool = False
    """Whether its folder was ever set back to an older copy."""
    lost: set[TaskId] = field(default_factory=set[TaskId])
    """Tasks whose digests went with a folder that was set back."""
    misled: int = 0
    """Until when one of its nodes lies, or last lied; in seconds since the beginning."""
    _restore: Path | None = None
    _buried: list[Any] = field(default_factory=list[Any])

    @property
    def address(self) -> Address:
        """Its wallet."""
        return self.wallet.address

    def crash(self, restore: Path | None = None) -> None:
        """Kill the process; a copy of its folder may take the place of the folder."""
        self._restore = restore
        if self.process is None:  # it is dead already: a later copy would be another one
            self._set_back()
        if self.life is not None and self.life.alive:
            self.life.die()

    def calm(self) -> None:
        """Nothing keeps it from working any more."""
        self.weather.loss = self.weather.doubled = 0.0
        self.weather.cut_until = self.weather.dark_until = 0.0
        self.outage = 2.0
        self.kills = {}
        for node in self.nodes.values():
            node.lag, node.nonsense, node.lie = 0, False, None
        if self.life is not None:
            self.life.full = False

    def teller(self, life: Life) -> Callable[[object], None]:
        """Tells for as long as this life lasts, and counts."""

        def told(what: object) -> None:
            life.facts += 1
            if life.alive:
                self.tell(what)

        return told

    async def keep(self) -> None:
        """Live, again and again. Raises Mistake when a process ends by a mistake of its own."""
        while True:
            await self._one_life()
            self.bury()
            self._set_back()
            await anyio.sleep(self.weather.random.uniform(1, max(1.0, self.outage)))

    def _set_back(self) -> None:
        if self._restore is not None:
            shutil.rmtree(self.home)
            shutil.copytree(self._restore, self.home)
            self._restore = None
            self.tell("is restored from a backup")

    async def _one_life(self) -> None:
        number = len(self.lives) + 1
        life = Life(self.name, kill_at=self.kills.get(number, 0), reads=self.reads)
        self.life = life
        self.lives.append(life)
        LIFE.set(life)
        self.since = int(anyio.current_time() - loop.EPOCH)
        self.tell("starts")
        try:
            with anyio.CancelScope() as scope:
                life.on_death.append(scope.cancel)
                self.process = self.make(self, life)
                await self.process.run()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as end:
            if life.alive:
                text = "".join(traceback.format_exception(end))
                raise Mistake(f"{self.name} ended with a mistake of its own: {text}") from end
        self.tell(f"is killed ({life.last})")

    def bury(self) -> None:
        """Close what the process had open, without a word to it."""
        if self.process is not None:
            process, self.process = self.process, None
            process.bury()
