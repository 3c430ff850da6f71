"""Running jobs by a Docker daemon, through its Engine API."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from tallystick.engine.errors import Unavailable
from tallystick.execution import disk
from tallystick.execution.adoption import FINGERPRINT, Left, fingerprint, worth_keeping
from tallystick.execution.connection import slirp_missing
from tallystick.execution.container import LABEL, body, preparing
from tallystick.execution.disk import Disks
from tallystick.execution.docker_images import DockerImages, Known
from tallystick.execution.docker_network import DockerNetwork, holder_of, network_of_job
from tallystick.execution.docker_output import DockerOutput, owned_folder
from tallystick.execution.engine_api import DaemonRefused, EngineApi, NotThere, listen
from tallystick.execution.executor import (
    IMAGE_TIME,
    Ended,
    Handmade,
    ImageRef,
    Job,
    Outcome,
    RuntimeUnfit,
)
from tallystick.execution.gvisor import GVISOR, NO_NETWORK
from tallystick.execution.mountns import MountNamespace
from tallystick.execution.network import NetworkPolicy, Reach
from tallystick.execution.output import make_readable, remove_tree
from tallystick.execution.probe import privileged
from tallystick.execution.process import Tail
from tallystick.execution.runtimes import MEASURED_DISK, NOT_STARTED
from tallystick.execution.sandbox import Sandbox, prepare
from tallystick.execution.tasks import together

_XFSZ = 128 + 25
_DISK = "disk.ext4"
"""A job's disk, in its folder."""


@dataclass(slots=True)
class _Run:
    """What is learnt about one container."""

    container: str
    stdout: Tail
    stderr: Tail
    network: DockerNetwork | None = None
    code: int | None = None
    late: bool = False
    full: bool = False
    out_of_memory: bool = False


