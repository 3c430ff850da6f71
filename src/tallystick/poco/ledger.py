"""The PoCo contracts as a program: what the hub does with tasks, without an EVM.

It is the chain of the unit tests and of the simulator, and the specification that the real
contracts are compared with, call by call, on a devnet. This is `IexecPoco2`; deals are in
`clerk`, money is in `escrow`. What a callback contract does with a result is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from eth_hash.auto import keccak

from tallystick.poco import tags
from tallystick.poco.clerk import OVERFLOW, Clerk, signed_by
from tallystick.poco.contribution import (
    Tally,
    authorization_hash,
    enclave_hash,
    result_hash,
    result_seal,
    weight,
)
from tallystick.poco.deal import Deal
from tallystick.poco.escrow import Emit, Escrow, Event, Revert, require
from tallystick.poco.orders import UINT256, Domain
from tallystick.poco.rewards import (
    KITTY,
    Payout,
    kitty_part,
    payout,
    scheduler_stake,
    score_after_fault,
    score_after_success,
    share,
    solo_payout,
)
from tallystick.poco.signing import ethereum_message_hash
from tallystick.poco.values import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    DealId,
    Digest,
    Hash,
    Instant,
    TaskId,
)


class ChainStatus(Enum):
    """`TaskStatusEnum`; a task that was never initialized has none."""

    ACTIVE = 1
    REVEALING = 2
    COMPLETED = 3
    FAILED = 4


class Vote(Enum):
    """`ContributionStatusEnum` of a contribution that was made."""

    CONTRIBUTED = 1
    PROVED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class Contribution:
    """A vote as the chain keeps it."""

    status: Vote
    hash: Hash
    seal: Hash
    enclave: Address = ZERO_ADDRESS
    share: int = 0
    """The winner's parts in the pot; the chain calls it the weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What lets a worker contribute: the scheduler's word and, where needed, an enclave's."""

    authorization: bytes
    enclave: Address = ZERO_ADDRESS
    enclave_sign: bytes = b""


@dataclass(slots=True)
class ChainTask:
    """A task on chain. `contributions` keeps the order in which they were made."""

    id: TaskId
    index: int
    deal: Deal
    status: ChainStatus = ChainStatus.ACTIVE
    tally: Tally = field(default_factory=Tally)
    consensus: Hash | None = None
    reveal_deadline: Instant = 0
    contributions: dict[Address, Contribution] = field(
        default_factory=dict[Address, Contribution]
    )
    digest: Hash = ZERO_HASH
    results: bytes = b""
    callback: bytes = b""

    def winners(self, *statuses: Vote) -> list[Address]:
        """Who voted for the consensus, by what became of the vote."""
        return [
            worker
            for worker, c in self.contributions.items()
            if c.hash == self.consensus and c.status in statuses
        ]


