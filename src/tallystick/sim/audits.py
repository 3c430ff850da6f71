"""On what terms the scheduler of a simulated world gives work away."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tallystick.lifecycle.audit import is_second_opinion
from tallystick.lifecycle.facts import Audit, Scrutiny
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.sim.accounts import worker_address
from tallystick.sim.odds import Plan

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan says of audits."""

    plan: Plan

    def suits(self, task: Task, worker: Address) -> bool:
        """Whether what `task` wants may be asked of this worker."""
        open_to_all = not self.plan.auditors or not is_second_opinion(task)
        return open_to_all or self._is_own(worker)

    def of(self, task: Task, worker: Address) -> Scrutiny | None:
        """None where the plan audits nobody. The draw is by seed, task and worker."""
        if not self.plan.audit:
            return None
        own, second = self._is_own(worker), is_second_opinion(task)
        draw = Random(f"audit {self.plan.seed} {task.id} {worker}").random()
        drawn = draw < self.plan.audit and task.deal.trust <= 1
        return Scrutiny(
            audit=Audit.DRAWN if drawn and not (own or second) else Audit.NO,
            trusted=own,
            audits=second,
            digest_first=True,
            ahead=second and not own and draw < _HALF,
        )

    def _is_own(self, worker: Address) -> bool:
        return worker in {worker_address(n + 1) for n in range(self.plan.auditors)}
