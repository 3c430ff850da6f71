"""The real pool against the contracts as the ledger has them: whatever workers do, and in
whatever order, work is given as the protocol can use it, and every task ends."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast, get_args

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tallystick.chain.wallet import Wallet
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle.agenda import RequestUpload, owed_by_pool
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Began,
    Computed,
    Fact,
    Failed,
    Lost,
    Ordered,
    Started,
    Step,
    Uploaded,
    UploadRequested,
)
from tallystick.lifecycle.fitness import COMPUTING
from tallystick.lifecycle.replicate import BEFORE_VOTE, IllegalFact, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.contribution import weight
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.escrow import Event, Revert
from tallystick.poco.ledger import ChainStatus, Ledger
from tallystick.poco.orders import Domain
from tallystick.poco.values import Address, DealId, Digest, TaskId
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.pool import Pool, PoolRules
from tallystick.scheduler.purses import Purse
from tallystick.scheduler.roster import Roster
from tallystick.sim.calls import Call, Contribute, Finish, Reveal, execute, pool_call
from tallystick.sim.translate import facts_of
from tallystick.wire.authorization import WorkerpoolAuthorization
from tallystick.wire.scheduler import WorkerModel

START, UNIT = 1_800_000_000, 60
SCHEDULER = Wallet(b"\x11" * 32)
WORKERS = tuple(Address(bytes(19) + bytes([number])) for number in range(1, 7))
OURS = WORKERS[::2]
"""Workers of ours; the others are v9 peers, which know no vote that finalizes."""
SLOTS = {worker: 1 + number % 2 for number, worker in enumerate(WORKERS)}
DIGESTS = (Digest(b"\1" * 32), Digest(b"\2" * 32))
ACTS = ("ask", "ask", "vote", "vote", "reveal", "reveal", "upload", "work", "block")
WORK = ("start", "start", "compute", "fail", "abort")
SILENCE = 30.0
FUNDS = 25
"""What each worker has on the hub at first: two stakes and a half."""


class Books:
    """What the ledger says that a worker has, always fresh."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.penniless = ledger, set[Address]()

    def known(self, worker: Address) -> Purse:
        return Purse(
            score=self.ledger.scores.get(worker, 0),
            stake=self.ledger.escrow.balance(worker),
            gas=worker not in self.penniless,
        )

    async def of(self, worker: Address) -> Purse:
        await anyio.lowlevel.checkpoint()
        return self.known(worker)


