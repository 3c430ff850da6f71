"""The operator's policies at work: read again when their file changes, asked by the session."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from tallystick.engine.errors import Refused
from tallystick.execution.executor import ImageRef, ImageUnavailable
from tallystick.lifecycle.pool import busy_slots
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.worker import policy
from tallystick.worker.config import WorkerConfig
from tallystick.worker.policy import Policies, Room
from tallystick.worker.reason import Reason
from tallystick.worker.supplies import Supplies
from tallystick.worker.surroundings import look_around

if TYPE_CHECKING:
    from tallystick.worker.session import Session, WorkerEngine

log = logging.getLogger(__name__)

_UNUSABLE = (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError)
_Stamp = tuple[int, int, int]


class PolicyFile:
    """The table `[policies]` of a settings file, as it is now. A mistake in a changed file is
    said once, and the last policies that made sense stay in force."""

    def __init__(self, path: Path | None, first: Policies) -> None:
        """`path`: the TOML file; None where the settings come from elsewhere and stay."""
        self._path, self._now = path, first
        self._seen = self._stamp()
        self.trouble: Reason | None = None
        """Why the file as it is now cannot be used."""

    @property
    def current(self) -> Policies:
        """What holds now."""
        if self._path is not None and (stamp := self._stamp()) != self._seen:
            self._seen = stamp
            self._read(self._path)
        return self._now

    @property
    def held(self) -> Policies:
        """What held when anybody asked last; the file is not looked at."""
        return self._now

    def forget(self) -> None:
        """Read the file again when somebody asks, even if it looks the same."""
        self._seen = None

    def _read(self, path: Path) -> None:
        try:
            read = tomllib.loads(path.read_text()).get("policies", {})
            fresh = TypeAdapter(Policies).validate_python(read)
        except (
            OSError,
            tomllib.TOMLDecodeError,
            UnicodeDecodeError,
            ValidationError,
        ) as problem:
            self._complain(path, problem)
            return
        self.trouble = None
        if fresh != self._now:
            log.info("The policies in %s have changed, and hold from now on.", path)
        self._now = fresh

    def _complain(self, path: Path, problem: Exception) -> None:
        sentence = (
            f"The policies in {path} cannot be used, so the ones before hold:"
            f" {_mistakes(problem)}."
        )
        self.trouble = Reason("BAD_POLICIES", sentence)
        log.error("%s", sentence)

    def _stamp(self) -> _Stamp | None:
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


@dataclass(slots=True)
class PolicyGate:
    """Keeps the worker from asking when and while its operator wants no work."""

    file: PolicyFile
    me: Address
    config: WorkerConfig
    engine: WorkerEngine
    root: Path = Path("/")
    """Where this machine's `proc`, `sys` and `dev` are."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def closed(self) -> Reason | None:
        """Why no work may be asked for now."""
        policies = self.file.current
        busy = busy_slots(self.me, self.engine.states.values())
        around = look_around(
            busy * self.config.max_cpus, root=self.root, heeded=policy.heeded(policies)
        )
        now = self.clock().astimezone(policy.zone_of(policies))
        return policy.closed(policies, now, around) or policy.share_used(
            policies, self._room(), busy
        )

    def _room(self) -> Room:
        return Room(
            cpus=len(os.sched_getaffinity(0)),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            app_cpus=self.config.max_cpus,
            app_memory=self.config.max_memory,
            slots=self.config.slots,
        )


@dataclass(slots=True)
class PolicyJudge:
    """Speaks against tasks that the operator does not want."""

    file: PolicyFile
    supplies: Supplies

    async def objection(self, task: Task) -> Reason | None:
        """Why this task is not wanted. Raises Unavailable when its image must be known, and
        no node tells it."""
        policies, image = self.file.current, None
        if policies.images != policy.Choice():
            image = await self._image(task)
        return next(policy.objections(policies, task.deal, image), None)

    async def _image(self, task: Task) -> str:
        """The image without its digest; an app that names none is nobody's favourite."""
        try:
            image: ImageRef = await self.supplies.image(task)
        except (ImageUnavailable, Refused):
            return ""
        return str(replace(image, digest=None))


def attend(session: Session, supplies: Supplies) -> PolicyFile:
    """Let the policies in the settings of `session` have a say about the work it asks for."""
    file = PolicyFile(session.config.file, session.config.policies)
    session.gates.append(PolicyGate(file, session.me, session.config, session.engine))
    session.judges.insert(0, PolicyJudge(file, supplies))
    return file


def _mistakes(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        return "; ".join(
            f"policies.{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in problem.errors()
        )
    return str(problem).rstrip(".")
