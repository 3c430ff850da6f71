"""What must hold in a whole world, after every block and second, and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from tallystick.chain import contracts
from tallystick.chain.abi import decode, parameters, selector
from tallystick.lifecycle.facts import Assigned
from tallystick.lifecycle.replicate import OVER
from tallystick.poco.contribution import result_hash
from tallystick.poco.ledger import ChainStatus, Vote
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, Hash, TaskId
from tallystick.sim.agreement import Broken, differences, stakes_of
from tallystick.sim.odds import Character, Machine
from tallystick.sim.whole.blocks import gas_of

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry
    from tallystick.lifecycle.facts import Fact
    from tallystick.sim.whole.audits import Opinions
    from tallystick.sim.whole.blocks import Blocks, Refusal, Sent
    from tallystick.sim.whole.keeper import Keeper

_OPEN = (ChainStatus.ACTIVE, ChainStatus.REVEALING)
_CONTRIBUTE = selector(contracts.CONTRIBUTE)
_FINISH = selector(contracts.CONTRIBUTE_AND_FINALIZE)
_REVEAL = selector(contracts.REVEAL)
_AHEAD = 14
"""Seconds that a reveal may need: from the last block, over the node, into the next ones."""
_BEHIND = 30
"""Seconds by which what a node tells of the chain may be old."""
_HEARD = 10
"""Seconds in which a party may hear that the chain went back, and send what is due by it."""


class Watched(Protocol):
    """A world, as far as its promises need to know it."""

    blocks: Blocks
    scheduler: Keeper
    specs: dict[Address, Machine]
    opinions: Opinions
    begin: int
    """The chain's time at the first second."""
    dear_until: int
    """Until when gas is, or was last, dear; in seconds since the beginning."""

    @property
    def parties(self) -> list[Keeper]:
        """Scheduler and workers."""

    @property
    def now(self) -> int:
        """Seconds since the beginning."""


