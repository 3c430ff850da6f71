"""Transactions: what they do to the ledger, and whether one would be worth its gas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from tallystick.lifecycle.agenda import (
    Claim,
    ClaimUnopened,
    Do,
    Finalize,
    Initialize,
    PoolCommand,
    Reopen,
    RequestUpload,
    WorkerCommand,
)
from tallystick.lifecycle.audit import Authorize, Conclude
from tallystick.lifecycle.facts import Step
from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.ledger import ChainStatus, Ledger, Permit, Vote
from tallystick.poco.orders import NO_DATASET_ORDER, AppOrder, RequestOrder, WorkerpoolOrder
from tallystick.poco.values import Address, Digest, Hash, Instant, Signature, TaskId


@dataclass(frozen=True, slots=True)
class Match:
    """Buy what these orders have left; the deal starts when this is mined."""

    app: AppOrder
    pool: WorkerpoolOrder
    request: RequestOrder


@dataclass(frozen=True, slots=True)
class Contribute:
    """Vote for a digest."""

    task: TaskId
    digest: Digest
    authorization: Signature | None
    copied: tuple[Hash, Hash] | None = None
    """Another vote, and its seal, to be sent instead of the own one."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Vote, prove and finalize in one transaction."""

    task: TaskId
    digest: Digest
    authorization: Signature | None


@dataclass(frozen=True, slots=True)
class Reveal:
    """Show the digest of a vote that won."""

    task: TaskId
    digest: Digest


Action: TypeAlias = (
    Match
    | Contribute
    | Finish
    | Reveal
    | Initialize
    | Finalize
    | Reopen
    | Claim
    | ClaimUnopened
)


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction: the same call is the same transaction, however often it is sent."""

    sender: Address
    action: Action
    attack: str = ""
    """What it breaks, if the ledger must refuse it whatever has happened meanwhile."""


def worker_call(
    me: Address, command: WorkerCommand, authorization: Signature | None
) -> Call | None:
    """The transaction that `command` asks for; None when it is work of another kind."""
    match command:
        case Do(task, Step.CONTRIBUTE, Digest() as digest):
            return Call(me, Contribute(task, digest, authorization))
        case Do(task, Step.FINISH, Digest() as digest):
            return Call(me, Finish(task, digest, authorization))
        case Do(task, Step.REVEAL, Digest() as digest):
            return Call(me, Reveal(task, digest))
        case _:
            return None


def pool_call(scheduler: Address, command: PoolCommand) -> Call | None:
    """The same for the scheduler."""
    return (
        None
        if isinstance(command, RequestUpload | Conclude | Authorize)
        else Call(scheduler, command)
    )


def execute(ledger: Ledger, call: Call, now: Instant) -> None:
    """Mine `call`. Raises Revert when the contract refuses it."""
    sender = call.sender
    match call.action:
        case Match(app, pool, request):
            ledger.clerk.match_orders(app, NO_DATASET_ORDER, pool, request, now=now)
        case Initialize(_, deal, index):
            ledger.initialize(deal, index)
        case Contribute(task, digest, authorization, copied):
            own = result_hash(task, digest), result_seal(sender, task, digest)
            choice, seal = copied or own
            permit = Permit(authorization=authorization or b"")
            ledger.contribute(sender, task, choice, seal, permit=permit, now=now)
        case Finish() as action:
            _finish(ledger, sender, action, now)
        case Reveal(task, digest):
            ledger.reveal(sender, task, digest, now=now)
        case Finalize(task, link):
            ledger.finalize(sender, task, results=link.encode(), now=now)
        case Reopen(task):
            ledger.reopen(sender, task, now=now)
        case Claim(task):
            ledger.claim(task, now=now)
        case ClaimUnopened(_, deal, index):
            ledger.initialize_and_claim_array([deal], [index], now=now)
        case _:
            assert_never(call.action)


def _finish(ledger: Ledger, sender: Address, action: Finish, now: Instant) -> None:
    ledger.contribute_and_finalize(
        sender,
        action.task,
        action.digest,
        results=f"/ipfs/{action.task}".encode(),
        permit=Permit(authorization=action.authorization or b""),
        now=now,
    )


def worthwhile(ledger: Ledger, call: Call, now: Instant) -> bool:
    """What whoever acts sees when it looks first: the call is possible and not done yet.

    These are the conditions of the contracts, read from the state as a node shows it.
    """
    match call.action:
        case Match():
            return True
        case Initialize(task, deal, _):
            return deal in ledger.clerk.deals and task not in ledger.tasks
        case ClaimUnopened(task, deal, _):
            bought = ledger.clerk.deals.get(deal)
            late = bought is not None and now >= bought.final_deadline
            return late and task not in ledger.tasks
        case Contribute() | Finish() | Reveal():
            return _vote_possible(ledger, call.sender, call.action, now)
        case Finalize() | Reopen() | Claim():
            return _end_possible(ledger, call.action, now)
        case _:
            assert_never(call.action)


def _vote_possible(
    ledger: Ledger, me: Address, action: Contribute | Finish | Reveal, now: Instant
) -> bool:
    task = ledger.tasks.get(action.task)
    if task is None:
        return False
    if not isinstance(action, Reveal):
        open_ = task.status is ChainStatus.ACTIVE and now < task.deal.contribution_deadline
        voted = task.contributions.keys()
        return open_ and not (voted if isinstance(action, Finish) else voted & {me})
    open_ = task.status is ChainStatus.REVEALING and now < task.reveal_deadline
    return open_ and me in task.winners(Vote.CONTRIBUTED)


def _end_possible(ledger: Ledger, action: Finalize | Reopen | Claim, now: Instant) -> bool:
    task = ledger.tasks.get(action.task)
    if task is None or task.status not in (ChainStatus.ACTIVE, ChainStatus.REVEALING):
        return False
    over = now >= task.deal.final_deadline
    if isinstance(action, Claim):
        return over
    if over or task.status is not ChainStatus.REVEALING:
        return False
    late, revealed = now >= task.reveal_deadline, bool(task.winners(Vote.PROVED))
    if isinstance(action, Reopen):
        return late and not revealed
    return revealed and (late or not task.winners(Vote.CONTRIBUTED))
