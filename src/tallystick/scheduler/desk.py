"""What the workers' routes share, and how they know who speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.lifecycle.facts import Uploaded
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.admission import Admission
from tallystick.scheduler.denials import NoToken
from tallystick.scheduler.logs import LogBook
from tallystick.wire.auth import Challenges, Tokens
from tallystick.wire.rates import Allowance, TooOften
from tallystick.wire.scheduler import ChainConfig, PublicConfig

if TYPE_CHECKING:
    from tallystick.scheduler import story
    from tallystick.scheduler.figures import Pushes
    from tallystick.scheduler.pool import Pool

IsUploaded = Callable[[TaskId, Uploaded], Awaitable[bool]]
"""Whether the result of this task really is where a worker says."""


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
        """The wallet that this header names. Raises NoToken, Unauthorized, TooOften."""
        if not authorization:
            raise NoToken("This is for workers: send Authorization: Bearer TOKEN.")
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
