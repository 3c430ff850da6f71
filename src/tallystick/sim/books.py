"""The books of a world, kept a second time: who is owed what, and who has which score."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod

from tallystick.lifecycle.facts import ConsensusReached, Contributed, Finalized, Reopened
from tallystick.poco.ledger import ChainStatus, ChainTask, Ledger, Vote
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, Hash, Nrlc, TaskId
from tallystick.sim.accounts import RICH, worker_address
from tallystick.sim.agreement import carries
from tallystick.sim.blocks import Block
from tallystick.sim.odds import Plan


def earnings(task: ChainTask) -> Counter[Address]:
    """What a task that is over has brought or cost everybody. What goes to the kitty, and comes
    out of it, is the scheduler's."""
    paid, deal = Counter[Address](), task.deal
    if task.status is not ChainStatus.COMPLETED:
        return paid
    shares = {w: c.share for w, c in task.contributions.items() if c.status is Vote.PROVED}
    alone = set(shares.values()) == {0}
    losers = task.contributions.keys() - shares.keys()
    pot = deal.workerpool.price + deal.worker_stake * len(losers)
    split = pot * (100 - deal.scheduler_reward_ratio) // 100
    for worker, share in shares.items():
        paid[worker] = split if alone else split * share // sum(shares.values())
    paid[deal.workerpool.owner] += pot - sum(paid.values())
    paid.update({loser: -deal.worker_stake for loser in losers})
    paid[deal.app.owner] += deal.app.price
    paid[deal.sponsor] -= deal.app.price + deal.workerpool.price
    return paid


def misbooked(ledger: Ledger, plan: Plan) -> Iterator[str]:
    """Accounts that hold, free and locked, another sum than what they began with and earned."""
    due, owners = Counter[Address](), set[Address]()
    for task in ledger.tasks.values():
        due.update(earnings(task))
        owners.add(task.deal.workerpool.owner)
    due.update(dict.fromkeys(owners | {t.deal.sponsor for t in ledger.tasks.values()}, RICH))
    due.update({worker_address(n): m.deposit for n, m in enumerate(plan.machines, start=1)})
    for account, wealth in due.items():
        own = [account, KITTY] if account in owners else [account]
        has: Nrlc = sum(ledger.escrow.balance(a) + ledger.escrow.stake(a) for a in own)
        if has != wealth:
            yield f"{account} has {has} nRLC in all and is owed {wealth}"


@dataclass(slots=True)
class Book:
    """Follows the votes of a chain, block by block."""

    scores: Counter[Address]
    votes: dict[TaskId, dict[Hash, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    won: dict[TaskId, Hash] = field(default_factory=dict[TaskId, Hash])
    _due: TaskId | None = None
    """A task whose votes carry, so that its consensus comes next."""

    def read(self, blocks: Iterable[Block], ledger: Ledger) -> Iterator[str]:
        """What in these blocks was not decided by the rules."""
        for task, fact in (told for block in blocks for told in block.facts):
            due, self._due = self._due, None
            if due and not (due == task and isinstance(fact, ConsensusReached)):
                yield f"{due} has votes enough and no consensus"
            match fact:
                case Contributed():
                    yield from self._vote(ledger.tasks[task], fact)
                case ConsensusReached(result_hash=choice):
                    self.won[task] = choice
                    if due != task:
                        yield f"{task} has a consensus that no votes carry"
                case Reopened():
                    yield from self._forget(ledger.tasks[task])
                case Finalized():
                    self._judge(ledger.tasks[task])
                case _:
                    continue
        if self._due:
            yield f"{self._due} has votes enough and no consensus"
        if +self.scores != +Counter(ledger.scores):
            yield "the scores are not what the tasks have made of them"

    def _vote(self, task: ChainTask, vote: Contributed) -> Iterator[str]:
        power = max(self.scores[vote.worker] // 3, 3) - 1
        if vote.weight != power:
            yield f"{vote.worker} votes on {task.id} with weight {vote.weight}, not {power}"
        cast, groups = task.contributions[vote.worker], self.votes[task.id]
        if cast.share not in (0, power.bit_length() - 1):
            yield f"{vote.worker} has {cast.share} parts in {task.id} with a weight of {power}"
        groups[vote.result_hash].append(power)
        weights = {choice: prod(each) for choice, each in groups.items()}
        best = weights[vote.result_hash]
        if carries(list(weights.values()), best, task.deal.trust):
            self._due = task.id

    def _forget(self, task: ChainTask) -> Iterator[str]:
        """The votes that were rejected count no longer."""
        void = self.won[task.id]
        self.votes[task.id].pop(void, None)
        rejected = [c for c in task.contributions.values() if c.status is Vote.REJECTED]
        if void not in [cast.hash for cast in rejected]:
            yield f"{task.id} was opened again and nobody's vote is void"

    def _judge(self, task: ChainTask) -> None:
        if len(task.contributions) == 1:
            return
        for worker, cast in task.contributions.items():
            right, score = cast.status is Vote.PROVED, self.scores[worker]
            self.scores[worker] = score + 1 if right else score * 2 // 3


def reread(blocks: Iterable[Block], ledger: Ledger, plan: Plan) -> Iterator[str]:
    """What a whole chain decided otherwise than the rules say."""
    scores = {worker_address(n): m.score for n, m in enumerate(plan.machines, start=1)}
    yield from Book(Counter(scores)).read(blocks, ledger)
