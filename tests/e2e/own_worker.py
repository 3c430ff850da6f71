"""A worker of a market that the test itself starts, kills and looks into."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import anyio
from anyio.abc import Process
from dying_worker import name_of
from market_lab import Lab

from tallystick.devnet.places import Places
from tallystick.engine.read_only import JournalView, NotThere
from tallystick.lifecycle.facts import Fact
from tallystick.poco.values import TaskId

USUAL = ("-m", "tallystick", "worker", "start", "--config")
DYING = (str(Path(__file__).with_name("dying_worker.py")),)
MORTAL = (*DYING, "same")
"""Is killed and paused like `DYING`, but computes what everybody else does."""
PATIENCE = 120.0
"""Seconds after which what another process should do will not come."""


@dataclass
class OwnWorker:
    """One worker's process. The market has its settings, but did not start it."""

    lab: Lab
    name: str = "worker-1"
    deaths: int = 0
    process: Process | None = None
    config: Path = field(init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        places = Places(self.lab.market.data)
        self.config, self.log = places.config(self.name), places.logs / f"{self.name}.log"

    @property
    def home(self) -> Path:
        return Places(self.lab.market.data).data("workers") / self.name

    def change(self, **settings: str) -> None:
        """Change settings that are strings."""
        lines = self.config.read_text().splitlines()
        kept = [line for line in lines if line.partition(" =")[0] not in settings]
        new = [f"{key} = {value}" for key, value in settings.items()]
        self.config.write_text("\n".join(kept + new) + "\n")

    async def start(self, program: Iterable[str] = USUAL) -> Process:
        with self.log.open("ab") as log:
            self.process = await anyio.open_process(
                [sys.executable, *program, str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self.process

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after this signal."""
        assert self.process is not None
        self.process.send_signal(number)
        with anyio.fail_after(PATIENCE):
            return await self.process.wait()

    async def die_again_and_again(self, program: Iterable[str] = DYING) -> None:
        """Start it whenever it was killed."""
        while True:
            process = await self.start(program)
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
            assert code == -signal.SIGKILL, self.log.read_text()[-3000:]
            self.deaths += 1

    def doomed(self, *moments: str) -> None:
        """When it will be killed; see `dying_worker`."""
        self.config.with_suffix(".deaths").write_text("\n".join(moments))

    @property
    def still_doomed(self) -> list[str]:
        return self.config.with_suffix(".deaths").read_text().split("\n")

    def said(self) -> str:
        return self.log.read_text()

    def facts(self, task: TaskId) -> list[Any]:
        """What its journal tells of a task."""
        try:
            journal = JournalView[Fact](self.home / "journal.db", get_args(Fact))
        except NotThere:
            return []
        try:
            return [entry.fact for entry in journal.read(stream=str(task))]
        finally:
            journal.close()

    async def until(self, task: TaskId, moment: str) -> None:
        """Return once it has written down `moment`, as `dying_worker` names it.

        To wait for the scheduler to know of a step may be in vain: on a busy machine the chain
        can tell of the vote before the report of what led to it arrives.
        """
        await until(
            lambda: moment in map(name_of, self.facts(task)), f"{moment} by {self.name}"
        )

    async def is_paused(self) -> None:
        """Return once it has stopped itself, as `doomed` told it to."""
        process = self.process
        assert process is not None
        await until(lambda: is_stopped(process.pid), f"{self.name} pausing")

    def go_on(self, number: int = signal.SIGCONT) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def will_say(self, words: str, times: int = 1) -> None:
        """Return once it has said that so often."""
        await until(lambda: self.said().count(words) >= times, words)

    def signed(self, task: TaskId, call: str) -> set[bytes]:
        """The calldata of every transaction for `task` that is in its book, by what it does."""
        with closing(sqlite3.connect(self.home / "transactions.db")) as book:
            rows = book.execute("SELECT data, what FROM entry").fetchall()
        about = (data for data, what in rows if what.startswith(call))
        return {data for data in about if data[4:36] == bytes(task)}


async def until(met: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Wait for another process. Raises AssertionError with `what` was waited for."""
    with anyio.move_on_after(within):
        while not met():  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.05)
        return
    raise AssertionError(f"in vain: {what}")


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached this process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@asynccontextmanager
async def mortal(
    lab: Lab, name: str = "worker-1", program: Iterable[str] = DYING
) -> AsyncIterator[OwnWorker]:
    """A worker that lives until the block is left, however often it is killed."""
    worker = OwnWorker(lab, name)
    worker.doomed()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.die_again_and_again, program)
        try:
            await lab.workers_are_back(1)
            yield worker
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def usual(
    lab: Lab, name: str = "worker-1", program: Iterable[str] = USUAL, **settings: str
) -> AsyncIterator[OwnWorker]:
    """A worker as it is shipped."""
    worker = OwnWorker(lab, name)
    worker.change(**settings)
    await worker.start(program)
    try:
        yield worker
    finally:
        if worker.process is not None and worker.process.returncode is None:
            worker.process.kill()
            await worker.process.wait()


@asynccontextmanager
async def pausing(
    lab: Lab, *moments: str, name: str = "worker-1", hasty: bool = False, **settings: str
) -> AsyncIterator[OwnWorker]:
    """A worker that is stopped, as by SIGSTOP, right after what it writes down. A `hasty` one
    has less patience with the chain."""
    OwnWorker(lab, name).doomed(*(f"pause after {moment}" for moment in moments))
    program = (*MORTAL, "hasty") if hasty else MORTAL
    async with usual(lab, name, program, **settings) as worker:
        await lab.workers_are_back(1)
        yield worker
