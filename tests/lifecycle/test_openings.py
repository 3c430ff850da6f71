"""The index of openings, against looking at every task, after any story that may happen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tallystick.lifecycle.agenda import wants_worker
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Claimed,
    ConsensusReached,
    Contributed,
    Fact,
    Failed,
    IllegalFact,
    Initialized,
    Lost,
    Ordered,
    Recovering,
    Reopened,
    Started,
    Step,
)
from tallystick.lifecycle.fitness import Applicant, NoWork, needs_of, owed_stake
from tallystick.lifecycle.margins import too_late
from tallystick.lifecycle.openings import Openings
from tallystick.lifecycle.pool import busy_slots, fits
from tallystick.lifecycle.task import Task, TaskStatus, advance
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.tags import GPU, TDX, TEE, tag_of
from tallystick.poco.values import NO_TAG, Address, DealId, Hash, TaskId

START, UNIT = 1_000, 100
WORKERS = [Address(bytes([number]) * 20) for number in range(1, 8)]
HASHES = [Hash(bytes([number]) * 32) for number in (1, 2)]
TAGS = (NO_TAG, tag_of(GPU), tag_of(TEE, TDX))
WORK = ("lost", "back", "start", "fail", "abort", "vote")
OWNERS = {worker: number // 2 for number, worker in enumerate(WORKERS)}
"""Two wallets each but for the last."""


def deal(number: int, *, trust: int = 1, **other: object) -> Deal:
    made = Deal(
        DealId(bytes([number]) * 32),
        start=START,
        time_unit=UNIT,
        trust=trust,
        bot_size=3,
        workerpool=Asset(price=10),
    )
    return replace(made, **other)  # type: ignore[arg-type]


def applicant(worker: Address, **other: object) -> Applicant:
    kin = frozenset(w for w in WORKERS if OWNERS[w] == OWNERS[worker]) - {worker}
    known = Applicant(wallet=worker, slots=2, offers=tag_of(GPU), stake=100, kin=kin)
    return replace(known, **other)  # type: ignore[arg-type]


class Market(RuleBasedStateMachine):
    """Tasks are bought and worked on in any order; the index is asked after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.openings = Openings()
        self.tasks: dict[TaskId, Task] = {}
        self.now = START

    def told(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.openings.tell(task.id, task)

    def after(self, task: Task, *facts: Fact) -> None:
        for fact in facts:
            try:
                task = advance(task, fact)
            except IllegalFact:
                return
        self.told(task)

    def any_task(self, data: st.DataObject) -> Task:
        return self.tasks[data.draw(st.sampled_from(sorted(self.tasks)))]

    @precondition(lambda self: len(self.tasks) < 18)
    @rule(
        trust=st.sampled_from([1, 2, 5, 16]),
        tag=st.sampled_from(TAGS),
        stake=st.sampled_from([0, 10, 150]),
    )
    def buy(self, trust: int, tag: object, stake: int) -> None:
        bought = deal(len(self.tasks), trust=trust, tag=tag, worker_stake=stake)
        for index in bought.indices:
            task = advance(None, Ordered(bought, index))
            self.told(advance(task, Initialized()))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), worker=st.sampled_from(WORKERS))
    def give(self, data: st.DataObject, worker: Address) -> None:
        known = applicant(worker, stake=data.draw(st.sampled_from([0, 10, 200])))
        task = self.openings.task_for(known, self.now)
        fitting = [each for each in self.tasks.values() if fits(known, each, self.now)]
        room = busy_slots(worker, self.open()) < known.slots
        assert (task is not None) == (room and bool(fitting))
        if task is None:
            assert self.openings.why_none(known, self.now)
            return
        assert task in fitting
        apart = [each for each in fitting if not known.kin & each.replicates.keys()]
        assert task in apart or not apart, "another wallet of its owner only if it must be"
        self.after(task, Assigned(worker, 2))
        self.openings.served(task.deal.id)

    @precondition(lambda self: self.tasks)
    @rule(
        data=st.data(), what=st.sampled_from(["lost", "back", "start", "fail", "abort", "vote"])
    )
    def work(self, data: st.DataObject, what: str) -> None:
        task = self.any_task(data)
        if not task.replicates:
            return
        worker = data.draw(st.sampled_from(sorted(task.replicates)))
        facts: dict[str, Fact] = {
            "lost": Lost(worker),
            "back": Recovering(worker),
            "start": Started(worker),
            "fail": Failed(worker, Step.START, "UNKNOWN"),
            "abort": Aborted(worker, "ABORTED_BY_WORKER"),
            "vote": Contributed(worker, data.draw(st.sampled_from(HASHES)), 2),
        }
        before = wants_worker(task, START)
        self.after(task, facts[what])
        after = self.tasks[task.id]
        gone = what in ("lost", "fail", "abort") and after is not task and not before
        if gone and not after.status.over:
            others = [r for r in after.replicates.values() if r.worker != worker]
            if not others:
                assert self.openings.wants(task.id), "replaced at once"

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), what=st.sampled_from(["agree", "reopen", "claim", "forget"]))
    def chain(self, data: st.DataObject, what: str) -> None:
        task = self.any_task(data)
        match what:
            case "agree" if task.tally.leader:
                self.after(task, ConsensusReached(task.tally.leader, self.now + 50))
            case "reopen":
                self.after(task, Reopened())
            case "claim":
                self.after(task, Claimed())
            case "forget":  # a reorg took its deal away
                del self.tasks[task.id]
                self.openings.tell(task.id, None)

    @rule(seconds=st.sampled_from([1, 150, 400]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def open(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.status is TaskStatus.ACTIVE]

    @invariant()
    def everything_is_counted(self) -> None:
        live = {task.id for task in self.tasks.values() if not task.status.over}
        assert {task.id for task in self.openings.live()} == live
        for worker in WORKERS:
            assert self.openings.busy(worker) == busy_slots(worker, self.open())
            owed = [owed_stake(task, worker) for task in self.tasks.values() if task.id in live]
            assert self.openings.owed(worker) == sum(owed)

    @invariant()
    def never_more_than_could_decide(self) -> None:
        for task in self.tasks.values():
            assert self.openings.wants(task.id) == wants_worker(task, START)


Market.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestMarket = Market.TestCase


def index_of(*tasks: Task) -> Openings:
    openings = Openings()
    for task in tasks:
        openings.tell(task.id, task)
    return openings


def opened(bought: Deal, index: int = 0, *facts: Fact) -> Task:
    task = advance(advance(None, Ordered(bought, index)), Initialized())
    for fact in facts:
        task = advance(task, fact)
    return task


def drawn(openings: Openings, workers: Iterable[Address]) -> list[int]:
    """Which deal each of `workers` is given a task of, one after the other."""
    found = []
    for worker in workers:
        task = openings.task_for(applicant(worker, kin=frozenset()), START)
        assert task is not None
        openings.tell(task.id, advance(task, Assigned(worker, 2)))
        openings.served(task.deal.id)
        found.append(task.deal.id[0])
    return found


def test_deals_take_turns_however_large_they_are():
    bag, single = deal(1, bot_size=100), deal(2, bot_size=1)
    tasks = [opened(bag, index) for index in bag.indices]
    openings = index_of(*tasks, opened(single), *(opened(deal(3), i) for i in range(3)))
    assert drawn(openings, WORKERS[:6]) == [1, 2, 3, 1, 3, 1]


def test_a_task_that_was_begun_is_finished_first():
    bag = deal(1, trust=4)
    openings = index_of(*(opened(bag, index) for index in bag.indices))
    first = openings.task_for(applicant(WORKERS[0]), START)
    assert first
    openings.tell(first.id, advance(first, Assigned(WORKERS[0], 2)))
    second = openings.task_for(applicant(WORKERS[2]), START)
    assert second
    assert second.id == first.id


def test_two_wallets_of_one_owner_meet_only_when_nothing_else_is_there():
    one, two, other = WORKERS[0], WORKERS[1], opened(deal(2, trust=4))
    shared = opened(deal(1, trust=4), 0, Assigned(one, 2))
    assert index_of(shared, other).task_for(applicant(two), START) == other
    assert index_of(shared).task_for(applicant(two), START) == shared


def test_why_there_is_nothing():
    me = WORKERS[0]

    def why(*tasks: Task, now: int = START, **other: object) -> NoWork:
        return index_of(*tasks).why_none(applicant(me, **other), now)

    plain = opened(deal(1))
    assert why() is NoWork.NO_TASK
    assert why(opened(deal(1, tag=tag_of(TEE, TDX)))) is NoWork.NEEDS_ENCLAVE
    assert why(opened(deal(1, tag=tag_of(GPU))), offers=NO_TAG) is NoWork.NEEDS_GPU
    large = opened(deal(1, params='{"iexec_memory": 64}'))
    assert why(large, memory=8) is NoWork.NEEDS_MEMORY
    assert index_of(large).task_for(applicant(me, memory=64), START) == large
    assert index_of(large).task_for(applicant(me), START) == large, "peers do not tell theirs"
    assert why(opened(deal(1, worker_stake=101))) is NoWork.STAKE_TOO_LOW
    assert why(plain, gas=False) is NoWork.OUT_OF_GAS
    assert why(opened(deal(1, trust=16), 0, Assigned(me, 2))) is NoWork.ALREADY_HAD
    assert why(opened(deal(1), 0, Assigned(WORKERS[2], 2))) is NoWork.ENOUGH_WORKERS
    assert why(plain, now=START + 7 * UNIT - UNIT) is NoWork.TOO_LATE
    busy = [opened(deal(n), 0, Assigned(me, 2)) for n in (1, 2)]
    assert why(*busy) is NoWork.SLOTS_FULL


def test_nobody_begins_what_it_could_not_end():
    task, last = opened(deal(1)), START + 7 * UNIT - UNIT - 10
    assert not too_late(task.deal, last)
    assert index_of(task).task_for(applicant(WORKERS[0]), last) == task
    assert index_of(task).task_for(applicant(WORKERS[0]), last + 1) is None


def test_stake_is_needed_only_where_it_is_locked():
    cheap, poor = deal(1, trust=1, worker_stake=50), applicant(WORKERS[0], stake=0)
    assert index_of(opened(cheap)).task_for(poor, START) is None
    at_once = replace(poor, unstaked=True)
    assert index_of(opened(cheap)).task_for(at_once, START)
    doubted = deal(1, trust=2, worker_stake=50)
    assert index_of(opened(doubted)).task_for(at_once, START) is None, "one vote is not enough"
    assert needs_of(doubted) != needs_of(cheap)
