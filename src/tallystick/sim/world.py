"""A whole workerpool in one thread and no time: seeded, deterministic, fault-injected.

Worker and scheduler are the real agendas, the real machine and the engine's own recovery;
the chain is the ledger; only time, latency, crashes and lies are made up.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from functools import partial
from random import Random

from tallystick.lifecycle import agenda
from tallystick.lifecycle.audit import Authorize, Conclude
from tallystick.lifecycle.facts import (
    Aborted,
    Audited,
    Authorized,
    Began,
    Fact,
    Failed,
    Step,
    UploadRequested,
    WorkerFact,
)
from tallystick.lifecycle.replicate import OVER
from tallystick.lifecycle.task import Task
from tallystick.poco.ledger import ChainStatus
from tallystick.poco.values import Address, Instant, Nrlc, TaskId
from tallystick.sim import accounts, market, report
from tallystick.sim.attacks import Crook, copied
from tallystick.sim.audits import Terms
from tallystick.sim.blocks import Block
from tallystick.sim.calls import (
    Call,
    Contribute,
    Reveal,
    pool_call,
    worker_call,
    worthwhile,
)
from tallystick.sim.chain import Chain
from tallystick.sim.odds import Character, Nature, Odds, Plan
from tallystick.sim.parties import Party, Scheduler, Worker
from tallystick.sim.talk import Weather, exchange
from tallystick.sim.work import Circumstances, outcome

Command = agenda.WorkerCommand | agenda.PoolCommand
RELOOK = 3
"""The most seconds before a party that cannot act looks again."""


class World:
    """One life of a pool. The same plan gives the same life."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.odds = plan, plan.odds
        self.random = Random(plan.seed)
        self.now: Instant = 0
        self.told: list[tuple[Instant, str, object]] = []
        self.chain = Chain(self.random, partial(market.genesis, plan))
        self.scheduler = Scheduler(accounts.SCHEDULER, self._tell)
        self.workers = {
            accounts.worker_address(n): Worker(
                f"worker {n}", accounts.worker_address(n), machine, self._tell
            )
            for n, machine in enumerate(plan.machines, start=1)
        }
        self.pointless: list[str] = []
        """Calls that somebody wanted who knew all that the chain knows, and that were none."""
        self.asked: set[Address] = set()
        """Workers that have asked for work in this second."""
        self.met: dict[Address, Instant] = {}
        """When each worker last reached the scheduler."""
        self.on_block: Callable[[Block], None] = lambda block: None
        self._purchases = market.possible_deals(plan)
        self._queue: list[tuple[Instant, int, Callable[[], None]]] = []
        self._order = itertools.count()
        for purchase, match in market.matches(plan):
            call = Call(accounts.REQUESTER, match)
            self.at(purchase.at, partial(self._send, call))

    @property
    def parties(self) -> list[Party]:
        """Scheduler and workers."""
        return [self.scheduler, *self.workers.values()]

    @property
    def ends(self) -> Instant:
        """When every deal that could be made is past its last deadline."""
        late = max((p.at + 10 * p.time_unit for p in self.plan.purchases), default=0)
        return late + 6 * self.odds.latency

    @property
    def over(self) -> bool:
        """Whether everything was bought and every task has ended, as the chain stands."""
        clerk, tasks = self.chain.ledger.clerk, self.chain.ledger.tasks
        volume = sum(deal.bot_size for deal in clerk.deals.values())
        ended = all(
            t.status in (ChainStatus.COMPLETED, ChainStatus.FAILED) for t in tasks.values()
        )
        return ended and len(tasks) == volume == sum(p.volume for p in self.plan.purchases)

    def story(self, about: str = "") -> str:
        """Everything that happened; see `report.story`."""
        names = {party.address: party.name for party in self.parties}
        return report.story(self.plan, self.told, names, about=about)

    def at(self, delay: int, action: Callable[[], None]) -> None:
        """Do something `delay` seconds from now."""
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def run(self, until: Instant) -> None:
        """Let the seconds pass."""
        while self.now < until:
            self.second()

    def second(self) -> None:
        """One second: blocks and news arrive, machines crash or return, work goes on."""
        self.now += 1
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        if self.now % self.odds.block_time == 0:
            self._mine()
        for party in self.parties:
            self._fate(party)
            if party.up and self.now >= party.deaf_until:
                party.follow(self.chain.blocks)
        weather = Weather(
            now=self.now,
            scores=self.chain.ledger.scores,
            lost=lambda: self.chance(self.odds.loss),
            terms=Terms(self.plan),
        )
        self.asked.clear()
        for worker in self.workers.values():
            if worker.up:
                if exchange(worker, self.scheduler, weather):
                    self.asked.add(worker.address)
                    self.met[worker.address] = self.now
                self._review_worker(worker)
                self._misbehave(worker)
        if self.scheduler.up:
            self.scheduler.watch(self.now)
            self._review_scheduler()

    def chance(self, probability: float) -> bool:
        """One throw of the dice; none is used up where nothing can happen."""
        return probability > 0 and self.random.random() < probability

    def kill(self, party: Party) -> None:
        """Take a machine away for good."""
        party.crash(self.now)
        party.gone = True

    def calm(self) -> None:
        """Nothing bad happens any more, and whoever is not gone comes back."""
        self.odds = Odds(latency=self.odds.latency, block_time=self.odds.block_time)
        for party in self.parties:
            party.deaf_until = 0
            if not party.up and not party.gone:
                party.restart(self.now, forgotten=0)

    def nature(self, task: Task) -> Nature:
        """What becomes of the task on an honest machine."""
        return self._purchases[task.deal.id].nature(task.index)

    def _tell(self, who: str, what: object) -> None:
        self.told.append((self.now, who, what))

    def _mine(self) -> None:
        if self.chance(self.odds.reorg) and self.chain.blocks:
            depth = self.random.randint(1, self.odds.depth)
            self._tell("chain", f"takes back {depth} blocks")
            blocks = self.chain.reorg(depth, now=self.now, latency=self.odds.latency)
        else:
            blocks = []
        for block in (*blocks, self.chain.mine(self.now)):
            for fact in block.facts:
                self._tell(f"block {block.number}", fact)
            self.on_block(block)

    def _fate(self, party: Party) -> None:
        odds, now = self.odds, self.now
        if party.up and self.chance(odds.crash):
            party.crash(now)
            party.gone = party is not self.scheduler and self.chance(odds.death)
        elif not party.up and not party.gone and self.chance(1 / odds.outage):
            party.restart(now, forgotten=self.random.randint(0, 3))
        if self.chance(odds.delay):
            party.deaf_until = now + self.random.randint(1, 20)
        if now < party.deaf_until:
            party.well_since = now
        if isinstance(party, Scheduler):
            self._backups(party)

    def _backups(self, scheduler: Scheduler) -> None:
        if self.now % 40 == 0 and scheduler.up:
            scheduler.back_up()
        if self.chance(self.odds.restore):
            scheduler.restore(self.now)

    def _review_worker(self, worker: Worker) -> None:
        for task in worker.tasks:
            mine = worker.mine(task)
            if mine is None or mine.status in OVER:
                continue
            for command in worker.owed(task, self.now):
                call = worker_call(worker.address, command, mine.authorization)
                self._start(worker, command, call)

    def _review_scheduler(self) -> None:
        for task in self.scheduler.tasks:
            if not task.status.over:
                for command in self.scheduler.owed(task, self.now):
                    self._start(self.scheduler, command, pool_call(accounts.SCHEDULER, command))

    def _start(self, party: Party, command: Command, call: Call | None) -> None:
        """Begin `command`, unless that has happened; it comes to something in a few seconds."""
        if command in party.busy:
            return
        if call is not None and self._under_way(party, command, call):
            return
        if call is not None:
            self._is_possible(party, call)
        party.busy.add(command)
        self._announce(party, command)
        delay = self.random.randint(0, RELOOK) if call else self.random.randint(1, 8)
        self.at(delay, partial(self._land, party, command, call, party.life))

    def _under_way(self, party: Party, command: Command, call: Call) -> bool:
        """Whether the call was sent. Some stop waiting for a vote, which may be mined still."""
        if not self.chain.pending(call):
            return False
        match command:
            case agenda.Do(task, Step.CONTRIBUTE | Step.FINISH as step):
                if self.chance(self.odds.fail):
                    party.record(task, Failed(party.address, step, "CHAIN_UNREACHABLE"))
            case _:
                pass
        return True

    def _misbehave(self, worker: Worker) -> None:
        """A crook sends what the ledger must refuse."""
        if worker.machine.character is not Character.CROOK or not self.chance(0.1):
            return
        held = {task.id: worker.mine(task) for task in worker.tasks}
        granted = {id: r.authorization for id, r in held.items() if r and r.authorization}
        attacks = list(Crook(worker.address, granted).attacks(self.chain.ledger, self.now))
        if attacks:
            self._send(self.random.choice(attacks))

    def _announce(self, party: Party, command: Command) -> None:
        if isinstance(command, agenda.Do):
            task = party.task(command.task)
            doing = task and task.replicates[party.address].doing
            if doing is not command.step:
                party.record(command.task, Began(party.address, command.step))

    def _land(self, party: Party, command: Command, call: Call | None, life: int) -> None:
        """What a step comes to, unless a crash took it or it left the agenda."""
        if party.life != life:
            return
        party.busy.discard(command)
        if not self._due(party, command, self.now):
            return
        if call is not None:
            if not self._withheld(party, command, call):
                self._act(party, command, call)
        elif (fact := self._done(party, command)) is not None:
            party.record(command.task, fact)

    def _due(self, party: Party, command: Command, when: Instant) -> bool:
        """Whether the command is on the agenda, if nothing happens until then."""
        task = party.task(command.task)
        if task is None:
            return False
        if isinstance(party, Worker):
            return command in party.owed(task, when)
        return isinstance(party, Scheduler) and command in party.owed(task, when)

    def _act(self, party: Party, command: Command, call: Call) -> None:
        """Look, then send."""
        if not self._is_possible(party, call):
            return
        if isinstance(call.action, Contribute) and self._too_poor(party, command.task):
            party.record(command.task, Failed(party.address, Step.CONTRIBUTE, "STAKE_TOO_LOW"))
            return
        copies = isinstance(party, Worker) and party.machine.character is Character.COPYCAT
        turns = self.plan.audit > 0
        self._send(copied(self.chain.ledger, call, turns=turns) if copies else call)

    def _is_possible(self, party: Party, call: Call) -> bool:
        """Whether the chain would take it now, as whoever knows all of the chain must know."""
        possible = worthwhile(self.chain.ledger, call, self.now)
        if not possible and party.is_at_head_of(self.chain.blocks):
            self.pointless.append(f"{party.name} wanted {call.action}")
        return possible

    def _send(self, call: Call) -> None:
        self._tell("mempool", call)
        self.chain.send(call, now=self.now, latency=self.odds.latency)

    def _done(self, party: Party, command: Command) -> Fact | None:
        if isinstance(party, Worker):
            return self._work(party, command)
        match command:
            case Conclude(worker=worker, agreed=agreed, owner=owner, counts=counts):
                return Audited(worker, agreed, owner, counts)
            case Authorize(task=task, worker=worker):
                return Authorized(worker, accounts.authorization(worker, task))
            case agenda.RequestUpload(worker=worker):
                return UploadRequested(worker, self.now + agenda.UPLOAD_PERIOD)
            case _:
                raise AssertionError(f"{command} is a call")

    def _work(self, worker: Worker, command: Command) -> WorkerFact | None:
        match command, worker.task(command.task):
            case agenda.Abort(cause=cause), _:
                return Aborted(worker.address, cause)
            case agenda.Do() as do, Task() as task:
                mine = task.replicates[worker.address]
                given = Circumstances(
                    nature=self.nature(task),
                    character=self._bearing(worker, task),
                    free=self.free(worker.address),
                    stake=0 if mine.alone else task.deal.worker_stake,
                )
                return outcome(worker.address, do, given, odds=self.odds, random=self.random)
            case _:
                raise AssertionError(f"{worker.name} cannot {command}")

    def _bearing(self, worker: Worker, task: Task) -> Character:
        """How the worker computes: where digests are handed in before votes can be seen, who
        wants to copy one hands in something of its own every other time."""
        found, rash = worker.machine.character, self.plan.audit > 0 and task.id[-1] % 2
        return Character.LIAR if rash and found is Character.COPYCAT else found

    def free(self, worker: Address) -> Nrlc:
        """What a worker can still lock, calls on their way included."""
        ledger = self.chain.ledger
        underway = (
            sent.call.action
            for sent in self.chain.pool
            if sent.call.sender == worker and isinstance(sent.call.action, Contribute)
        )
        promised = sum(
            ledger.tasks[call.task].deal.worker_stake
            for call in underway
            if call.task in ledger.tasks
        )
        return ledger.escrow.balance(worker) - promised

    def _too_poor(self, party: Party, task: TaskId) -> bool:
        stake = self.chain.ledger.tasks[task].deal.worker_stake
        return self.free(party.address) < stake

    def _withheld(self, party: Party, command: Command, call: Call) -> bool:
        """Whether whoever could send the call does not, or not yet."""
        if not isinstance(party, Worker):
            dawdles = self.plan.dawdles and isinstance(command, agenda.Finalize)
            return dawdles and self._due(party, command, self.now + RELOOK + 1)
        match party.machine.character:
            case Character.SHY:
                return isinstance(call.action, Reveal)
            case Character.DAWDLER:
                return self._due(party, command, self.now + RELOOK + 1)
            case _:
                return False
