"""What the workers' routes share, and how they know who speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.admission import Admission
from tallystick.scheduler.logs import LogBook
from tallystick.wire.auth import Challenges, Tokens
from tallystick.wire.rates import Allowance, TooOften
from tallystick.wire.scheduler import ChainConfig, PublicConfig

if TYPE_CHECKING:
    from tallystick.scheduler import story
    from tallystick.scheduler.figures import Pushes
    from tallystick.scheduler.pool import Pool

IsUploaded = Callable[[TaskId, str], Awaitable[bool]]
"""Whether the result store really has the result of this task at this link."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the workers' routes need."""

    pool: Pool
    config: PublicConfig
    chain: ChainConfig
    challenges: Challenges
    tokens: Tokens
    logs: LogBook
    admission: Admission
    history: Callable[[TaskId], story.Story]
    is_uploaded: IsUploaded
    pushes: Pushes
    allowance: Allowance
    """How often a wallet may ask."""

    def bearer(self, authorization: str) -> Address:
        """The wallet that this header names. Raises Unauthorized, TooOften."""
        worker = self.tokens.bearer(authorization)
        if wait := self.allowance.take(worker):
            raise TooOften(f"The wallet {worker}", wait)
        return worker

    def caller(self, authorization: str, instance: str) -> Address:
        """The worker that these headers name; counts as a sign of life. Raises Unauthorized,
        TooOften, WalletTaken."""
        worker = self.bearer(authorization)
        self.pool.roster.require_current(worker, instance)
        self.pool.roster.heard(worker)
        return worker
