"""Which network an app gets, said before its task is accepted, and what it was denied."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tallystick.execution.executor import Executor
from tallystick.execution.network import NetworkPolicy, Reach
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.worker.config import WorkerConfig
from tallystick.worker.decisions import Decisions
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)


def network_of(config: WorkerConfig, app: Address) -> NetworkPolicy:
    """What the settings allow this app: its own entry, else what all apps get. Pure."""
    policy = config.app_networks.get(app, config.network)
    return replace(policy, private=policy.private or config.private_downloads)


def sentences(config: WorkerConfig, executor: Executor) -> Iterator[str]:
    """What apps get on this machine, the exceptions by name, for `check` and `why`."""
    named = {"Apps": config.network}
    named |= {f"The app {app}": policy for app, policy in config.app_networks.items()}
    for who, policy in named.items():
        if refusal := executor.network_refused(policy):
            yield f"{who} would get {policy.told()}, but tasks are declined: {refusal}."
        else:
            yield f"{who} {'get' if who == 'Apps' else 'gets'} {policy.told()}."


READ_ONLY = (
    "a place to write to: the root file system is read-only, unlike /tmp, HOME and /iexec_out"
)
_READ_ONLY_WORDS = ("Read-only file system", "[Errno 30]")


def complained(stdout: str, stderr: str) -> tuple[str, ...]:
    """What an app was denied, as far as only its own words tell. Pure."""
    words = any(each in stdout or each in stderr for each in _READ_ONLY_WORDS)
    return (READ_ONLY,) if words else ()


def failing(task: Task, denied: tuple[str, ...]) -> bool:
    """Whether a job that was denied this must not be voted on: others may allow it. Pure."""
    return bool(denied) and task.deal.trust > 1


def told(task: Task, denied: tuple[str, ...]) -> str:
    """What was denied and what follows, in sentences."""
    what = "; ".join(denied)
    if failing(task, denied):
        cure = "The setting network, or app_networks for this app, may allow it."
        return (
            f"The sandbox denied the app {what}. Other workers may allow it, and the task wants"
            " several of them to agree, so its result is not voted on."
        ) + (f" {cure}" if set(denied) - {READ_ONLY} else "")
    return f"The sandbox denied the app {what}. At trust 1 its result stands all the same."


@dataclass(slots=True)
class Networks:
    """Speaks against tasks whose app cannot be given its network, and notes denials."""

    config: WorkerConfig
    executor: Executor
    decisions: Decisions | None = None
    """Where denials are noted, once there is a session."""

    async def objection(self, task: Task) -> Reason | None:
        """Why the app cannot have the network that it is allowed; None when it can."""
        app = task.deal.app.pointer
        policy = network_of(self.config, app)
        if refusal := self.executor.network_refused(policy):
            want = f"The app {app} is to get {policy.told()}"
            return Reason("NETWORK_IMPOSSIBLE", f"{want}, which cannot be here: {refusal}.")
        if policy.reach is not Reach.NONE:
            log.info("%s: its app %s gets %s", task.id, app, policy.told())
        return None

    def note(self, task: Task, denied: tuple[str, ...]) -> None:
        """Tell the operator what the app of `task` was denied."""
        if denied and self.decisions:
            kind = "failed" if failing(task, denied) else "denied"
            self.decisions.note(kind, task.id, Reason("DENIED", told(task, denied)))
