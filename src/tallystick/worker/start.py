"""How a worker starts: everything is looked at first, and what can never work ends it."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import anyio

from tallystick.chain.wallet import Wallet
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.journal import Journal
from tallystick.execution.executor import Executor
from tallystick.lifecycle.facts import Fact
from tallystick.lifecycle.task import fold
from tallystick.poco.values import Address
from tallystick.wire.scheduler import SchedulerClient
from tallystick.wire.versions import BadVersion, accepts, bad_version
from tallystick.worker.checkup import Checkup
from tallystick.worker.config import WorkerConfig
from tallystick.worker.drain import unfinished
from tallystick.worker.preflight import Exit, Level, Verdict
from tallystick.worker.reason import Reason
from tallystick.worker.session import Session

if TYPE_CHECKING:
    from tallystick.worker.parts import Parts

log = logging.getLogger(__name__)

AGAIN: Final = 30.0
"""Seconds before a scheduler that refused a worker with something at stake is asked again."""
_PAUSE: Final = 0.5
"""Seconds before one that does not answer is."""
_LOUD = {Level.WARN: logging.WARNING, Level.FAIL: logging.ERROR}
_PASSING = (Exit.FUNDS, Exit.VERSION, Exit.REFUSED)
"""What does not keep a worker from doing what it owes."""


class CannotStart(Exception):
    """The worker can never work as things are; the sentence says why and what to do."""

    def __init__(self, why: Verdict) -> None:
        super().__init__(str(why))
        self.exit_code = int(why.exit)


@dataclass(frozen=True, slots=True)
class Ready:
    """What the checks of a start have opened."""

    wallet: Wallet
    executor: Executor
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """How long it took, by what."""


async def make_ready(config: WorkerConfig, stack: AsyncExitStack) -> Ready:
    """Check everything, tell what an operator should know, and open wallet and runtime.

    What may pass, as a scheduler that is away or a deposit that is missing, is only told: the
    worker waits for it later. Raises CannotStart for the rest.
    """
    loaded, checkup = _age(), Checkup(config, stack)
    for verdict in await checkup.run():
        log.log(_LOUD.get(verdict.level, logging.DEBUG), "%s: %s", verdict.check, verdict)
        if verdict.level is Level.FAIL and not verdict.waits:
            _give_up_unless_owing(verdict, checkup, config)
    assert checkup.wallet is not None
    assert checkup.executor is not None
    log.info("Load wallet credentials [address:%s]", checkup.wallet.address)
    return Ready(checkup.wallet, checkup.executor, {"imports": loaded, **checkup.seconds})


def _give_up_unless_owing(why: Verdict, checkup: Checkup, config: WorkerConfig) -> None:
    wallet, executor = checkup.wallet, checkup.executor
    if wallet is None or executor is None or why.exit not in _PASSING:
        raise CannotStart(why)
    if not owes(config.home, wallet.address):
        raise CannotStart(why)
    log.error("The worker starts all the same, since it has votes to reveal.")


def owes(home: Path, me: Address) -> bool:
    """Whether the journal in `home` tells of replicates of `me` that are not at their end."""
    path = home / "journal.db"
    if not path.exists():
        return False
    with closing(Journal[Fact](path, get_args(Fact))) as journal:
        streams: dict[str, list[Fact]] = {}
        for entry in journal.read():
            streams.setdefault(entry.stream, []).append(entry.fact)
    tasks = [task for facts in streams.values() if (task := fold(facts)) is not None]
    return any(unfinished(tasks, me))


async def join(parts: Parts, ready: Ready) -> None:
    """Become a worker of the pool, and say so once the scheduler has acknowledged it.

    What was promised is worked on meanwhile: neither a scheduler that does not answer nor one
    that refuses us keeps a vote from being revealed. Raises Refused when nothing is owed.
    """
    began, session = time.monotonic(), parts.session
    session.gates.append(VersionGate(session.client))
    while True:
        try:
            await _enter(session)
            break
        except Refused as refusal:
            if not any(unfinished(parts.engine.states.values(), session.me)):
                raise
            log.error("%s The worker goes on with what it owes.", refusal)
            await anyio.sleep(AGAIN)
    log.info("%s", _split(ready.seconds | {"registration": time.monotonic() - began}))
    log.info("You worker is all set: %s computes with %s", session.me, ready.executor.name)
    log.info("Cool, your iexec-worker is all set!")
    await session.run()


async def _enter(session: Session) -> None:
    """Log in and register, as often as it takes. Raises Refused, as BadVersion is one."""
    complaints = Complaints(log)
    while True:
        try:
            await session.client.login()
            break
        except Unavailable as trouble:
            complaints.about("The scheduler", trouble)
            await anyio.sleep(_PAUSE)
    if not accepts(required := session.client.required_version):
        raise BadVersion(bad_version(required))
    await session.register(takeover=session.config.takeover)


def _split(seconds: dict[str, float]) -> str:
    """How long the start took, and which part of it what."""
    parts = ", ".join(f"{what} {spent:.3f} s" for what, spent in seconds.items())
    return f"Started within {_age():.3f} s of the process: {parts}"


def _age() -> float:
    """Seconds since this process began, by the kernel's count of hundredths."""
    text = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - int(text[19]) / 100


@dataclass(frozen=True, slots=True)
class VersionGate:
    """Closed while the pool asks for another version: what was begun is finished, no more."""

    client: SchedulerClient

    def closed(self) -> Reason | None:
        """Why no work may be asked for."""
        required = self.client.required_version
        return None if accepts(required) else Reason("BAD_VERSION", bad_version(required))