@dataclass(slots=True)
class Docker:
    """The executor for machines with a Docker daemon."""

    api: EngineApi
    images: DockerImages
    jobs: Path
    """Folder for what belongs to running jobs."""
    disks: Disks | None
    """Makes file systems for what jobs write; None: a plain volume is measured instead."""
    lacking: tuple[str, ...] = ()
    """What the daemon said it cannot enforce."""
    runtime: str | None = None
    """The daemon's runtime for jobs; None: its usual one."""
    _running: set[str] = field(default_factory=set)
    _mounts: MountNamespace | None = None
    _output: DockerOutput = field(init=False)

    def __post_init__(self) -> None:
        if self.disks:
            self._mounts = MountNamespace()
        self._output = DockerOutput(self.api, self.jobs, self._mounts)

    @property
    def name(self) -> str:
        """`docker`."""
        return "docker"

    def limits_not_enforced(self) -> tuple[str, ...]:
        """What the daemon cannot promise, in sentences."""
        return self.lacking

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """Why no job can be given that network here."""
        if policy.reach is Reach.NONE:
            return None
        if self.runtime == GVISOR:
            return NO_NETWORK
        if not privileged():
            return "a worker without root cannot enter the networks of Docker's containers"
        return slirp_missing() if policy.reach is Reach.FULL else None

    async def fetch(self, image: ImageRef, *, time_limit: float) -> None:
        """Have the daemon pull the image, and learn what a job in it needs."""
        await self.images.fetch(image, time_limit)

    async def adopt(self, image: Handmade) -> None:
        """Have the daemon know an image that is in no registry."""
        await self.images.adopt(image)

    async def aclose(self) -> None:
        """Close the connections to the daemon."""
        await self.api.aclose()
        if self._mounts:
            self._mounts.close()

    async def run(self, job: Job) -> Outcome:
        """Run the job to its end or its limit. Leaves nothing behind, even when cancelled.

        A container of this very job that a killed worker left is not started again: it is
        waited for as long as it still may run, and what it said and left counts.
        """
        if job.name in self._running:
            raise ValueError(f"a job {job.name} is running already")
        if refusal := self.network_refused(job.network):
            raise RuntimeUnfit(f"{job.name} cannot get {job.network.told()}: {refusal}.")
        self._running.add(job.name)
        try:
            if left := await self._left(job):
                return await self._adopted(job, left)
            known = await self.images.know(job.image, IMAGE_TIME)
            sandbox = prepare(job, known.config, known.who, home_vacant=known.home_vacant)
            await anyio.to_thread.run_sync(make_readable, job.input_dir)
            async with self._device(sandbox) as device:
                return await self._run(job, sandbox, known, device)
        finally:
            self._running.discard(job.name)

    async def sweep(self, prefix: str, spare: Collection[str] = ()) -> None:
        """Remove containers, volumes, devices and folders of jobs with that prefix."""
        spared = self._running | set(spare)
        for found in await self.api.containers(LABEL):
            name = str(found["Labels"][LABEL])
            if name.startswith(prefix) and name not in spared:
                await self.api.remove(str(found["Id"]))
        await self.api.remove_volumes(LABEL, prefix)
        folders = list(self.jobs.iterdir()) if self.jobs.is_dir() else []
        for folder in folders:
            if folder.name.startswith(prefix) and folder.name not in spared:
                await anyio.to_thread.run_sync(_remove_folder, folder)
        await self.images.forget_looks()
        await self.images.evict()

    async def _left(self, job: Job) -> Left | None:
        """What a killed worker left of this job; of no use, it is removed."""
        try:
            document = await self.api.container(job.name)
        except NotThere:
            return None
        left = worth_keeping(document, fingerprint(job))
        # Whatever was to carry its connections has died with the worker.
        alone = job.network.reach is Reach.NONE
        if left and alone and (self.disks is None or self._device_of(job.name)):
            return left
        await self._discard(job.name)
        return None

    def _device_of(self, name: str) -> Path | None:
        return disk.device_on(self.jobs / name / _DISK) if self.disks else None

    async def _discard(self, name: str) -> None:
        """Remove everything of a job that another process began."""
        await self.api.remove(name)
        await self.api.remove(holder_of(name))
        await self.api.remove_volume(name)
        await anyio.to_thread.run_sync(_remove_folder, self.jobs / name)

    async def _adopted(self, job: Job, left: Left) -> Outcome:
        """Wait for a container, or what it did, as if it had been started here."""
        device, limit = self._device_of(job.name), job.limits.log
        network = DockerNetwork(self.api, job.network)
        run = _Run(left.id, Tail(limit), Tail(limit), network)
        try:
            (self.jobs / job.name).mkdir(mode=0o700, parents=True, exist_ok=True)
            await network.look(holder_of(job.name))
            await network.look(left.id)
            seconds = await self._until_late_end(job, run, left, measured=device is None)
            return await self._conclude(job, run, device, seconds)
        finally:
            network.close()
            with anyio.CancelScope(shield=True), contextlib.suppress(Unavailable):
                await self._discard(job.name)

    @asynccontextmanager
    async def _device(self, sandbox: Sandbox) -> AsyncIterator[Path | None]:
        """A loop device for the output, where there can be one."""
        folder = self.jobs / sandbox.name
        file, device = folder / _DISK, None
        if folder.exists():
            await self._discard(sandbox.name)
        try:
            folder.mkdir(mode=0o700, parents=True)
            if self.disks:
                owner = (sandbox.who.uid, sandbox.who.gid)
                make = partial(self.disks.make, file, sandbox.limits, owner)
                await anyio.to_thread.run_sync(make)
                device, fd = disk.attach(file, autoclear=False)
                os.close(fd)
            yield device
        finally:
            with anyio.CancelScope(shield=True):
                if device:
                    disk.detach(device)
                await anyio.to_thread.run_sync(remove_tree, folder)

    async def _run(
        self, job: Job, sandbox: Sandbox, known: Known, device: Path | None
    ) -> Outcome:
        if device is None and sandbox.who.uid:
            await self._give_volume(sandbox, known)
        request = body(sandbox, image=known.id, device=str(device) if device else None)
        request["Labels"][FINGERPRINT] = fingerprint(job)
        request["HostConfig"]["Runtime"] = self.runtime or ""
        async with (
            network_of_job(self.api, job) as network,
            self._container(sandbox, network.joined(request)) as container,
        ):
            limit = job.limits.log
            run = _Run(container, Tail(limit), Tail(limit), network)
            seconds = await self._until_end(job, run, measured=device is None)
            return await self._conclude(job, run, device, seconds)

    async def _conclude(
        self, job: Job, run: _Run, device: Path | None, seconds: float
    ) -> Outcome:
        """Learn how it ended, and take over what it left."""
        if run.code is not None and run.code != 0:
            ours = run.late or run.full
            run.out_of_memory = await self.api.ran_out_of_memory(run.container, killed=not ours)
        if not run.full:
            run.full = not await self._output.taken_over(job, run.container, device)
        return _outcome(run, seconds)

    @asynccontextmanager
    async def _container(
        self, sandbox: Sandbox, request: Mapping[str, Any], *, keep: bool = False
    ) -> AsyncIterator[str]:
        """A container, removed whatever happens; its volume, too, unless the scope ends well
        and `keep` says so. It is known by the job's name.
        """
        done = False
        try:
            try:
                # Not cut short: else the daemon could make it after it has been removed.
                with anyio.CancelScope(shield=True):
                    container = await self.api.create(sandbox.name, request)
            except NotThere as error:
                self.images.forget()
                raise Unavailable(f"The image is gone from the daemon: {error}.") from error
            except DaemonRefused as error:
                raise Unavailable(f"Docker does not make the container: {error}.") from error
            yield container
            done = True
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(Unavailable):
                await self.api.remove(sandbox.name)
                if self.disks is None and not (keep and done):
                    await self.api.remove_volume(sandbox.name)

    async def _give_volume(self, sandbox: Sandbox, known: Known) -> None:
        """Make the output volume belong to the job's user, who else could not write to it."""
        async with self._container(sandbox, preparing(sandbox, known.id), keep=True) as helper:
            await self.api.put_archive(helper, "/", owned_folder(sandbox))

    async def _until_end(self, job: Job, run: _Run, *, measured: bool) -> float:
        """Start the container, hear it out, and wait for its end or its limit; seconds."""
        async with self.api.attached(run.container) as words, together() as group:
            group.start_soon(listen, words, run.stdout, run.stderr)
            began = time.monotonic()
            try:
                await self.api.start(run.container)
            except DaemonRefused as error:
                run.code = NOT_STARTED
                run.stderr.add(str(error).encode())
                group.cancel_scope.cancel()
                return 0.0
            if run.network:
                await run.network.look(run.container)
            await self._wait(job, run, job.limits.time, measured=measured)
            return time.monotonic() - began

    async def _until_late_end(
        self, job: Job, run: _Run, left: Left, *, measured: bool
    ) -> float:
        """The same for a container that was started by another process; seconds."""
        async with self.api.logs(run.container) as words, together() as group:
            group.start_soon(listen, words, run.stdout, run.stderr)
            if left.ended is None:
                rest = job.limits.time - (time.time() - left.began)
                await self._wait(job, run, max(0.0, rest), measured=measured)
                return time.time() - left.began
        run.code, seconds = left.code, left.ended - left.began
        run.late = seconds > job.limits.time
        return seconds

    async def _wait(self, job: Job, run: _Run, limit: float, *, measured: bool) -> None:
        """Wait for the end of a running container, for `limit` seconds at most."""
        with anyio.move_on_after(limit) as clock:
            async with together() as inner:
                if measured:
                    inner.start_soon(self._kill_when_too_large, job, run)
                run.code = await self.api.wait(run.container)
                inner.cancel_scope.cancel()
        if clock.cancelled_caught and run.code is None:
            run.late = True
            await self.api.kill(run.container)
            await self.api.wait(run.container)

    async def _kill_when_too_large(self, job: Job, run: _Run) -> None:
        await self._output.until_too_large(job, run.container)
        run.full = True
        await self.api.kill(run.container)