class Assignments(RuleBasedStateMachine):
    """Deals, workers that ask, work, lie, fail and vanish, blocks, deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.events: list[Event] = []
        self.ledger = Ledger(self.events.append, Domain(1, Address(b"\xee" * 20)))
        for worker in WORKERS:
            self.ledger.escrow.deposit(worker, FUNDS)
        self.now, self.monotonic, self.logs, self.deals = START, 1_000.0, 0, 0
        self.clock = ChainClock()
        self.clock.saw(self.now)
        self.journal = Journal[Fact](Path(self.folder.name) / "journal.db", get_args(Fact))
        engine: PoolEngine = Engine(
            journal=self.journal, rules=PoolRules(self.clock), perform=cast("Any", None)
        )
        self.pool = Pool(
            engine=engine,
            roster=Roster(self.journal, lambda: self.monotonic),
            wallet=SCHEDULER,
            hub=cast("Any", None),
            clock=self.clock,
            history=(),
        )
        self.blocked: set[Address] = set()
        self.given: list[tuple[TaskId, Address]] = []
        self.books = Books(self.ledger)
        self.pool.giving.purses = cast("Any", self.books)
        self.pool.giving.is_blocked = self.blocked.__contains__
        self.pool.giving.unstaked = True
        engine.listen(lambda entry: self.heard(entry.stream, entry.fact))
        for worker in WORKERS:
            self.register(worker)

    def teardown(self) -> None:
        """Time passes and nobody works any more: every task ends, here and on the chain."""
        self.end_of_time()
        self.journal.close()
        self.folder.cleanup()

    # What is looked at

    def tasks(self) -> list[Task]:
        return list(self.pool.engine.states.values())

    def instance(self, worker: Address) -> str:
        return "one" if worker in OURS else ""

    def heard(self, stream: str, fact: Fact) -> None:
        """Judges an assignment by what was known before it."""
        if not isinstance(fact, Assigned):
            return
        task, worker = self.pool.engine.states[stream], fact.worker
        others = [r for r in task.replicates.values() if r.worker != worker]
        assert (task.id, worker) not in self.given, "one replicate per wallet and task"
        self.given.append((task.id, worker))
        assert worker not in self.blocked, "a blocked worker gets nothing"
        assert not self.decided(task, others), "never more replicates than could decide"
        assert self.busy(worker) <= SLOTS[worker], "slots are never exceeded"
        assert self.now < task.deal.contribution_deadline
        assert worker not in self.books.penniless
        mine = task.replicates[worker]
        assert mine.alone == (worker in OURS and task.deal.trust == 1 and not self.voted(task))
        owed = sum(each.deal.worker_stake for each in self.tasks() if self.owes(each, worker))
        asked_for = 0 if mine.alone else owed
        assert self.ledger.escrow.balance(worker) >= asked_for, "it can pay for all of it"

    def voted(self, task: Task) -> bool:
        return bool(self.ledger.tasks[task.id].contributions)

    def decided(self, task: Task, replicates: list[Replicate]) -> bool:
        """Whether these would decide the task, if all that may still vote did so alike."""
        tally = self.ledger.tasks[task.id].tally
        pending = [r for r in replicates if r.status in BEFORE_VOTE and not gone(r)]
        choice = tally.leader or next(iter(DIGESTS))
        for replicate in pending:
            power = weight(self.ledger.scores.get(replicate.worker, 0))
            tally = tally.vote(cast("Any", choice), power)
        return bool(pending) and tally.settles(cast("Any", choice), task.deal.trust)

    def owes(self, task: Task, worker: Address) -> bool:
        """Whether the worker's vote on the task is still to lock a stake."""
        mine = task.replicates.get(worker)
        if mine is None or mine.alone or gone(mine):
            return False
        return mine.status in BEFORE_VOTE and task.status is TaskStatus.ACTIVE

    def busy(self, worker: Address) -> int:
        held = [t.replicates[worker] for t in self.tasks() if self.computes(t, worker)]
        return len(held)

    def computes(self, task: Task, worker: Address) -> bool:
        mine, is_open = task.replicates.get(worker), task.status is TaskStatus.ACTIVE
        return mine is not None and is_open and mine.status in COMPUTING

    def pick(self, data: st.DataObject, *wanted: Status) -> tuple[Task, Replicate] | None:
        """A replicate in one of these."""
        found = [(t, r) for t in self.tasks() for r in t.in_status(*wanted)]
        return data.draw(st.sampled_from(found)) if found else None

    # The chain

    def mine(self, call: Call) -> bool:
        """A transaction, and what a follower makes of it. Whether the contract took it."""
        self.events.clear()
        try:
            execute(self.ledger, call, self.now)
        except Revert:
            return False
        for task, fact in list(facts_of(self.ledger, self.events)):
            self.tell(task, fact)
        return True

    def tell(self, task: TaskId, fact: Fact) -> None:
        self.logs += 1
        ref = ChainRef(self.logs, f"0x{self.logs:064x}", 0)
        self.pool.engine.record(str(task), fact, ref)

    def catch_up(self) -> None:
        """The scheduler does what is due, as its engine would."""
        self.pool.mark_overdue()
        while due := [c for task in self.tasks() for c in owed_by_pool(task, self.now)]:
            for command in due:
                if isinstance(command, RequestUpload):
                    asked = UploadRequested(command.worker, self.now + 20)
                    self.pool.engine.record(str(command.task), asked)
                elif call := pool_call(SCHEDULER.address, command):
                    assert self.mine(call), f"{command} is possible when it is due"
        for task in self.tasks():
            if task.status is TaskStatus.REVEALING:
                assert all(self.in_time(task, mine) for mine in task.winners)

    def in_time(self, task: Task, mine: Replicate) -> bool:
        """Whether a winner still may prove or publish, has done so, or is known not to have."""
        assert task.reveal_deadline is not None
        if mine.status is Status.UPLOAD_REQUESTED:
            assert mine.upload_deadline is not None
            return mine.failed is not None or self.now < mine.upload_deadline
        return mine.status is not Status.CONTRIBUTED or self.now < task.reveal_deadline

    def say(self, task: Task, fact: Fact) -> bool:
        """A worker reports, or the pool notes, what may be nonsense by now."""
        try:
            self.pool.engine.record(str(task.id), fact)
        except IllegalFact:
            return False
        return True

    def register(self, worker: Address) -> None:
        model = WorkerModel(
            name="w", cpu_nb=SLOTS[worker], contribute_and_finalize=worker in OURS
        )
        self.pool.roster.register(worker, model, instance=self.instance(worker))

    # What happens

    @initialize()
    def begin(self) -> None:
        """Some work is there from the beginning."""
        for trust, stake in ((1, 10), (5, 0), (5, 10)):
            self.buy(trust, 2, stake)

    @rule(data=st.data(), acts=st.lists(st.sampled_from(ACTS), min_size=5, max_size=20))
    def busy_day(self, data: st.DataObject, acts: list[str]) -> None:
        """Much of what is below, so that tasks get far."""
        for act in acts:
            match act:
                case "ask":
                    self.ask(data.draw(st.lists(st.sampled_from(WORKERS), min_size=1)))
                case "vote":
                    self.vote(data, data.draw(st.sampled_from([False, False, False, True])))
                case "block":
                    self.block(data.draw(st.integers(1, 20)))
                case "work":
                    self.work(data, data.draw(st.sampled_from(WORK)))
                case _:
                    getattr(self, act)(data)

    @precondition(lambda self: self.deals < 8)
    @rule(
        trust=st.sampled_from([1, 2, 5]), size=st.integers(1, 3), stake=st.sampled_from([0, 10])
    )
    def buy(self, trust: int, size: int, stake: int) -> None:
        self.deals += 1
        bought = Deal(
            DealId(bytes([self.deals]) * 32),
            start=self.now,
            time_unit=UNIT,
            trust=trust,
            bot_size=size,
            worker_stake=stake,
            workerpool=Asset(Address(b"\xaa" * 20), SCHEDULER.address, 0),
            requester=Address(b"\xab" * 20),
            sponsor=Address(b"\xab" * 20),
        )
        self.ledger.clerk.deals[bought.id] = bought
        for index in bought.indices:
            self.tell(bought.task_id(index), Ordered(bought, index))
        self.catch_up()

    @precondition(lambda self: self.deals < 8)
    @rule()
    def slow_winners(self) -> None:
        """Three agree, one of them proves it, and then all are late."""
        self.buy(5, 1, 0)
        task = self.tasks()[-1]
        for worker in OURS:
            permission = self.pool.authorization(task, worker).signature.value
            assert self.mine(Call(worker, Contribute(task.id, DIGESTS[0], permission)))
        assert self.mine(Call(OURS[0], Reveal(task.id, DIGESTS[0])))
        self.catch_up()
        self.block(2 * UNIT)

    @rule(workers=st.lists(st.sampled_from(WORKERS), min_size=1, max_size=4))
    def ask(self, workers: list[Address]) -> None:
        """At the same moment; a worker may ask twice, for two of its slots."""
        found: list[WorkerpoolAuthorization | None] = []

        async def one(worker: Address) -> None:
            found.append(await self.pool.demand(worker, 0, self.instance(worker)))

        async def all_of_them() -> None:
            async with anyio.create_task_group() as group:
                for worker in workers:
                    group.start_soon(one, worker)

        before = len(self.given)
        anyio.run(all_of_them)
        assert sum(each is not None for each in found) == len(self.given) - before

    @precondition(lambda self: any(t.status is TaskStatus.ACTIVE for t in self.tasks()))
    @rule(data=st.data())
    def ask_when_there_is_work(self, data: st.DataObject) -> None:
        """Whoever can do something that is needed is not sent away."""
        free = [w for w in WORKERS if w not in self.blocked and self.busy(w) < SLOTS[w]]
        rich = [w for w in free if w not in self.books.penniless]
        if not rich:
            return
        worker = data.draw(st.sampled_from(rich))
        owed = sum(t.deal.worker_stake for t in self.tasks() if self.owes(t, worker))
        wanted = [t for t in self.tasks() if self.needs(t, worker, owed)]
        before = len(self.given)
        self.ask([worker])
        assert len(self.given) > before or not wanted

    def needs(self, task: Task, worker: Address, owed: int) -> bool:
        """Whether this task, beyond doubt, wants this worker."""
        others = list(task.replicates.values())
        return (
            task.status is TaskStatus.ACTIVE
            and worker not in task.replicates
            and self.now + 2 * UNIT < task.deal.contribution_deadline
            and self.ledger.escrow.balance(worker) >= owed + task.deal.worker_stake + 10
            and all(gone(r) or r.status not in BEFORE_VOTE for r in others)
        )

    @rule(data=st.data(), lie=st.booleans())
    def vote(self, data: st.DataObject, lie: bool) -> None:
        """Also by one that is taken for lost, and whatever it has told."""
        if (found := self.pick(data, *BEFORE_VOTE, Status.FAILED, Status.ABORTED)) is None:
            return
        task, mine = found
        digest, permission = DIGESTS[lie], mine.authorization
        if mine.alone and mine.status in BEFORE_VOTE:
            self.mine(Call(mine.worker, Finish(task.id, digest, permission)))
        else:
            self.mine(Call(mine.worker, Contribute(task.id, digest, permission)))

    @rule(data=st.data())
    def reveal(self, data: st.DataObject) -> None:
        if found := self.pick(data, Status.CONTRIBUTED):
            task, mine = found
            for digest in DIGESTS:
                self.mine(Call(mine.worker, Reveal(task.id, digest)))
            self.catch_up()

    @rule(data=st.data(), what=st.sampled_from(WORK))
    def work(self, data: st.DataObject, what: str) -> None:
        if (found := self.pick(data, *BEFORE_VOTE)) is None:
            return
        task, mine = found
        worker = mine.worker
        facts: dict[str, tuple[Fact, ...]] = {
            "start": (Began(worker, Step.START), Started(worker)),
            "compute": (Computed(worker, None, 0),),
            "fail": (Failed(worker, Step.START, "UNKNOWN"),),
            "abort": (Aborted(worker, "ABORTED_BY_WORKER"),),
        }
        for fact in facts[what]:
            self.say(task, fact)

    @rule(data=st.data())
    def upload(self, data: st.DataObject) -> None:
        if found := self.pick(data, Status.UPLOAD_REQUESTED):
            task, mine = found
            self.say(task, Uploaded(mine.worker, "/ipfs/Qm"))
            self.catch_up()

    @rule(silent=st.sampled_from(WORKERS))
    def loss(self, silent: Address) -> None:
        """One worker is not heard any more."""
        self.monotonic += SILENCE + 1
        for worker in WORKERS:
            if worker != silent:
                self.pool.roster.heard(worker)
        self.pool.mark_lost(SILENCE)
        for task in self.tasks():
            mine = task.replicates.get(silent)
            assert mine is None or mine.status not in BEFORE_VOTE or gone(mine)

    @rule(worker=st.sampled_from(WORKERS))
    def come_back(self, worker: Address) -> None:
        self.register(worker)
        self.pool.welcome_back(worker)

    @rule(worker=st.sampled_from(WORKERS), blocked=st.booleans(), gas=st.booleans())
    def fortune(self, worker: Address, blocked: bool, gas: bool) -> None:
        """The operator blocks a worker or not, and its wallet has gas or not."""
        (self.blocked.add if blocked else self.blocked.discard)(worker)
        (self.books.penniless.discard if gas else self.books.penniless.add)(worker)

    @rule(seconds=st.sampled_from([1, 25, UNIT, 2 * UNIT]))
    def block(self, seconds: int) -> None:
        """Reveals, uploads and deadlines may be over."""
        self.now += seconds
        self.clock.saw(self.now)
        self.catch_up()

    def end_of_time(self) -> None:
        for _ in range(3):
            self.block(11 * UNIT)
        for task in self.tasks():
            assert task.status.over, f"{task.id} is {task.status} for ever"
        free = {w: self.ledger.escrow.balance(w) for w in WORKERS}
        assert all(self.ledger.escrow.stake(w) == 0 for w in WORKERS), "no stake stays locked"
        assert sum(free.values()) <= FUNDS * len(WORKERS)

    # What always holds

    @invariant()
    def the_pool_knows_what_the_chain_knows(self) -> None:
        for task in self.tasks():
            known = self.ledger.tasks.get(task.id)
            assert task.status == (TaskStatus.UNSET if known is None else SAME[known.status])

    @invariant()
    def a_vote_is_counted_once(self) -> None:
        for task in self.tasks():
            if known := self.ledger.tasks.get(task.id):
                voters = {w for w, r in task.replicates.items() if r.vote}
                assert voters == {*known.contributions}


SAME = {
    ChainStatus.ACTIVE: TaskStatus.ACTIVE,
    ChainStatus.REVEALING: TaskStatus.REVEALING,
    ChainStatus.COMPLETED: TaskStatus.COMPLETED,
    ChainStatus.FAILED: TaskStatus.FAILED,
}


def gone(replicate: Replicate) -> bool:
    return isinstance(replicate.away, Lost)


TestAssignments = Assignments.TestCase
TestAssignments.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
