"""What dishonest workers send: calls that the ledger must refuse, and votes copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from eth_hash.auto import keccak

from tallystick.lifecycle.agenda import Claim, Finalize, Initialize, Reopen
from tallystick.poco.contribution import result_seal
from tallystick.poco.ledger import ChainStatus, ChainTask, Ledger
from tallystick.poco.values import Address, Digest, Instant, Signature, TaskId
from tallystick.sim.accounts import authorization
from tallystick.sim.calls import Action, Call, Contribute, Finish, Reveal

SOON = 60
"""Seconds in which a call is mined, with room to spare."""


@dataclass(frozen=True, slots=True)
class Crook:
    """Somebody who tries what is not allowed."""

    me: Address
    granted: Mapping[TaskId, Signature]
    """Its own authorizations."""

    def attacks(self, ledger: Ledger, now: Instant) -> Iterator[Call]:
        """Every call that the ledger must refuse, now and later, unless it loses blocks."""
        for task in ledger.tasks.values():
            for what, action in (*self._votes(task), *self._ends(task, now)):
                yield Call(self.me, action, attack=what)

    def _votes(self, task: ChainTask) -> Iterator[tuple[str, Action]]:
        lie = Digest(keccak(task.id + b"something else"))
        word = self.granted.get(task.id)
        if self.me in task.contributions:
            yield "votes twice", Contribute(task.id, lie, word)
            return
        yield "votes without an authorization", Contribute(task.id, lie, None)
        for other in task.contributions:
            stolen = authorization(other, task.id)
            yield "votes with another's authorization", Contribute(task.id, lie, stolen)
        for another, old in self.granted.items():
            if another != task.id and word is None:
                yield "votes with an old authorization", Contribute(task.id, lie, old)
        if word and (task.contributions or task.deal.trust > 1):
            yield "finishes what others have a say in", Finish(task.id, lie, word)

    def _ends(self, task: ChainTask, now: Instant) -> Iterator[tuple[str, Action]]:
        if task.status in (ChainStatus.COMPLETED, ChainStatus.FAILED):
            return
        yield "opens a task again", Initialize(task.id, task.deal.id, task.index)
        yield "finalizes another's task", Finalize(task.id, "/ipfs/mine")
        yield "reopens another's task", Reopen(task.id)
        if now + SOON < task.deal.final_deadline:
            yield "claims too early", Claim(task.id)
        mine = task.contributions.get(self.me)
        lost = mine is None or mine.hash != task.consensus
        if task.status is ChainStatus.REVEALING and any(task.digest) and lost:
            yield "reveals another's digest", Reveal(task.id, Digest(task.digest))


def copied(ledger: Ledger, call: Call, *, turns: bool) -> Call:
    """What a copycat sends instead of `call`: the first vote there is, seal and all. What it
    reveals afterwards must be refused, even the right digest.

    `turns`: where there is nothing to copy, it votes for something that it has not handed in,
    and that it can reveal.
    """
    match call.action:
        case Contribute(task=task) as vote:
            first = next(iter(ledger.tasks[task].contributions.values()), None)
            if first is None and turns:
                return replace(call, action=replace(vote, digest=_turned(call.sender, task)))
            seen = (first.hash, first.seal) if first else None
            return replace(call, action=replace(vote, copied=seen))
        case Reveal(task=task, digest=digest):
            seal = ledger.tasks[task].contributions[call.sender].seal
            for known in (digest, _turned(call.sender, task)):
                if seal == result_seal(call.sender, task, known):
                    return replace(call, action=Reveal(task, known))
            return replace(call, attack="reveals what it copied")
        case _:
            return call


def _turned(me: Address, task: TaskId) -> Digest:
    return Digest(keccak(task + b"turned" + me))