def _remove_folder(folder: Path) -> None:
    """What another process left of a job."""
    disk.detach_below(folder)
    remove_tree(folder)


def _outcome(run: _Run, seconds: float) -> Outcome:
    code = run.code
    if run.full or code == _XFSZ:
        ended = Ended.DISK_FULL
    elif run.late:
        ended = Ended.TIMED_OUT
    elif run.out_of_memory:
        ended = Ended.OUT_OF_MEMORY
    else:
        ended = Ended.KILLED if code is None else Ended.EXITED
    return Outcome(
        exit_code=code if ended is Ended.EXITED else None,
        stdout=run.stdout.bytes(),
        stderr=run.stderr.bytes(),
        ended=ended,
        seconds=seconds,
        stdout_dropped=run.stdout.dropped,
        stderr_dropped=run.stderr.dropped,
        denied=run.network.denied() if run.network else (),
    )


async def connect(
    api: EngineApi,
    images: DockerImages,
    jobs: Path,
    disks: Disks | None,
    *,
    runtime: str | None = None,
) -> Docker:
    """The executor, knowing what its daemon can enforce. Raises Unavailable, RuntimeUnfit."""
    info = await api.info()
    known = info.get("Runtimes") or {}
    if runtime is not None and runtime not in known:
        names = ", ".join(sorted(known)) or "none"
        raise RuntimeUnfit(
            f"the Docker daemon has no runtime {runtime!r} (it has {names}): add it to"
            " /etc/docker/daemon.json, or leave `docker_runtime` out."
        )
    return Docker(api, images, jobs, disks, lacking(info, disks), runtime=runtime)


def lacking(info: Mapping[str, Any], disks: Disks | None) -> tuple[str, ...]:
    """What a daemon that tells this of itself cannot promise."""
    said = []
    for key, what in (
        ("MemoryLimit", "memory: the Docker daemon has no control group for it"),
        ("CpuCfsQuota", "cpus: the Docker daemon cannot share out processor time"),
        ("PidsLimit", "pids: the Docker daemon cannot limit the number of processes"),
    ):
        if not info.get(key):
            said.append(what)
    options = " ".join(info.get("SecurityOptions") or ())
    if "seccomp" not in options:
        said.append("system calls: the Docker daemon has no seccomp filter")
    if "name=userns" not in options and "name=rootless" not in options:
        said.append(
            "user namespace: the Docker daemon runs without userns-remap, so a job's user 0 is"
            " this machine's, though without any capability and any way to get one"
        )
    if disks is None:
        said.append(MEASURED_DISK)
    return tuple(said)
