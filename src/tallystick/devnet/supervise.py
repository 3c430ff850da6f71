"""Keeps child processes alive: started in order, restarted after a crash, all stopped at last.

No child outlives this process, not even its SIGKILL (see `leash`), and none hears the
terminal's Ctrl-C: the order of stopping is decided here.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import anyio
import anyio.abc

from tallystick.devnet.leash import leashed
from tallystick.devnet.logfile import last_line, open_log
from tallystick.engine.errors import Refused, Unavailable

Hook = Callable[[], Awaitable[None]]
Probe = Callable[[], Awaitable[bool]]

PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each restart of a child that crashes again and again."""

_HEALTHY = 30.0
"""Seconds after which a child counts as well, and its past crashes are forgotten."""

_READY_LIMIT = 60.0
_GRACE = 6.0
"""Seconds that a child has for its orderly end."""

_PROBE_PAUSE = 0.02


class ServiceFailed(Refused):
    """A child process did not come up at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A child process as data."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    """None: like ours."""
    needs: tuple[str, ...] = ()
    """What must be ready before this one starts, and is stopped after it."""
    prepare: Hook | None = None
    """Done before each start."""
    ready: Probe | None = None
    """Whether it can be used now; without a probe a running process is ready."""
    adjust: Hook | None = None
    """Done each time it became ready, before anybody is told."""
    farewell: Hook | None = None
    """Done before its orderly end, when nobody needs it any more."""
    grace: float = _GRACE
    """Seconds that it has for its orderly end."""
    final: frozenset[int] = frozenset()
    """Exit codes after which it is not started again: it would end in the same way."""


@dataclass(slots=True)
class _Child:
    service: Service
    ready: anyio.Event = field(default_factory=anyio.Event)
    process: anyio.abc.Process | None = None
    crashes: int = 0


class Supervisor:
    """Runs `services`; `say` is told, in sentences, what a person should know."""

    def __init__(
        self, services: Sequence[Service], *, logs: Path, say: Callable[[str], None]
    ) -> None:
        self._children = {service.name: _Child(service) for service in services}
        self._logs = logs
        self._say = say

    @property
    def pids(self) -> dict[str, int]:
        """The running children."""
        return {
            name: child.process.pid
            for name, child in self._children.items()
            if child.process is not None and child.process.returncode is None
        }

    def log(self, name: str) -> Path:
        """What the process `name` said."""
        return self._logs / f"{name}.log"

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Starts everything, reports `started` when all is ready, and goes on until cancelled.

        Raises ServiceFailed when a child cannot be started at first. Whatever ends this, all
        children are stopped before it returns.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            async with anyio.create_task_group() as keepers:
                for child in self._children.values():
                    keepers.start_soon(self._keep, child)
                for child in self._children.values():
                    await child.ready.wait()
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop_all()

    async def _keep(self, child: _Child) -> None:
        for need in child.service.needs:
            await self._children[need].ready.wait()
        while True:
            began = anyio.current_time()
            code = await self._once(child)
            if not child.ready.is_set():
                raise ServiceFailed(self._failure(child, code))
            if code in child.service.final:
                self._say(f"{self._failure(child, code)}. It is not started again.")
                return
            if anyio.current_time() - began > _HEALTHY:
                child.crashes = 0
            await self._after_crash(child, code)

    async def _once(self, child: _Child) -> int:
        """Start the child, make it ready, and wait for its end. Returns its exit code."""
        process = await self._start(child)
        async with anyio.create_task_group() as watch:

            async def prepare_for_use() -> None:
                await self._until_ready(child.service, process)
                child.ready.set()

            watch.start_soon(prepare_for_use)
            code = await process.wait()
            watch.cancel_scope.cancel()
        _kill_group(process.pid)
        return code

    async def _start(self, child: _Child) -> anyio.abc.Process:
        service = child.service
        if service.prepare is not None:
            await service.prepare()
        # Not to be cancelled between the fork and our knowing of it.
        with open_log(self.log(service.name)) as log, anyio.CancelScope(shield=True):
            child.process = process = await _spawn(service, log)
        return process

    async def _until_ready(self, service: Service, process: anyio.abc.Process) -> None:
        try:
            with anyio.fail_after(_READY_LIMIT):
                if service.ready is not None:
                    await _passed(service.ready)
                if service.adjust is not None:
                    await service.adjust()
        except (TimeoutError, Unavailable) as trouble:
            self._say(f"{service.name} cannot be used yet. {trouble}".rstrip())
            with suppress(ProcessLookupError):
                process.kill()
            await anyio.sleep_forever()  # its end is noticed where it is awaited

    async def _after_crash(self, child: _Child, code: int) -> None:
        name = child.service.name
        pause = PAUSES[min(child.crashes, len(PAUSES) - 1)]
        child.crashes += 1
        if child.crashes == 1:
            self._say(f"{name} ended ({_ending(code)}) and is started again.")
        elif child.crashes == len(PAUSES):
            self._say(f"{name} keeps ending ({_ending(code)}); see {self.log(name)}.")
        await anyio.sleep(pause)

    def _failure(self, child: _Child, code: int) -> str:
        path = self.log(child.service.name)
        told = last_line(path)
        why = f": {told}" if told else ""
        return f"{child.service.name} did not start ({_ending(code)}){why} (log: {path})"

    async def _stop_all(self) -> None:
        """Ends all children, those first that nobody needs."""
        left = {name: child for name, child in self._children.items() if child.process}
        while left:
            needed = {need for child in left.values() for need in child.service.needs}
            last = [child for name, child in left.items() if name not in needed]
            last = last or list(left.values())
            async with anyio.create_task_group() as group:
                for child in last:
                    group.start_soon(_stop, child)
                    del left[child.service.name]


async def _spawn(service: Service, log: IO[bytes]) -> anyio.abc.Process:
    # A session of its own: neither the terminal's signals nor its end reach the child.
    return await anyio.open_process(
        leashed(service.command),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=service.environment,
        start_new_session=True,
    )


async def _passed(probe: Probe) -> None:
    # A strange program sends no event that could be awaited.
    while not await probe():  # noqa: ASYNC110
        await anyio.sleep(_PROBE_PAUSE)


async def _stop(child: _Child) -> None:
    process = child.process
    if process is None:
        return
    if process.returncode is None:
        if child.service.farewell is not None:
            with anyio.move_on_after(child.service.grace):
                await child.service.farewell()
        with suppress(ProcessLookupError):
            process.terminate()
        with anyio.move_on_after(child.service.grace):
            await process.wait()
    _kill_group(process.pid)
    await process.wait()


def _kill_group(leader: int) -> None:
    """Ends what the child has left behind in its process group, itself included."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
