"""What a running worker answers its operator: status, why, tasks, earnings, logs, orders."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
from anyio import to_thread

from tallystick import __version__
from tallystick.lifecycle import views
from tallystick.lifecycle.pool import busy_slots
from tallystick.lifecycle.replicate import OVER, Replicate
from tallystick.lifecycle.task import Task
from tallystick.worker.config import WorkerConfig
from tallystick.worker.control import Answer, Control, Request, number, text
from tallystick.worker.introduction import known_pool
from tallystick.worker.logring import LogRing
from tallystick.worker.reason import Reason
from tallystick.worker.usage import usage

if TYPE_CHECKING:
    from tallystick.worker.parts import Parts
    from tallystick.worker.records import Records
    from tallystick.worker.why import Cause

log = logging.getLogger(__name__)

T = TypeVar("T")

_RECENT = 20
"""Tasks by which `why` judges."""
_MOST = 10_000


@dataclass(slots=True)
class Desk:
    """Answers for one worker. Before it is complete only `status` and `logs` say something."""

    config: WorkerConfig
    ring: LogRing
    executor: str = ""
    """What apps are run with."""
    parts: Parts | None = None
    began: float = field(default_factory=time.time)

    def attend(self, control: Control) -> None:
        """Answer on `control`."""
        control.on("status", self._status)
        control.on("why", self._why)
        control.on("tasks", self._tasks)
        control.on("earnings", self._earnings)
        control.on("usage", self._usage)
        control.on("logs", self._logs)
        control.on_stream("follow", self._follow)
        for word in ("pause", "resume", "drain", "stop"):
            control.on(word, self._order(word))

    def status(self) -> dict[str, Any]:
        """What is known now, without asking anybody; each part with its age."""
        told: dict[str, Any] = {
            "name": self.config.name,
            "version": __version__,
            "pid": os.getpid(),
            "home": str(self.config.home),
            "began": self.began,
            "now": time.time(),
            "scheduler_url": self.config.scheduler_url,
            "executor": self.executor,
        }
        return told | (_live(self.parts, self) if self.parts else {"state": "starting"})

    async def _status(self, request: Request) -> Answer:
        return self.status()

    async def _why(self, request: Request) -> Answer:
        if task := text(request, "task"):
            told = await self._records(lambda records: records.history(task))
            return told | {"upshot": _why().upshot(told)}
        if self.parts is None:
            return {"causes": [dataclasses.asdict(_starting())], "state": "starting"}
        rows = await self._records(lambda records: records.rows(_RECENT))
        status = self.status()
        found = [dataclasses.asdict(each) for each in _why().causes(status, rows)]
        return {"causes": found, "state": status["state"]}

    async def _tasks(self, request: Request) -> Answer:
        if task := text(request, "task"):
            return await self._records(lambda records: records.history(task))
        limit = number(request, "limit", 0, most=_MOST)
        return {"tasks": await self._records(lambda records: records.rows(limit))}

    async def _earnings(self, request: Request) -> Answer:
        earned, other = await self._records(lambda records: records.earnings())
        told: Answer = import_module("tallystick.worker.earnings").as_json(earned, other)
        return told

    async def _usage(self, request: Request) -> Answer:
        return await to_thread.run_sync(usage, self.config.home)

    async def _logs(self, request: Request) -> Answer:
        if task := text(request, "task"):
            return await self._records(lambda records: records.printed(task))
        return {"lines": self.ring.last(number(request, "count", 100, most=_MOST))}

    async def _follow(self, request: Request) -> AsyncIterator[Answer]:
        async for line in self.ring.follow(number(request, "count", 100, most=_MOST)):
            yield line

    def _order(self, word: str) -> Callable[[Request], Any]:
        async def obey(request: Request) -> Answer:
            if self.parts is None:
                return {"state": "starting", "obeyed": False}
            log.info("The operator says: %s.", word)
            getattr(self.parts.helm, word)()
            if word == "resume" and request.get("clear") is True:
                self.parts.money.twin.clear()
            await anyio.lowlevel.checkpoint()
            return {"state": str(self.parts.helm.course), "obeyed": True}

        return obey

    async def _records(self, question: Callable[[Records], T]) -> T:
        """Folding a long journal takes its time: it is read elsewhere, on a view of its own."""

        def read() -> T:
            opened = import_module("tallystick.worker.records").Records(self.config.home)
            with opened as records:
                return question(records)

        return await to_thread.run_sync(read)


@asynccontextmanager
async def open_desk(config: WorkerConfig) -> AsyncIterator[Desk]:
    """Answer on the control socket in the worker's folder while the block lasts."""
    desk, control, ours = Desk(config, LogRing()), Control(), logging.getLogger("tallystick")
    desk.attend(control)
    ours.addHandler(desk.ring)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(control.run, config.home)
            yield desk
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # What ends the worker is told as it is, not as a group of one.
        raise group.exceptions[0] if len(group.exceptions) == 1 else group from None
    finally:
        ours.removeHandler(desk.ring)


