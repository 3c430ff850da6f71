"""Sandboxes by runc, crun or runsc, as root."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from tallystick.engine.errors import Unavailable
from tallystick.execution import oci
from tallystick.execution.cgroups import Cgroup, Hierarchies
from tallystick.execution.connection import slirp_missing
from tallystick.execution.gvisor import (
    GVISOR,
    GVISOR_DIFFERS,
    NO_NETWORK,
    START_FAILED,
    START_FAILED_WORDS,
    let_write_to_devices,
    with_sentry,
)
from tallystick.execution.mountns import STAGE, MountNamespace
from tallystick.execution.netns import NetworkNamespace, inside
from tallystick.execution.network import NetworkPolicy, Reach
from tallystick.execution.place import Place
from tallystick.execution.process import Process, Tail, spawn
from tallystick.execution.runtimes import NO_USER_NAMESPACE, NOT_STARTED, T
from tallystick.execution.sandbox import Sandbox
from tallystick.execution.staging import Staged, staged

_STATE = STAGE / ".state"
"""Where the runtime remembers its containers: in memory, gone with this process."""
_IMAGE_AT_FAULT = ("exec", "no such file", "permission denied", "not found", "chdir", "cwd")
"""Words by which a runtime says that it is the command that cannot be started."""


@dataclass(slots=True)
class _Run:
    """One container."""

    process: Process
    stage: Staged
    cgroup: Cgroup
    mounts: MountNamespace
    runtime: str
    exit_code: int | None = None
    out_of_memory: bool = False

    @property
    def stdout(self) -> Tail:
        return self.process.stdout

    @property
    def stderr(self) -> Tail:
        return self.process.stderr

    @property
    def output(self) -> Path:
        return self.stage.output

    async def finish(self) -> None:
        await self.process.finish()

    def memory(self) -> int:
        """Nobody has to look: the control group does."""
        return 0

    def kill(self) -> None:
        """Kill `unshare`, with which the kernel kills everything it holds."""
        self.process.kill()

    async def settle(self) -> None:
        code = await self.process.finish()
        self.out_of_memory = self.cgroup.ran_out_of_memory()
        self.exit_code = code if code >= 0 else None
        began = await self.mounts.call((self.stage.folder / "pid").exists)
        words = self.stderr.bytes().decode(errors="replace").strip()
        if self.runtime == GVISOR:
            began = not (code == START_FAILED and START_FAILED_WORDS in words)
        if code > 0 and not began:
            self.exit_code = NOT_STARTED
            if not any(sign in words.lower() for sign in _IMAGE_AT_FAULT):
                raise Unavailable(f"{self.runtime} could not make a sandbox: {words[-500:]}.")


@dataclass(slots=True)
class OciRuntime:
    """runc, crun or runsc. Everything happens in a mount namespace of our own."""

    program: Path
    base: int
    """Host user of user 0 of a job; 0: there is no user namespace to make it another."""
    _found: Hierarchies = field(default_factory=Hierarchies.find)
    _mounts: MountNamespace = field(default_factory=MountNamespace)

    @property
    def name(self) -> str:
        """`runc`, `crun` or `runsc`."""
        return self.program.name

    def limits_not_enforced(self) -> tuple[str, ...]:
        """Without control groups these runtimes do not start at all."""
        said = () if self.base else (NO_USER_NAMESPACE,)
        return (*said, *GVISOR_DIFFERS) if self.name == GVISOR else said

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """What it takes to carry a job's connections may be missing."""
        if self.name == GVISOR and policy.reach is not Reach.NONE:
            return NO_NETWORK
        return slirp_missing() if policy.reach is Reach.FULL else None

    async def call(self, work: Callable[[], T]) -> T:
        """Do `work` inside the mount namespace."""
        return await self._mounts.call(work)

    def close(self) -> None:
        """End the mount namespace."""
        self._mounts.close()

    @asynccontextmanager
    async def running(self, sandbox: Sandbox, place: Place) -> AsyncIterator[_Run]:
        """Start the container; when the scope ends, nothing of it is left."""
        cgroup = Cgroup(self._found, sandbox.name)
        run: _Run | None = None
        async with staged(self._mounts, sandbox, place) as stage:
            try:
                network = place.network
                process = await self._mounts.call(lambda: self._start(stage, cgroup, network))
                run = _Run(process, stage, cgroup, self._mounts, self.name)
                yield run
            finally:
                with anyio.CancelScope(shield=True):
                    if run is not None:
                        run.kill()
                        await run.process.finish()
                        run.process.close()
                    await anyio.to_thread.run_sync(cgroup.remove)
                    await self._mounts.call(
                        lambda: shutil.rmtree(_STATE / sandbox.name, ignore_errors=True)
                    )

    def _start(
        self, stage: Staged, cgroup: Cgroup, network: NetworkNamespace | None
    ) -> Process:
        """Make a bundle and start it; runs in the mount namespace."""
        sandbox, folder = stage.sandbox, stage.folder
        config = oci.bundle(
            sandbox,
            rootfs=str(stage.rootfs),
            output=str(stage.output),
            base=self.base,
            cgroup=cgroup.path,
            machine=platform.machine(),
            own_network=network is None,
        )
        if self.name == GVISOR:
            let_write_to_devices(config)
        (folder / "config.json").write_text(json.dumps(config))
        _STATE.mkdir(mode=0o700, exist_ok=True)
        words = self._words(cgroup, folder)
        if not self._brings_cgroup:
            limits = sandbox.limits
            cgroup.create(with_sentry(limits) if self.name == GVISOR else limits)
        words += ["--bundle", str(folder), "--pid-file", str(folder / "pid"), sandbox.name]
        with inside(network):
            return spawn(words, sandbox.limits.log)

    def _words(self, cgroup: Cgroup, folder: Path) -> list[str]:
        """How the program is to be called.

        All of it in one pid namespace, which the kernel ends with the first process, and the
        first process with this one.
        """
        held = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork")
        words = [*held, "--kill-child", "--mount-proc", str(self.program)]
        words += ["--root", str(_STATE), "--log", str(folder / "log")]
        if self.name == GVISOR:
            words += ["--network=none", "--ignore-cgroups", "run"]
        elif self._brings_cgroup:
            return [*words, "run", "--keep"]
        else:
            words += ["--cgroup-manager", "disabled", "run"]
        return [*cgroup.joining(), *words]

    @property
    def _brings_cgroup(self) -> bool:
        """runc can leave its control group for us to read; crun always removes it."""
        return self.name == "runc"
