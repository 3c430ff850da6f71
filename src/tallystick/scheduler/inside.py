"""What the parts of a pool see of it: they are made by it, so they cannot import it."""

from __future__ import annotations

from typing import Protocol

from tallystick.chain.hub import Hub
from tallystick.chain.wallet import Wallet
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.lifecycle.agenda import PoolCommand
from tallystick.lifecycle.facts import Fact
from tallystick.lifecycle.openings import Openings
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, Signature
from tallystick.scheduler.audits import Audits
from tallystick.scheduler.roster import Roster
from tallystick.wire.authorization import WorkerpoolAuthorization

PoolEngine = Engine[Task, Fact, PoolCommand]


class Inside(Protocol):
    """A pool, as `giving` and `news` know it."""

    engine: PoolEngine
    roster: Roster
    wallet: Wallet
    hub: Hub
    clock: ChainClock
    openings: Openings
    audits: Audits

    def authorization(
        self, task: Task, worker: Address, known: Signature | None = None
    ) -> WorkerpoolAuthorization:
        """The permission of `worker` to contribute to `task`."""
        ...

    def birth_block(self, task: Task) -> int:
        """The block in which the task was opened; 0 when that is not known."""
        ...