def _why() -> Any:
    """What an idle worker does not need is loaded when somebody asks for it."""
    return import_module("tallystick.worker.why")


def _starting() -> Cause:
    sentence = "The worker is starting: it waits for the scheduler and the chain."
    cause: Cause = _why().Cause("stops", "STARTING", sentence, _why().remedy("STARTING"))
    return cause


def _live(parts: Parts, desk: Desk) -> dict[str, Any]:
    session, config = parts.session, desk.config
    tasks = list(parts.engine.states.values())
    present = session.decisions.present
    return {
        "state": str(parts.helm.course),
        "wallet": str(session.me),
        "pool": str(known_pool(session.journal) or config.pool or ""),
        "hub": str(session.hub.address),
        "chain_id": session.hub.domain.chain_id,
        "slots": {"busy": busy_slots(session.me, tasks), "total": config.slots},
        "money": _money(parts),
        "scheduler": session.contact.told(),
        "chain": _chain(parts),
        "running": [_running(parts, task, mine) for task, mine in _held(parts, tasks)],
        "waits_for": _reason(present.reason) if present else None,
        "closed": [_reason(each) for each in _closed(parts)],
        "policies_trouble": _reason(parts.policies.trouble),
        "decisions": [
            {"at": each.at, "kind": each.kind, "task": str(each.task) if each.task else None}
            | {"code": each.reason.code, "sentence": each.reason.sentence}
            for each in session.decisions.recent()[-_RECENT:]
        ],
        "assumptions": {
            "eth_per_rlc": config.eth_per_rlc,
            "min_profit": config.min_profit,
            "network": str(config.network.reach),
        },
    }


def _money(parts: Parts) -> dict[str, Any]:
    funds = parts.money.funds
    known = funds.known
    return {
        "eth": known.balance,
        "stake": known.account.stake if known.account else None,
        "locked": known.account.locked if known.account else None,
        "gas_price": known.gas_price,
        "more_tasks": funds.more_tasks,
        "free_gas": funds.free_gas,
        "age": funds.age,
        "pending": [asdict(each) for each in funds.sender.pending],
    }


def _chain(parts: Parts) -> dict[str, Any]:
    clock = parts.follower.clock
    return {
        "block": parts.follower.head or None,
        "age": clock.age if clock.known else None,
        "time": clock.now() if clock.known else None,
    }


def _held(parts: Parts, tasks: list[Task]) -> list[tuple[Task, Replicate]]:
    me = parts.session.me
    mine = [(task, task.replicates[me]) for task in tasks if me in task.replicates]
    return [(task, each) for task, each in mine if each.status not in OVER]


def _running(parts: Parts, task: Task, mine: Replicate) -> dict[str, Any]:
    due = task.reveal_deadline or task.deal.contribution_deadline
    clock = parts.follower.clock
    return {
        "task": str(task.id),
        "app": str(task.deal.app.pointer),
        "step": str(mine.doing) if mine.doing else str(mine.status),
        "status": views.modern(mine),
        "seed_status": views.seed(mine),
        "since": parts.engine.changed(str(task.id)) or None,
        "limit": task.deal.time_unit,
        "deadline": due,
        "seconds_left": max(0, due - clock.now()) if clock.known else None,
        "stake": task.deal.worker_stake,
        "price": task.deal.workerpool.price,
    }


def _closed(parts: Parts) -> list[Reason]:
    session = parts.session
    reasons = [reason for gate in session.gates if (reason := gate.closed()) is not None]
    first = session.why_idle()
    return reasons if first is None or first in reasons else [*reasons, first]


def _reason(reason: Reason | None) -> dict[str, str] | None:
    return {"code": reason.code, "sentence": reason.sentence} if reason else None