class Promises:
    """Watches one world."""

    def __init__(self, world: Watched) -> None:
        self._world = world
        self._refused = 0
        self._found: list[str] = []
        self._ended: dict[TaskId, int] = {}
        """Since when tasks have ended, in seconds since the beginning."""
        self._block = ""
        world.blocks.on_send = self._sent

    def attend(self, scheduler: Any) -> None:
        """A scheduler starts."""
        scheduler.engine.listen(self._given)

    def check(self) -> None:
        """Raise Broken when something does not hold now."""
        for complaint in (*self._found, *self._complaints()):
            raise Broken(complaint)

    def check_end(self) -> None:
        """The same for the end, when everything must be settled."""
        self.check()
        for complaint in self._left_over():
            raise Broken(complaint)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return not self._world.blocks.waiting and not any(self._left_over())

    def _given(self, entry: Entry[Fact]) -> None:
        """A scheduler reads what happened before its start, and then gives work."""
        if not isinstance(entry.fact, Assigned):
            return
        task, began = TaskId(entry.stream), self._world.scheduler.since
        if self._ended.get(task, began) + _BEHIND < began:
            self._found.append(f"{entry.fact.worker} is given {task}, which ended long ago")

    def _sent(self, sent: Sent, old: Sent | None) -> None:
        """A transaction reached a node: what it says must be on its sender's disk, and what it
        replaces must have said the same."""
        if old is not None and (old.to, old.data) != (sent.to, sent.data):
            self._found.append(f"nonce {sent.nonce} of {sent.sender} was used for another call")
        if sent.data[:4] in (_CONTRIBUTE, _FINISH):
            self._require_pledged(sent)

    def _require_pledged(self, sent: Sent) -> None:
        signature = (
            contracts.CONTRIBUTE
            if sent.data[:4] == _CONTRIBUTE
            else contracts.CONTRIBUTE_AND_FINALIZE
        )
        task, said, *_ = decode(parameters(signature), sent.data[4:])
        party = self._party(sent.sender)
        kept = party.process.money._pledges.of(TaskId(task))
        if sent.data[:4] == _FINISH:
            provable = kept is not None and bytes(kept) == said
        else:
            provable = kept is not None and result_hash(TaskId(task), kept) == Hash(said)
        if not provable:
            self._found.append(f"{party.name} signed a vote whose digest is not on its disk")

    def _party(self, who: Address) -> Keeper:
        return next(party for party in self._world.parties if party.address == who)

    def _complaints(self) -> Iterator[str]:
        blocks = self._world.blocks
        if self._block != blocks.head.hash:
            self._block = blocks.head.hash
            self._note_ends()
            yield from self._refusals()
            yield from self._money()
            yield from self._missed()
            yield from self._poor()
            for party in self._world.parties:
                yield from self._disagreements(party)
        yield from self._world.opinions.complaints()

    def _note_ends(self) -> None:
        before, self._ended = self._ended, {}
        for task in self._world.blocks.ledger.tasks.values():
            if task.status not in _OPEN:
                self._ended[task.id] = before.get(task.id, self._world.now)

    def _refusals(self) -> Iterator[str]:
        fresh = self._world.blocks.refusals[self._refused :]
        self._refused += len(fresh)
        for refusal in fresh:
            if not self._is_race(refusal):
                sent = refusal.sent
                yield f"a call of {self._party(sent.sender).name} was refused: {refusal.why}"

    def _is_race(self, refusal: Refusal) -> bool:
        """Sent before the chain went back, before gas became dear, while a node of the sender
        lied, or before another call for the same task was mined that had not been when it was
        sent."""
        world, sent, block = self._world, refusal.sent, refusal.block
        if self._is_excused(sent):
            return True
        between = world.blocks.chain[sent.at + 1 : block.number + 1]
        others = (e for b in between for e in b.mined if e.hash != sent.hash)
        subjects = _subjects(sent.data)
        return any(subject in each.data for each in others for subject in subjects)

    def _is_excused(self, sent: Sent) -> bool:
        """Whether the chain went back, gas became dear, or a node of the sender lied since it
        was sent. That the chain goes back is heard of a little later, and sets clocks back."""
        world = self._world
        began = world.blocks.chain[min(sent.at, len(world.blocks.chain) - 1)].time
        torn = world.blocks.torn and world.blocks.torn + _HEARD
        troubles = (torn, world.dear_until, self._party(sent.sender).misled)
        return any(at and at + world.begin >= began for at in troubles)

    def _money(self) -> Iterator[str]:
        """What is locked is what open tasks need; nothing is lost or made."""
        ledger, due = self._world.blocks.ledger, Counter[Address]()
        escrow = ledger.escrow
        for deal in ledger.clerk.deals.values():
            for index in deal.indices:
                task = ledger.tasks.get(deal.task_id(index))
                if task is None or task.status in _OPEN:
                    due.update(stakes_of(deal, task))
        for account in {*escrow.locked, *due} - {KITTY}:
            if escrow.stake(account) != due[account]:
                yield f"{account} has {escrow.stake(account)} locked, not {due[account]}"
        if sum(escrow.balances.values()) != escrow.supply:
            yield "the balances do not add up to what was deposited"
        if escrow.balance(escrow.hub) != sum(escrow.locked.values()):
            yield "the hub does not hold what is locked"

    def _missed(self) -> Iterator[str]:
        """Whoever won, was there and followed the chain has revealed in time."""
        world = self._world
        now = world.blocks.head.time
        for task in world.blocks.ledger.tasks.values():
            late = now - task.reveal_deadline
            if task.status is not ChainStatus.REVEALING or not 0 <= late < 2:
                continue
            opened = task.reveal_deadline - task.deal.reveal_period
            for address in task.winners(Vote.CONTRIBUTED):
                lost = task.id in self._party(address).lost
                if not lost and self._could_reveal(address, opened - world.begin):
                    yield f"{self._party(address).name} was there and did not reveal {task.id}"

    def _poor(self) -> Iterator[str]:
        """Who votes keeps enough in its wallet for all the reveals that it owes then."""
        blocks = self._world.blocks
        for sent in blocks.head.mined:
            if sent.data[:4] != _CONTRIBUTE or self._is_excused(sent):
                continue
            votes = self._open_votes(sent.sender)
            need = votes * gas_of(_REVEAL) * blocks.head.base
            if blocks.balance(sent.sender) < need:
                yield f"{self._party(sent.sender).name} cannot pay for its {votes} reveals"

    def _open_votes(self, who: Address) -> int:
        tasks = self._world.blocks.ledger.tasks.values()
        votes = [task.contributions.get(who) for task in tasks if task.status in _OPEN]
        return sum(1 for vote in votes if vote and vote.status is Vote.CONTRIBUTED)

    def _could_reveal(self, who: Address, opened: int) -> bool:
        world, party = self._world, self._party(who)
        quiet = max(party.since, party.disturbed, world.blocks.torn, world.dear_until, opened)
        shy = world.specs[who].character is Character.SHY
        return not shy and party.process is not None and quiet + _AHEAD < world.now - 10

    def _disagreements(self, party: Keeper) -> Iterator[str]:
        """Whoever has followed the chain to its head holds what the chain holds."""
        head = self._world.blocks.head
        process = party.process
        if process is None or _position(process) != (head.number, head.hash):
            return
        for task in process.engine.states.values():
            chain = self._world.blocks.ledger.tasks.get(task.id)
            for what in differences(task, chain):
                yield f"{party.name} has another {what} of {task.id} than the chain"

    def _left_over(self) -> Iterator[str]:
        world, ledger = self._world, self._world.blocks.ledger
        for deal in ledger.clerk.deals.values():
            for index in deal.indices:
                chain = ledger.tasks.get(deal.task_id(index))
                if chain is None or chain.status in _OPEN:
                    yield f"{deal.task_id(index)} has not ended"
        for party in world.parties:
            if party.process is None:
                yield f"{party.name} is away"
                continue
            yield from self._unfinished(party)

    def _unfinished(self, party: Keeper) -> Iterator[str]:
        world = self._world
        for task in party.process.engine.states.values():
            if not task.status.over:
                yield f"{party.name} still waits for {task.id}"
            for mine in task.replicates.values():
                told = party.address == mine.worker or self._should_know(
                    party, mine.worker, task.id
                )
                if told and mine.status not in OVER:
                    name = self._party(mine.worker).name
                    yield f"{party.name} has a replicate of {name} that never ends: {mine}"
        if party is not world.scheduler:
            pending = party.process.money.sender.pending
            if pending:
                yield f"{party.name} still has {len(pending)} transactions to send"

    def _should_know(self, party: Keeper, worker: Address, task: TaskId) -> bool:
        """Whether the scheduler must have heard how a replicate ended. A worker whose messages
        were lost until the task was over never heard of it, and tells nothing of it."""
        world = self._world
        silent = world.specs[worker].character is Character.SILENT
        if party is not world.scheduler or silent or party.aged:
            return False
        process = self._party(worker).process
        known = process and process.engine.states.get(str(task))
        return known is not None and worker in known.replicates


def _subjects(data: bytes) -> set[bytes]:
    """The tasks and deals of a call: words too long for numbers and offsets."""
    words = {data[at : at + 32] for at in range(4, len(data), 32)}
    return {word for word in words if len(word) == 32 and any(word[:8])}


def _position(process: Any) -> tuple[int, str]:
    known = process.follower._watcher.position
    return (known[-1][0], str(known[-1][1])) if known else (-1, "")
