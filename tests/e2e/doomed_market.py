"""A market whose scheduler and workers are killed at every act, and live again: see `acts`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
from acts import PEACE
from market_lab import Lab, market_lab, only, services
from own_worker import OwnWorker, is_stopped, until, usual

from tallystick.devnet.supervise import Service
from tallystick.lifecycle.facts import Computed, Revealed
from tallystick.poco.values import TaskId

RESTLESS = str(Path(__file__).with_name("restless.py"))
LONG = 800.0
"""Seconds that any of this may take where many starts go on at the same time."""
UNIT = 300
"""Seconds of the category: so long that nothing ends but by the chain's clock."""
ROLES = ("worker", "scheduler")
LIAR = "liar"
"""One more role, of a worker that does not share the deaths of the honest ones."""
QUIET = 4.0
"""Seconds without a death after which those who have nothing to do have died all theirs."""


def both(*acts: str) -> set[str]:
    return {f"{when} {act}" for act in acts for when in ("before", "after")}


STARTS = {
    "worker": both("POST /workers/register", "docker POST /containers/*/start"),
    "scheduler": both("serving POST /workers/register"),
}
"""What has to be among the acts of those who have no task yet; of bubblewrap no container."""
WORKS = both(
    *(f"writing journal.db: {fact}" for fact in ("Assigned", "Began compute", "Computed")),
    *("writing votes.db: insert pledge", "POST /replicates/*/updateStatus COMPUTED"),
    *(
        "writing transactions.db: update entry mined contribute",
        "eth_sendRawTransaction contribute",
    ),
)
REVEALS = both(
    "eth_sendRawTransaction reveal", "PUT /v*/results/*", "writing journal.db: Uploaded"
)
FINISHES = both("eth_sendRawTransaction contributeAndFinalize", "PUT /v*/results/*")
GIVES = both(
    *(f"writing journal.db: {fact}" for fact in ("Ordered", "Initialized", "Assigned")),
    *("eth_sendRawTransaction initialize", "serving POST /replicates/*/updateStatus"),
)
CLAIMS = both("eth_sendRawTransaction claim", "writing journal.db: Claimed")
GIVES_AGAIN = both("eth_sendRawTransaction reopen", "writing journal.db: Reopened")
LEARNS = both("writing journal.db: Claimed")
LOSES = both("writing journal.db: ConsensusReached")
ENDS = both("eth_sendRawTransaction finalize", "writing journal.db: Finalized")
"""Some of what must have been among the acts of a life, so that a name that has changed is
noticed. Those that were met are many more."""


@dataclass
class Stage:
    """A market whose scheduler and workers are killed at every act once they are doomed."""

    lab: Lab
    files: dict[str, Path]
    """Where each role's deaths are told."""
    starts: dict[str, list[str]] = field(default_factory=dict)
    """The deaths of those who had no task yet."""
    begins: int = 0
    """The newest block when everybody had started."""

    def doom(self, *roles: str) -> None:
        """From now on they die, but not of what has killed them at a start already; a task has
        containers and programs of its own, whose calls look the same."""
        for role in roles or self.files:
            self._tell(role, *self._harmless(role))

    def _harmless(self, role: str) -> list[str]:
        started = self.starts.get(role, ())
        return [name for name in started if name.split()[1] not in ("docker", "starting")]

    def listen(self) -> None:
        """From now on they tell what they do, and live."""
        for role in self.files:
            self._tell(role, PEACE)

    def _tell(self, role: str, *names: str) -> None:
        fresh = self.files[role].with_suffix(".new")
        fresh.write_text("".join(f"{name}\n" for name in names))
        fresh.rename(self.files[role])

    def spare(self) -> None:
        for file in self.files.values():
            file.unlink(missing_ok=True)

    def died(self, role: str) -> list[str]:
        """All acts at which a role died since it was doomed, and those of its start."""
        file = self.files[role]
        told = file.read_text().splitlines() if file.exists() else []
        return [name for name in told if name != PEACE]

    def deaths(self) -> dict[str, set[str]]:
        """The acts at which each role died since it was doomed, and not those of its start."""
        told = [file.read_text() for file in self.files.values() if file.exists()]
        assert not any(PEACE in names for names in told), "nobody died"
        return {role: {*self.died(role)} - {*self._harmless(role)} for role in self.files}

    @asynccontextmanager
    async def alive(
        self,
        *names: str,
        words: tuple[str, ...] = ("unchecked",),
        finish: bool = False,
        role: str = "worker",
    ) -> AsyncIterator[list[OwnWorker]]:
        """These workers, however often they are killed. With the same `role` they share their
        deaths."""
        program = (RESTLESS, "worker", str(self.files[role]), str(self.lab.market.data))
        setting = {"contribute_and_finalize": str(finish).lower()}
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    usual(self.lab, name, (*program, *words), **setting)
                )
                for name in names
            ]

    async def nobody_acts_any_more(self) -> None:
        """Return when all who are alive have done nothing new for a while."""
        with anyio.fail_after(LONG):
            before: Any = None
            while before != (before := [self.died(role) for role in ROLES]):
                await anyio.sleep(QUIET)
                await self.lab.workers_are_back(1)

    @asynccontextmanager
    async def scheduler_hangs(self) -> AsyncIterator[None]:
        """It is stopped, with who keeps it."""
        keeper = self.lab.pid("scheduler")
        os.kill(keeper, signal.SIGSTOP)
        try:
            await until(lambda: is_stopped(keeper), "nobody to begin another life")
            children = children_of(keeper)
            for child in children:
                os.kill(child, signal.SIGSTOP)
            yield
            for child in children:
                os.kill(child, signal.SIGCONT)
        finally:
            os.kill(keeper, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in told.split()]


