"""What a deal asks of a worker, what a worker has, and whether that is enough. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from tallystick.lifecycle.audit import is_second_opinion
from tallystick.lifecycle.facts import Lost
from tallystick.lifecycle.replicate import BEFORE_VOTE, Status
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Deal
from tallystick.poco.tags import GPU, GRAMINE, SCONE, TDX, TEE, number
from tallystick.poco.values import NO_TAG, Address, Nrlc, Tag

COMPUTING = (Status.ASSIGNED, Status.STARTED, Status.APP_FETCHED, Status.DATA_FETCHED)
"""While a replicate is in one of these it occupies a slot of its worker."""

MEMORY = "iexec_memory"
"""The key of a deal's params in which it may name the memory that its app needs, in whole GiB.
The network knows no such key, so peers hand params with it to the app as its arguments."""

_ENCLAVE = TEE | SCONE | GRAMINE | TDX
_JUDGED = _ENCLAVE | GPU
"""Bits of a tag that a worker can announce. For any other the pool vouched with its order."""


class NoWork(StrEnum):
    """Why a worker that asked for work is given none."""

    NO_TASK = "NO_TASK"
    SLOTS_FULL = "SLOTS_FULL"
    NEEDS_ENCLAVE = "NEEDS_ENCLAVE"
    NEEDS_GPU = "NEEDS_GPU"
    NEEDS_MEMORY = "NEEDS_MEMORY"
    STAKE_TOO_LOW = "STAKE_TOO_LOW"
    OUT_OF_GAS = "OUT_OF_GAS"
    TOO_LATE = "TOO_LATE"
    ALREADY_HAD = "ALREADY_HAD"
    ENOUGH_WORKERS = "ENOUGH_WORKERS"
    NOT_REGISTERED = "NOT_REGISTERED"
    ASKED_TOO_EARLY = "ASKED_TOO_EARLY"
    BLOCKED = "BLOCKED"
    DISTRUSTED = "DISTRUSTED"
    POOL_DRAINS = "POOL_DRAINS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a deal asks of whoever computes a task of it. Many deals ask the same."""

    tag: Tag = NO_TAG
    stake: Nrlc = 0
    """What a contribution locks."""
    memory: int = 0
    """GiB; 0 when the deal does not say."""
    unstaked: bool = False
    """Whether one vote decides: who may then contribute and finalize at once locks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """A worker that asks for work: what it can do and what it has."""

    wallet: Address
    slots: int = 1
    """How many replicates it computes at a time."""
    offers: Tag = NO_TAG
    """Every property of a tag that its machine has."""
    memory: int = 0
    """GiB; 0 when it does not say."""
    stake: Nrlc | None = None
    """What it can still lock beside what its replicates will; None when nobody asked yet."""
    gas: bool = True
    """Whether it can pay for the transactions of a vote."""
    unstaked: bool = False
    """Whether it contributes and finalizes at once where one vote decides."""
    kin: frozenset[Address] = frozenset()
    """Other wallets of the same owner: their votes are no second opinion."""
    audits: bool = True
    """Whether it may be asked for a second opinion."""
    trusted: bool = False
    """Whether it is the operator's own: what it says decides."""


def needs_of(deal: Deal) -> Needs:
    """What `deal` asks of a worker."""
    return Needs(
        tag=deal.tag,
        stake=deal.worker_stake,
        memory=memory_named(deal.params),
        unstaked=deal.trust <= 1,
    )


def memory_named(params: str) -> int:
    """The GiB that a deal's params ask for; 0 when they do not, or not readably."""
    if MEMORY not in params:
        return 0
    try:
        told = json.loads(params)
    except (ValueError, RecursionError):
        return 0
    named = told.get(MEMORY) if isinstance(told, dict) else None
    return named if isinstance(named, int) and not isinstance(named, bool) and named > 0 else 0


def unable(applicant: Applicant, needs: Needs) -> NoWork | None:
    """Why `applicant` cannot do what `needs` asks; None when it can."""
    missing = number(needs.tag) & ~number(applicant.offers) & _JUDGED
    if missing:
        return NoWork.NEEDS_ENCLAVE if missing & _ENCLAVE else NoWork.NEEDS_GPU
    if needs.memory > applicant.memory > 0:
        return NoWork.NEEDS_MEMORY
    locks = 0 if needs.unstaked and applicant.unstaked else needs.stake
    if applicant.stake is not None and applicant.stake < locks:
        return NoWork.STAKE_TOO_LOW
    return None if applicant.gas else NoWork.OUT_OF_GAS


def meets_kin(applicant: Applicant, task: Task) -> bool:
    """Whether another wallet of the same owner has a replicate of `task`."""
    return not applicant.kin.isdisjoint(task.replicates)


def suits(applicant: Applicant, task: Task) -> bool:
    """Whether `applicant` may do what `task` wants now: a second opinion is asked of the
    operator's own workers, or of another owner."""
    if not task.replicates or not is_second_opinion(task):
        return True
    return applicant.audits and (applicant.trusted or not meets_kin(applicant, task))


def owed_stake(task: Task, worker: Address) -> Nrlc:
    """What `worker` will lock for `task`, and has not yet."""
    mine = task.replicates.get(worker)
    if mine is None or mine.status not in BEFORE_VOTE or isinstance(mine.away, Lost):
        return 0
    return task.deal.worker_stake