class Ledger:
    """All tasks of one hub. Every method is one contract call, at time `now` if that matters.

    A call that the contract would refuse raises Revert and changes nothing.
    """

    def __init__(self, emit: Emit, domain: Domain) -> None:
        self.emit = emit
        self.escrow = Escrow(emit, domain.hub)
        self.clerk = Clerk(emit, domain, self.escrow)
        self.tasks: dict[TaskId, ChainTask] = {}
        self.scores: dict[Address, int] = {}
        self.tee_broker = ZERO_ADDRESS

    def initialize(self, deal_id: DealId, index: int) -> TaskId:
        """Open task `index` of a deal. Anybody may, at any time."""
        task = self._fresh(deal_id, index)
        self.tasks[task.id] = task
        self.emit(Event("TaskInitialize", (task.id, task.deal.workerpool.pointer)))
        return task.id

    def initialize_array(self, deals: list[DealId], indices: list[int]) -> list[TaskId]:
        """Several births at once, or none."""
        self._fresh_ones(deals, indices)
        return [self.initialize(*one) for one in zip(deals, indices, strict=True)]

    def contribute(
        self,
        worker: Address,
        task_id: TaskId,
        choice: Hash,
        seal: Hash,
        *,
        permit: Permit,
        now: Instant,
    ) -> None:
        """Vote for `choice` and lock the stake. The vote that settles opens the reveals."""
        task = self._contributable(task_id, now)
        require(worker not in task.contributions, f"{worker} has already contributed.")
        self._check_permit(task, worker, permit, choice, seal)
        power = weight(self.scores.get(worker, 0))
        tally = task.tally.vote(choice, power)
        stake = worker, task.deal.worker_stake
        self.escrow.check(stake)
        settled = _settles(tally, choice, task.deal.trust)
        self.escrow.lock(stake)
        task.tally = tally
        task.contributions[worker] = Contribution(
            Vote.CONTRIBUTED, choice, seal, permit.enclave, share(power)
        )
        self.emit(Event("TaskContribute", (task_id, worker, choice)))
        if settled:
            task.status, task.consensus = ChainStatus.REVEALING, choice
            task.reveal_deadline = now + task.deal.reveal_period
            self.emit(Event("TaskConsensus", (task_id, choice)))

    def contribute_and_finalize(
        self,
        worker: Address,
        task_id: TaskId,
        digest: Digest,
        *,
        results: bytes = b"",
        callback: bytes = b"",
        permit: Permit,
        now: Instant,
    ) -> None:
        """Finish a task of trust 1 in one call, as its only contributor, without a stake."""
        task = self._contributable(task_id, now)
        require(not task.contributions, "Somebody has contributed to the task already.")
        require(task.deal.trust == 1, f"The deal has trust {task.deal.trust}, it must be 1.")
        choice, seal = result_hash(task_id, digest), result_seal(worker, task_id, digest)
        _check_callback(task.deal, digest, callback)
        self._check_permit(task, worker, permit, choice, seal)
        task.contributions[worker] = Contribution(Vote.PROVED, choice, seal, permit.enclave)
        task.consensus, task.digest = choice, digest
        task.reveal_deadline = now + task.deal.reveal_period
        _complete(task, results, callback)
        self._settle_success(task)
        self._pay_alone(task, worker)
        self.emit(Event("TaskContribute", (task_id, worker, choice)))
        self.emit(Event("TaskConsensus", (task_id, choice)))
        self.emit(Event("TaskReveal", (task_id, worker, digest)))
        self.emit(Event("TaskFinalize", (task_id, results)))

    def reveal(self, worker: Address, task_id: TaskId, digest: Digest, *, now: Instant) -> None:
        """Show the digest behind a winning vote."""
        task = self._task(task_id, ChainStatus.REVEALING)
        require(now < task.reveal_deadline, "The time to reveal is over.")
        mine = task.contributions.get(worker)
        if mine is None or mine.status is not Vote.CONTRIBUTED:
            raise Revert(f"{worker} has nothing to reveal.")
        require(mine.hash == task.consensus, f"{worker} did not vote for the consensus.")
        require(mine.hash == result_hash(task_id, digest), "The digest is not what was voted.")
        sealed = mine.seal == result_seal(worker, task_id, digest)
        require(sealed, f"{worker} did not know the digest when it voted.")
        task.contributions[worker] = replace(mine, status=Vote.PROVED)
        task.digest = digest
        self.emit(Event("TaskReveal", (task_id, worker, digest)))

    def reopen(self, sender: Address, task_id: TaskId, *, now: Instant) -> None:
        """Void the consensus that nobody revealed; its voters lose their stake at the end."""
        task = self._of_scheduler(sender, task_id)
        require(now < task.deal.final_deadline, "The final deadline is over.")
        require(task.reveal_deadline <= now, "Reveals are still possible.")
        require(not task.winners(Vote.PROVED), "Somebody has revealed.")
        assert task.consensus is not None
        for worker in task.winners(Vote.CONTRIBUTED):
            rejected = replace(task.contributions[worker], status=Vote.REJECTED)
            task.contributions[worker] = rejected
        task.tally = task.tally.without(task.consensus)
        task.status, task.consensus = ChainStatus.ACTIVE, None
        task.reveal_deadline = 0
        self.emit(Event("TaskReopen", (task_id,)))

    def finalize(
        self,
        sender: Address,
        task_id: TaskId,
        *,
        results: bytes = b"",
        callback: bytes = b"",
        now: Instant,
    ) -> None:
        """Close a task with its result, pay everybody, punish the losers."""
        task = self._of_scheduler(sender, task_id)
        require(now < task.deal.final_deadline, "The final deadline is over.")
        waiting = bool(task.winners(Vote.CONTRIBUTED)) and now < task.reveal_deadline
        require(not waiting, "A winner may still reveal.")
        require(bool(task.winners(Vote.PROVED)), "Nobody has revealed.")
        _check_callback(task.deal, task.digest, callback)
        _complete(task, results, callback)
        self._settle_success(task)
        self._pay(task)
        self.emit(Event("TaskFinalize", (task_id, results)))

    def claim(self, task_id: TaskId, *, now: Instant) -> None:
        """Give a task up after its final deadline: everybody but the scheduler is refunded."""
        task = self._claimable(task_id, now)
        task.status = ChainStatus.FAILED
        deal, stake = task.deal, scheduler_stake(task.deal.workerpool.price)
        self.escrow.unlock(deal.sponsor, deal.task_price)
        self.escrow.seize(deal.workerpool.owner, stake, task_id)
        self.escrow.feed_kitty(stake, task_id)
        for worker in task.contributions:
            self.escrow.unlock(worker, deal.worker_stake)
        self.emit(Event("TaskClaimed", (task_id,)))

    def claim_array(self, task_ids: list[TaskId], *, now: Instant) -> None:
        """Several claims at once, or none."""
        require(len(set(task_ids)) == len(task_ids), "A task is named twice.")
        for task_id in task_ids:
            self._claimable(task_id, now)
        for task_id in task_ids:
            self.claim(task_id, now=now)

    def initialize_and_claim_array(
        self, deals: list[DealId], indices: list[int], *, now: Instant
    ) -> None:
        """Give up tasks that were never opened."""
        for task in self._fresh_ones(deals, indices):
            require(task.deal.final_deadline <= now, "The task may still be computed.")
        for one in zip(deals, indices, strict=True):
            self.claim(self.initialize(*one), now=now)

    def _fresh(self, deal_id: DealId, index: int) -> ChainTask:
        deal = self.clerk.deals.get(deal_id)
        if deal is None or index not in deal.indices:
            raise Revert(f"Deal {deal_id} has no task {index}.")
        task_id = deal.task_id(index)
        require(task_id not in self.tasks, f"Task {task_id} is initialized already.")
        return ChainTask(task_id, index, deal)

    def _fresh_ones(self, deals: list[DealId], indices: list[int]) -> list[ChainTask]:
        require(len(deals) == len(indices), "Every deal needs one index.")
        tasks = [self._fresh(*one) for one in zip(deals, indices, strict=True)]
        require(len({task.id for task in tasks}) == len(tasks), "A task is named twice.")
        return tasks

    def _task(self, task_id: TaskId, *statuses: ChainStatus) -> ChainTask:
        task = self.tasks.get(task_id)
        if task is None:
            raise Revert(f"There is no task {task_id} on chain.")
        require(task.status in statuses, f"Task {task_id} is {task.status.name}.")
        return task

    def _contributable(self, task_id: TaskId, now: Instant) -> ChainTask:
        task = self._task(task_id, ChainStatus.ACTIVE)
        require(now < task.deal.contribution_deadline, "The time to contribute is over.")
        return task

    def _of_scheduler(self, sender: Address, task_id: TaskId) -> ChainTask:
        task = self._task(task_id, ChainStatus.REVEALING)
        scheduler = task.deal.workerpool.owner
        require(sender == scheduler, f"Only {scheduler}, the deal's scheduler, may do this.")
        return task

    def _claimable(self, task_id: TaskId, now: Instant) -> ChainTask:
        task = self._task(task_id, ChainStatus.ACTIVE, ChainStatus.REVEALING)
        require(task.deal.final_deadline <= now, "The task may still be computed.")
        return task

    def _check_permit(
        self, task: ChainTask, worker: Address, permit: Permit, choice: Hash, seal: Hash
    ) -> None:
        has_enclave = permit.enclave != ZERO_ADDRESS
        needs_enclave = tags.needs_enclave(task.deal.tag)
        require(has_enclave or not needs_enclave, "The deal asks for an enclave.")
        by_broker = has_enclave and self.tee_broker != ZERO_ADDRESS
        signer = self.tee_broker if by_broker else task.deal.workerpool.owner
        allowed = ethereum_message_hash(authorization_hash(worker, task.id, permit.enclave))
        authorized = signed_by(signer, allowed, permit.authorization)
        require(authorized, f"{signer} has not authorized {worker} for this task.")
        if has_enclave:
            computed = ethereum_message_hash(enclave_hash(choice, seal))
            proven = signed_by(permit.enclave, computed, permit.enclave_sign)
            require(proven, "The enclave has not signed this result.")

    def _settle_success(self, task: ChainTask) -> None:
        """Everything that a success moves, except the pot of the workers."""
        deal, escrow = task.deal, self.escrow
        escrow.seize(deal.sponsor, deal.task_price, task.id)
        for asset in (deal.app, deal.dataset):
            if asset.price > 0:
                escrow.reward(asset.owner, asset.price, task.id)
        escrow.unlock(deal.workerpool.owner, scheduler_stake(deal.workerpool.price))
        if kitty := escrow.stake(KITTY):
            part = kitty_part(kitty)
            escrow.seize(KITTY, part, task.id)
            escrow.reward(deal.workerpool.owner, part, task.id)

    def _pay(self, task: ChainTask) -> None:
        """Divide the pot among the winners; the others' stakes are part of it."""
        votes, deal = task.contributions, task.deal
        shares = {w: c.share for w, c in votes.items() if c.status is Vote.PROVED}
        paid = payout(
            deal.workerpool.price,
            shares=shares,
            lost_stakes=deal.worker_stake * (len(votes) - len(shares)),
            scheduler_ratio=deal.scheduler_reward_ratio,
        )
        for worker in votes:
            if worker in shares:
                self._reward_winner(task, worker, paid)
            else:
                self.escrow.seize(worker, deal.worker_stake, task.id)
                self.scores[worker] = score_after_fault(self.scores.get(worker, 0))
                self.emit(Event("FaultyContribution", (worker, task.id)))
        self.escrow.reward(deal.workerpool.owner, paid.scheduler, task.id)

    def _reward_winner(self, task: ChainTask, worker: Address, paid: Payout) -> None:
        self.escrow.unlock(worker, task.deal.worker_stake)
        self.escrow.reward(worker, paid.workers[worker], task.id)
        contributors, score = len(task.contributions), self.scores.get(worker, 0)
        self.scores[worker] = score_after_success(score, contributors=contributors)
        if contributors > 1:
            self.emit(Event("AccurateContribution", (worker, task.id)))

    def _pay_alone(self, task: ChainTask, worker: Address) -> None:
        deal = task.deal
        ratio = deal.scheduler_reward_ratio
        paid = solo_payout(deal.workerpool.price, worker, scheduler_ratio=ratio)
        self.escrow.reward(worker, paid.workers[worker], task.id)
        self.escrow.reward(deal.workerpool.owner, paid.scheduler, task.id)


def _settles(tally: Tally, choice: Hash, trust: int) -> bool:
    fits = max(tally.groups[choice] * trust, tally.total * (trust - 1)) < UINT256
    require(fits, f"No contract can count votes up to trust {trust}.", OVERFLOW)
    return tally.settles(choice, trust)


def _check_callback(deal: Deal, digest: Hash, callback: bytes) -> None:
    none_wanted = not deal.has_callback and not callback
    fits = none_wanted or Hash(keccak(callback)) == digest
    require(fits, "The callback's data is not what the digest was made of.")


def _complete(task: ChainTask, results: bytes, callback: bytes) -> None:
    task.status = ChainStatus.COMPLETED
    task.results, task.callback = results, callback
