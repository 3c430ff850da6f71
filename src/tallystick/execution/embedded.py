"""Running jobs without a daemon: an unpacked image, and runc, crun or bubblewrap.

As root the job's users are mapped to ids that mean nobody on the host, everything is mounted
in a namespace of this process, and control groups hold the limits. Without root bubblewrap
does what the kernel lets anyone do, and `limits_not_enforced` says what that leaves out.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from tallystick.execution.cgroups import Cgroup, Hierarchies, leftovers, tidy
from tallystick.execution.connection import Connection, connected
from tallystick.execution.disk import Disks, is_full
from tallystick.execution.executor import (
    IMAGE_TIME,
    Ended,
    Handmade,
    ImageRef,
    Job,
    Outcome,
    RuntimeUnfit,
)
from tallystick.execution.images import Image, ImageStore
from tallystick.execution.netns import NetworkNamespace
from tallystick.execution.network import NetworkPolicy
from tallystick.execution.output import (
    OutputTooLarge,
    make_readable,
    measure,
    remove_tree,
    take_over,
)
from tallystick.execution.place import Place
from tallystick.execution.runtimes import MEASURED_DISK, Run, Runtime
from tallystick.execution.sandbox import Sandbox, prepare
from tallystick.execution.tasks import together

_LOOK_EVERY = 0.1
"""Seconds between two looks at what a job has written, where no file system limits it."""
_XFSZ = 128 + 25
"""Exit code of a program that went beyond the size a file may have."""


@dataclass(slots=True)
class Embedded:
    """The executor for machines without Docker."""

    runtime: Runtime
    images: ImageStore
    jobs: Path
    """Folder for what jobs write while they run."""
    disks: Disks | None
    """Makes file systems for what jobs write; None: what they write is measured instead."""
    _running: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """`runc`, `crun` or `bubblewrap`."""
        return self.runtime.name

    def limits_not_enforced(self) -> tuple[str, ...]:
        """What this runtime cannot promise here, in sentences."""
        said = self.runtime.limits_not_enforced()
        return said if self.disks else (*said, MEASURED_DISK)

    async def fetch(self, image: ImageRef, *, time_limit: float) -> None:
        """Have the image unpacked here."""
        await self.images.fetch(image, time_limit)

    async def adopt(self, image: Handmade) -> None:
        """Have an image unpacked here that is in no registry."""
        await self.images.adopt(image)

    async def run(self, job: Job) -> Outcome:
        """Run the job to its end or its limit. Leaves nothing behind, even when cancelled."""
        if refusal := self.network_refused(job.network):
            raise RuntimeUnfit(f"{job.name} cannot get {job.network.told()}: {refusal}.")
        image = self.images.find(job.image)
        if image is None:
            image = await self.images.fetch(job.image, IMAGE_TIME)
        facts = image.facts
        sandbox = prepare(job, facts.config, facts.who, home_vacant=facts.home_vacant)
        with self.images.using(image), self._named(job.name):
            await anyio.to_thread.run_sync(make_readable, job.input_dir)
            async with self._place(sandbox, image) as place, self._network(job) as network:
                there = replace(place, network=network.namespace if network else None)
                outcome = await self._watched(job, sandbox, there)
                return replace(outcome, denied=network.denied() if network else ())

    async def sweep(self, prefix: str, spare: Collection[str] = ()) -> None:
        """Remove what a killed process left of jobs whose names begin with `prefix`.

        There is nothing to spare: a job here dies with its worker. See `adoption`.
        """
        found = Hierarchies.find()
        names = set(leftovers(found, prefix))
        if self.jobs.is_dir():
            names |= {f.name for f in self.jobs.iterdir() if f.name.startswith(prefix)}
        for name in names - self._running:
            await self._remove(name)
        await anyio.to_thread.run_sync(self.images.sweep)

    async def _remove(self, name: str) -> None:
        """Kill and remove a job that another process began."""
        await anyio.to_thread.run_sync(Cgroup(Hierarchies.find(), name).remove)
        await anyio.to_thread.run_sync(remove_tree, self.jobs / name)

    async def aclose(self) -> None:
        """End the threads."""
        self.runtime.close()
        tidy(Hierarchies.find())

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        if name in self._running:
            raise ValueError(f"a job {name} is running already")
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)

    @asynccontextmanager
    async def _place(self, sandbox: Sandbox, image: Image) -> AsyncIterator[Place]:
        """The folders of one job, as long as it lives."""
        folder = self.jobs / sandbox.name
        disk = folder / "disk.ext4" if self.disks else None
        if folder.exists():
            await self._remove(sandbox.name)
        place = Place(folder=folder, rootfs=image.rootfs, base=self.images.base, disk=disk)
        try:
            await anyio.to_thread.run_sync(self._prepare, place, sandbox)
            yield place
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, folder)

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """Why no job can be given that network here."""
        return self.runtime.network_refused(policy)

    @asynccontextmanager
    async def _network(self, job: Job) -> AsyncIterator[Connection | None]:
        """As root a network made by us; without, the runtime's own, which leads nowhere."""
        if self.images.base is None:
            yield None
            return
        namespace = await anyio.to_thread.run_sync(NetworkNamespace.make)
        try:
            async with connected(job.network, namespace, job.name) as connection:
                yield connection
        finally:
            namespace.close()

    async def _watched(self, job: Job, sandbox: Sandbox, place: Place) -> Outcome:
        """Run it with one eye on the clock and one on what it uses; then take its output."""
        end: Ended | None = None
        async with self.runtime.running(sandbox, place) as run:
            began = time.monotonic()
            with anyio.move_on_after(job.limits.time) as clock:
                async with together() as group:

                    async def watch() -> None:
                        nonlocal end
                        end = await self._until_too_much(job, run, place)
                        run.kill()

                    group.start_soon(watch)
                    await run.finish()
                    group.cancel_scope.cancel()
            seconds = time.monotonic() - began
            run.kill()
            await run.settle()
            if end is None and clock.cancelled_caught:
                end = Ended.TIMED_OUT
            if end is not Ended.DISK_FULL and not await self._taken_over(job, run, place):
                end = Ended.DISK_FULL
            return _outcome(run, seconds, end)

    def _prepare(self, place: Place, sandbox: Sandbox) -> None:
        place.output.mkdir(parents=True)
        place.folder.chmod(0o700)
        base, who = place.base, sandbox.who
        owner = None if base is None else (base + who.uid, base + who.gid)
        if owner:
            os.chown(place.output, *owner)
        if self.disks and place.disk and owner:
            self.disks.make(place.disk, sandbox.limits, owner)

    async def _taken_over(self, job: Job, run: Run, place: Place) -> bool:
        """Whether the output was within its limits, and so is ours now."""

        def work() -> bool:
            if place.disk and is_full(run.output):
                return False
            try:
                take_over(run.output, job.output_dir, job.limits)
            except OutputTooLarge:
                return False
            return True

        return await self.runtime.call(work)

    async def _until_too_much(self, job: Job, run: Run, place: Place) -> Ended:
        """Returns when the job has gone beyond a limit that the kernel does not keep."""
        pause = _LOOK_EVERY
        while True:
            await anyio.sleep(pause)
            began = time.monotonic()
            if place.base is None and run.memory() > job.limits.memory:
                return Ended.OUT_OF_MEMORY
            if place.disk is None:
                try:
                    await self.runtime.call(partial(measure, run.output, job.limits))
                except OutputTooLarge:
                    return Ended.DISK_FULL
            pause = max(_LOOK_EVERY, 5 * (time.monotonic() - began))


def _outcome(run: Run, seconds: float, end: Ended | None) -> Outcome:
    code = run.exit_code
    if end is not None:
        ended = end
    elif code == _XFSZ:
        ended = Ended.DISK_FULL
    elif run.out_of_memory and code != 0:
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
    )
