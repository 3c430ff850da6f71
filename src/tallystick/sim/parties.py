"""Who takes part: each with a journal, an engine over it, and a view of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Entry
from tallystick.lifecycle import agenda
from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Assigned,
    Audited,
    Authorized,
    Began,
    Checked,
    Completed,
    Computed,
    DataFetched,
    Fact,
    Failed,
    IllegalFact,
    Lost,
    Published,
    Recovering,
    Started,
    Uploaded,
    UploadRequested,
    WorkerFact,
)
from tallystick.lifecycle.replicate import OVER, Replicate
from tallystick.lifecycle.task import Task, advance, fold
from tallystick.poco.values import Address, Instant, TaskId
from tallystick.sim.blocks import Block
from tallystick.sim.memory import Memory
from tallystick.sim.odds import Character, Machine

SILENCE: Final = 30
"""Seconds after which a worker that says nothing is lost."""

Tell = Callable[[str, object], None]
"""Receives who did or learned what, for the story."""


class _Rules:
    """The rules of the lifecycle. What is due is asked directly, since time is simulated."""

    def fold(self, facts: Iterable[Fact]) -> Task | None:
        return fold(facts)

    def advance(self, state: Task | None, fact: Fact) -> Task:
        return advance(state, fact)

    def agenda(self, state: Task) -> Iterable[agenda.WorkerCommand | agenda.PoolCommand]:
        return ()

    def begins(self, state: Task, command: object) -> Fact | None:
        return None


async def _perform(command: object) -> Fact | None:
    raise AssertionError("the world performs")


class Party:
    """Someone with a journal. A crash keeps the journal and loses everything else."""

    def __init__(self, name: str, address: Address, tell: Tell) -> None:
        self.name, self.address, self._tell = name, address, tell
        self.memory = Memory()
        self.seen: list[int] = []
        """The serial of every block followed so far; kept with the journal."""
        self.busy: set[object] = set()
        self.up, self.gone, self.life = True, False, 0
        self.deaf_until: Instant = 0
        self.well_since: Instant = 0
        """Since when it has been up and following the chain."""
        self.misremembered: list[str] = []
        """Tasks that a restart has changed: there must be none."""
        self._boot()

    def _boot(self) -> None:
        self.engine = Engine(journal=self.memory, rules=_Rules(), perform=_perform)
        self.engine.listen(self._told)

    def _told(self, entry: Entry[Fact]) -> None:
        if entry.ref is None:
            self._tell(self.name, entry.fact)

    @property
    def tasks(self) -> list[Task]:
        """All that it knows of."""
        return list(self.engine.states.values())

    def task(self, task_id: TaskId) -> Task | None:
        """What it knows of a task."""
        return self.engine.states.get(str(task_id))

    def record(self, task_id: TaskId, fact: Fact, ref: ChainRef | None = None) -> bool:
        """Whether `fact` could follow."""
        try:
            self.engine.record(str(task_id), fact, ref)
        except IllegalFact:
            return False
        return True

    def crash(self, now: Instant) -> None:
        """Lose everything but the journal."""
        self._tell(self.name, "crashes")
        self.up, self.life, self.well_since = False, self.life + 1, now
        self.busy.clear()

    def restart(self, now: Instant, *, forgotten: int) -> None:
        """Come back. The cursor may lag the journal by a few blocks, which are read again:
        until then nothing above the cursor is believed."""
        self._tell(self.name, "restarts")
        del self.seen[max(0, len(self.seen) - forgotten) :]
        before = self.engine.states
        self._boot()
        self._compare(before)
        self.engine.roll_back(len(self.seen))
        self.up, self.well_since = True, now

    def _compare(self, before: dict[str, Task]) -> None:
        after = self.engine.states
        self.misremembered += [
            stream for stream in before | after if before.get(stream) != after.get(stream)
        ]

    def follow(self, blocks: list[Block]) -> None:
        """Turn every block it has not seen into facts; take back what is no longer there."""
        known = min(len(self.seen), len(blocks))
        while known and self.seen[known - 1] != blocks[known - 1].serial:
            known -= 1
        if known < len(self.seen):
            del self.seen[known:]
            self.engine.roll_back(known)
        for block in blocks[known:]:
            for index, (task, fact) in enumerate(block.facts):
                self.record(task, fact, ChainRef(block.number, str(block.serial), index))
            self.seen.append(block.serial)

    def is_at_head_of(self, blocks: list[Block]) -> bool:
        """Whether it has followed all of `blocks`."""
        head = blocks[-1].serial if blocks else None
        return len(self.seen) == len(blocks) and (not self.seen or self.seen[-1] == head)


class Worker(Party):
    """A machine that computes. It tells the scheduler from its journal, and asks for news."""

    def __init__(self, name: str, address: Address, machine: Machine, tell: Tell) -> None:
        super().__init__(name, address, tell)
        self.machine = machine
        self.read_to = 0
        """How much of its own journal is in the outbox."""
        self.outbox: list[Entry[Fact]] = []
        """What the scheduler has not accepted yet."""
        self.news_from = 0
        self.inbox: list[Entry[Fact]] = []
        """What it could not accept yet: the chain tells it more first."""
        self.knows_scheduler = 0

    @property
    def silent(self) -> bool:
        """Whether it takes work and says nothing."""
        return self.machine.character is Character.SILENT

    def mine(self, task: Task) -> Replicate | None:
        """Its own replicate of a task."""
        return task.replicates.get(self.address)

    def untold(self) -> list[Entry[Fact]]:
        """Its own facts, in the order of its journal."""
        fresh = self.memory.entries[self.read_to :]
        self.read_to = len(self.memory.entries)
        self.outbox += [entry for entry in fresh if isinstance(entry.fact, WORKER_FACTS)]
        return self.outbox

    def owed(self, task: Task, now: Instant) -> list[agenda.WorkerCommand]:
        """What it has to do about a task now."""
        return list(agenda.owed_by_worker(task, self.address, now))


WORKER_FACTS: Final = (
    *(Began, Started, AppFetched, DataFetched, Computed, Checked, Published),
    *(Uploaded, Completed, Failed, Aborted),
)


@dataclass(slots=True)
class Backup:
    """What the operator of the scheduler can go back to."""

    memory: Memory
    seen: list[int]
    accepted: set[tuple[Address, int]]


class Scheduler(Party):
    """The pool's side: hands out replicates, listens, and notices who does not answer."""

    def __init__(self, address: Address, tell: Tell) -> None:
        super().__init__("scheduler", address, tell)
        self.instance = 1
        """Another number after a restore: workers then tell and ask again."""
        self.accepted: set[tuple[Address, int]] = set()
        """Every report it took: whose, and its number there. Kept with the journal."""
        self.heard: dict[Address, Instant] = {}
        self._backup = Backup(Memory(), [], set())

    def back_up(self) -> None:
        """Keep a copy of the journal, to be restored from."""
        self._backup = Backup(self.memory.copy(), list(self.seen), set(self.accepted))

    def restore(self, now: Instant) -> None:
        """Lose everything since the last backup."""
        self._tell(self.name, "is restored from a backup")
        self.memory, self.seen = self._backup.memory.copy(), list(self._backup.seen)
        self._boot()
        self.accepted = set(self._backup.accepted)
        self.instance += 1
        self.busy.clear()
        self.life += 1
        self.restart(now, forgotten=0)

    def restart(self, now: Instant, *, forgotten: int) -> None:
        """Come back, with nobody thought lost who could not be heard meanwhile."""
        super().restart(now, forgotten=forgotten)
        self.heard = dict.fromkeys(self.heard, now)

    def owed(self, task: Task, now: Instant) -> list[agenda.PoolCommand]:
        """What it has to do about a task now."""
        return list(agenda.owed_by_pool(task, now))

    def news_for(self, worker: Address, after: int) -> Iterator[Entry[Fact]]:
        """What it has decided about `worker` past a cursor."""
        for entry in self.memory.read(after):
            match entry.fact:
                case (
                    Assigned(worker=whom)
                    | UploadRequested(worker=whom)
                    | Authorized(worker=whom)
                    | Audited(worker=whom, agreed=False)
                ) if whom == worker:
                    yield entry
                case _:
                    continue

    def watch(self, now: Instant) -> None:
        """Notice who is silent, and who did not reveal or upload in time."""
        for task in self.tasks:
            if task.status.over:
                continue
            for late in agenda.overdue(task, now):
                self.record(task.id, late)
            for replicate in list(task.replicates.values()):
                if fact := self._lost(replicate, now):
                    self.record(task.id, fact)

    def _lost(self, replicate: Replicate, now: Instant) -> Lost | None:
        me = replicate.worker
        lost = now - self.heard.setdefault(me, now) > SILENCE
        settled = replicate.status in OVER or isinstance(replicate.away, Lost)
        return Lost(me) if lost and not settled else None

    def hear(self, worker: Worker, now: Instant) -> None:
        """The worker is there. What it holds goes on where it stopped."""
        self.heard[worker.address] = now
        for task in self.tasks:
            mine = worker.mine(task)
            if mine and isinstance(mine.away, Lost) and mine.status not in OVER:
                self.record(task.id, Recovering(worker.address))

    def accept(self, worker: Address, entry: Entry[Fact], fact: WorkerFact | None) -> bool:
        """Take one report, as it arrived over the wire."""
        if fact is None or not self.record(TaskId(entry.stream), fact):
            return False
        self.accepted.add((worker, entry.seq))
        return True
