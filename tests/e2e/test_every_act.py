"""SIGKILL before and after every act of a worker and of its scheduler, in complete lives.

In each life everybody dies once at every act that is met: nothing has to be enumerated, and
nothing can be forgotten. Workers that share a task share their deaths. See `acts`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from market_lab import Lab, market_lab, only, services
from own_worker import OwnWorker, until, usual

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.supervise import Service
from tallystick.lifecycle.facts import Computed, Finalized, Revealed
from tallystick.poco.values import TaskId

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]

RESTLESS = str(Path(__file__).with_name("restless.py"))
LONG = 800.0
"""Seconds that any of this may take where many starts go on at the same time."""
ROLES = ("worker", "scheduler")
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

    def doom(self) -> None:
        """From now on they die, but not of what has killed them at a start already; a task has
        containers and programs of its own, whose calls look the same."""
        for role, file in self.files.items():
            started = self.starts.get(role, ())
            known = [name for name in started if name.split()[1] not in ("docker", "starting")]
            fresh = file.with_suffix(".new")
            fresh.write_text("".join(f"{name}\n" for name in known))
            fresh.rename(file)

    def spare(self) -> None:
        for file in self.files.values():
            file.unlink(missing_ok=True)

    def died(self, role: str) -> list[str]:
        """All deaths of a role since it was doomed, and those of its start."""
        return self.files[role].read_text().splitlines()

    @asynccontextmanager
    async def alive(
        self, *names: str, words: tuple[str, ...] = ("unchecked",), finish: bool = False
    ) -> AsyncIterator[list[OwnWorker]]:
        """These workers, however often they are killed."""
        program = (RESTLESS, "worker", str(self.files["worker"]), str(self.lab.market.data))
        setting = {"contribute_and_finalize": str(finish).lower()}
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    usual(self.lab, name, (*program, *words), **setting)
                )
                for name in names
            ]

    async def nobody_dies_any_more(self) -> None:
        """Return when all who are alive have been idle for a while."""
        with anyio.fail_after(LONG):
            before: Any = None
            while before != (before := [self.died(role) for role in ROLES]):
                await anyio.sleep(QUIET)
                await self.lab.workers_are_back(1)


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


@pytest.fixture(scope="module")
async def stage(
    poco_packages: PocoPackages, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """Everybody has died at every act of a start, with no task to do."""
    folder = tmp_path_factory.mktemp("market")
    files = {role: folder / f"{role}.acts" for role in ROLES}
    options: dict[str, Any] = {"workers": 6, "executor": executor, "alive": 0}
    async with market_lab(folder, children=restless(files["scheduler"]), **options) as lab:
        stage = Stage(lab, files)
        stage.doom()
        async with stage.alive("worker-1", words=()):
            await until(lambda: have_started(stage, executor), "all deaths of a start", LONG)
            await stage.nobody_dies_any_more()
            stage.starts = {role: stage.died(role) for role in ROLES}
        assert lab.leftovers("worker-1-check") == []
        stage.spare()
        yield stage


def have_started(stage: Stage, executor: str) -> bool:
    """Whether everybody has died of what belongs to every start."""
    missing = {role: STARTS[role] - {*stage.died(role)} for role in ROLES}
    if executor != "docker":
        missing["worker"] = {act for act in missing["worker"] if "docker" not in act}
    return not any(missing.values())


def signed_once(worker: OwnWorker, task: TaskId, *calls: str) -> bool:
    return all(len(worker.signed(task, call)) == 1 for call in calls)


def revealed_what_it_computed(worker: OwnWorker, task: TaskId) -> bool:
    """A result that differs at each computation was made once, or never told of again."""
    known = worker.facts(task)
    (revealed,) = {fact.digest for fact in known if isinstance(fact, Revealed)}
    return {fact.digest for fact in known if isinstance(fact, Computed)} == {revealed}


@pytest.mark.parametrize("finish", [False, True], ids=["four transactions", "one transaction"])
async def test_one_worker_and_its_scheduler(stage: Stage, finish: bool):
    async with stage.alive("worker-1", finish=finish) as (worker,):
        await stage.lab.workers_are_back(1)
        stage.doom()
        ending = await stage.lab.see(await stage.lab.buy("corpus", "generator"), LONG)
        assert ending.paid
        task, died = ending.task, {role: {*stage.died(role)} for role in ROLES}
        stage.spare()
        calls = ("finish",) if finish else ("contribute", "reveal")
        assert signed_once(worker, task, *calls)
        assert revealed_what_it_computed(worker, task)
        assert sum(isinstance(fact, Finalized) for fact in worker.facts(task)) == 1
        assert stage.lab.gains(ending)["worker-1"] > 0
        assert (await stage.lab.stake("worker-1"))[1] == 0
        assert stage.lab.leftovers(task) == []
        assert died["worker"] >= (FINISHES if finish else WORKS | REVEALS)
        assert died["scheduler"] >= (GIVES if finish else GIVES | ENDS)