def restless(told: Path) -> Any:
    """The usual processes, but workers, and a scheduler that dies what `told` does not name."""
    few = only(children=services)

    def children(plan: Any, console: Any, memory: Any) -> list[Service]:
        words = (RESTLESS, "scheduler", str(told), str(plan.places.data("scheduler").parent))
        return [
            replace(each, command=(sys.executable, *words, each.command[-1]))
            if each.name == "scheduler"
            else each
            for each in few(plan, console, memory)
        ]

    return children


@asynccontextmanager
async def doomed_market(
    folder: Path, executor: str, *, die_at_start: bool = False
) -> AsyncIterator[Stage]:
    """Everybody has started, with no task to do, and has died at every act of it, or was let
    live: what they do at a start is one and the same before any life."""
    files = {role: folder / f"{role}.acts" for role in (*ROLES, LIAR)}
    options: dict[str, Any] = {"workers": 6, "executor": executor, "alive": 0}
    async with market_lab(folder, children=restless(files["scheduler"]), **options) as lab:
        stage = Stage(lab, files)
        (stage.doom if die_at_start else stage.listen)()
        async with stage.alive("worker-1", words=() if die_at_start else ("unchecked",)):
            checked = die_at_start and executor == "docker"
            await until(lambda: have_started(stage, checked), "all acts of a start", LONG)
            await stage.nobody_acts_any_more()
            stage.starts = {role: stage.died(role) for role in ROLES}
            stage.starts[LIAR] = stage.starts["worker"]
        assert lab.leftovers("worker-1-check") == []
        stage.spare()
        stage.begins = (await lab.session.hub.head()).number
        yield stage


def have_started(stage: Stage, checked: bool) -> bool:
    """Whether everybody has done what belongs to every start, with a check of containers."""
    missing = {role: STARTS[role] - {*stage.died(role)} for role in ROLES}
    if not checked:
        missing["worker"] = {act for act in missing["worker"] if "docker" not in act}
    return not any(missing.values())


def signed_once(worker: OwnWorker, task: TaskId, *calls: str) -> bool:
    return all(len(worker.signed(task, call)) == 1 for call in calls)


def revealed_what_it_computed(worker: OwnWorker, task: TaskId) -> bool:
    """A result that differs at each computation was made once, or never told of again."""
    known = worker.facts(task)
    (revealed,) = {fact.digest for fact in known if isinstance(fact, Revealed)}
    return {fact.digest for fact in known if isinstance(fact, Computed)} == {revealed}


async def was_killed(worker: OwnWorker) -> None:
    """Return once it has died as it was told to."""
    assert worker.process is not None
    with anyio.fail_after(LONG):
        assert await worker.process.wait() == -signal.SIGKILL
