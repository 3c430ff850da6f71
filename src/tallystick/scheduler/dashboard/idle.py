"""Why a worker has no work, or no more of it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tallystick.lifecycle.fitness import NoWork
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.values import Address, Nrlc
from tallystick.scheduler.purses import GAS_OF_A_VOTE
from tallystick.web.words import duration, eth, rlc

if TYPE_CHECKING:
    from tallystick.scheduler.admission import Admission
    from tallystick.scheduler.dashboard.standings import Standing
    from tallystick.scheduler.pool import Pool
    from tallystick.wire.scheduler import WorkerModel

_QUIET: Final = 60.0
"""Seconds without a question for work after which a worker does not want any."""
_WORDS: Final[Mapping[NoWork, str]] = {
    NoWork.NO_TASK: "No task is open.",
    NoWork.SLOTS_FULL: "All its slots are used.",
    NoWork.NEEDS_ENCLAVE: "The open tasks need an enclave (TEE), and it has none.",
    NoWork.NEEDS_GPU: "The open tasks need a GPU, and it has none.",
    NoWork.NEEDS_MEMORY: "The open tasks need more memory than it has.",
    NoWork.STAKE_TOO_LOW: "Its free stake is too low for the open tasks.",
    NoWork.OUT_OF_GAS: "Its wallet has too little ETH for the gas of a vote.",
    NoWork.TOO_LATE: "What is open could not be computed in time any more.",
    NoWork.ALREADY_HAD: "It already had each open task.",
    NoWork.ENOUGH_WORKERS: "Enough workers compute each open task.",
    NoWork.NOT_REGISTERED: "It is not registered.",
    NoWork.ASKED_TOO_EARLY: "It asked before it had seen a block.",
    NoWork.BLOCKED: "The pool's operator has blocked it.",
    NoWork.DISTRUSTED: "Audits found a wrong result of it, or of another worker of its owner.",
    NoWork.POOL_DRAINS: "The pool is about to end and begins nothing new.",
}
_CALM: Final = (NoWork.NO_TASK, NoWork.SLOTS_FULL, NoWork.ENOUGH_WORKERS, NoWork.ALREADY_HAD)


@dataclass(frozen=True, slots=True)
class Idle:
    """A reason."""

    code: str
    """A word for programs and filters: one of NoWork, or LOST, LEFT, VERSION, NOT_LISTED,
    DOES_NOT_ASK."""
    text: str
    tone: str = "warn"
    """How a page shows it: soft, warn or bad."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the open tasks ask of a worker at the least."""

    stake: Nrlc | None = None
    """None: no task is open."""
    unstaked: bool = False
    """Whether one of them wants no stake of who contributes and finalizes at once."""


def wanted(pool: Pool) -> Wanted:
    """By one walk through what is open."""
    deals = {t.deal.id: t.deal for t in pool.openings.live() if t.status is TaskStatus.ACTIVE}
    if not deals:
        return Wanted()
    return Wanted(
        stake=min(deal.worker_stake for deal in deals.values()),
        unstaked=pool.giving.unstaked and any(deal.trust <= 1 for deal in deals.values()),
    )


@dataclass(frozen=True, slots=True)
class Reasons:
    """Judges the workers of a pool, as it is now."""

    pool: Pool
    admission: Admission
    lost_after: float
    wanted: Wanted
    gas_price: int | None = None
    """wei; None where gas is free, or the price is not known."""

    def why(
        self, worker: Address, model: WorkerModel, silence: float, known: Standing | None
    ) -> Idle:
        """Why `worker` gets no (more) work now; `known` is what it has on the chain."""
        return (
            self._away(worker, silence)
            or self._kept_out(worker)
            or self._short(worker, model, known)
            or self._quiet(worker, model)
            or self._in_words(worker, model)
        )

    def _away(self, worker: Address, silence: float) -> Idle | None:
        if self.pool.roster.has_left(worker):
            return Idle("LEFT", "It said goodbye and has not come back.", "soft")
        if silence >= self.lost_after:
            said = f"Lost: not heard for {duration(int(silence))}. Check its machine and line."
            return Idle("LOST", said, "bad")
        return None

    def _kept_out(self, worker: Address) -> Idle | None:
        program = self.pool.roster.program(worker)
        if sentences := self.admission.objections(worker, program):
            code, text = sentences[0]
            return Idle(code, text, "bad")
        if self.pool.audits.distrusts(worker):
            return Idle(NoWork.DISTRUSTED, _WORDS[NoWork.DISTRUSTED], "bad")
        return None

    def _short(
        self, worker: Address, model: WorkerModel, known: Standing | None
    ) -> Idle | None:
        """Money: told with the amounts, as they were read on the chain."""
        pool, least = self.pool, self.wanted.stake
        if known is None or least is None or pool.openings.busy(worker) >= model.slots:
            return None
        if self.wanted.unstaked and model.contribute_and_finalize:
            least = 0
        short = least - (known.free - pool.openings.owed(worker))
        if short > 0:
            said = (
                f"Its stake is short by {rlc(short)} RLC: the least that an open task locks is"
            )
            return Idle(NoWork.STAKE_TOO_LOW, f"{said} {rlc(least)} RLC. Deposit more.")
        gas = (self.gas_price or 0) * GAS_OF_A_VOTE - known.balance
        if gas > 0:
            said = f"Its wallet is short by {eth(gas)} ETH for the gas of a vote. Top it up."
            return Idle(NoWork.OUT_OF_GAS, said)
        return None

    def _quiet(self, worker: Address, model: WorkerModel) -> Idle | None:
        if self.pool.openings.busy(worker) >= model.slots:
            return None
        since = self.pool.giving.asked(worker)
        if since is not None and since > _QUIET and self.pool.giving.elsewhere is None:
            said = (
                f"It has not asked for {duration(int(since))}: its operator may have paused it."
            )
            return Idle("DOES_NOT_ASK", f"{said} On its machine: tally worker why.")
        return None

    def _in_words(self, worker: Address, model: WorkerModel) -> Idle:
        code = self.pool.why_none(worker, self.pool.roster.instance(worker))
        text = _WORDS[code]
        if code is NoWork.SLOTS_FULL:
            text = f"It computes: {model.slots} of {model.slots} slots are used."
        return Idle(code, text, "soft" if code in _CALM else "warn")
