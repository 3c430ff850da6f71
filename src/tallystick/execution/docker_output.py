"""What a container leaves in `/iexec_out`: watched while it runs, taken over afterwards."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from tallystick.execution import disk
from tallystick.execution.engine_api import EngineApi
from tallystick.execution.executor import MIB, Job
from tallystick.execution.mountns import (
    MS_NODEV,
    MS_NOSUID,
    STAGE,
    MountNamespace,
    mount,
    unmount,
)
from tallystick.execution.output import OutputTooLarge, measure, take_over, take_over_tar
from tallystick.execution.sandbox import OUTPUT, Sandbox

_LOOK_EVERY = 0.1
_ASK_EVERY = 1.0
_ENTRY_BYTES = 2_048
"""What one file adds to a tar, at most, beside its content and a long name."""


@dataclass(frozen=True, slots=True)
class DockerOutput:
    """The output folders of one daemon's containers."""

    api: EngineApi
    jobs: Path
    mounts: MountNamespace | None
    """Where disks of jobs are mounted; None: there are none."""

    async def until_too_large(self, job: Job, container: str) -> None:
        """Returns when the job has written more than it may to a plain volume."""
        used = await self._meter(job, container)
        while not await used():
            pass

    async def _meter(self, job: Job, container: str) -> Any:
        """Something to await that says whether the job has written too much."""
        mounts = (await self.api.container(container))["Mounts"]
        volume = next(mount for mount in mounts if mount["Destination"] == OUTPUT)
        folder = Path(volume["Source"])

        async def look() -> bool:
            await anyio.sleep(_LOOK_EVERY)
            try:
                await anyio.to_thread.run_sync(measure, folder, job.limits)
            except OutputTooLarge:
                return True
            return False

        async def ask() -> bool:
            await anyio.sleep(_ASK_EVERY)
            sizes = await self.api.volume_sizes()
            return sizes.get(volume["Name"], 0) > job.limits.disk

        return look if os.access(folder, os.R_OK | os.X_OK) else ask

    async def taken_over(self, job: Job, container: str, device: Path | None) -> bool:
        """Whether the output was within its limits, and so is ours now."""
        if device and self.mounts:
            return await self.mounts.call(partial(_take_over_disk, device, job))
        file = self.jobs / job.name / "out.tar"
        allowed = job.limits.disk + job.limits.files * _ENTRY_BYTES + MIB
        async with (
            self.api.archive(container, OUTPUT) as chunks,
            await anyio.open_file(file, "wb") as target,
        ):
            async for chunk in chunks:
                allowed -= len(chunk)
                if allowed < 0:
                    return False
                await target.write(chunk)
        try:
            await anyio.to_thread.run_sync(take_over_tar, file, job.output_dir, job.limits)
        except OutputTooLarge:
            return False
        return True


def _take_over_disk(device: Path, job: Job) -> bool:
    """The same from the job's disk, which the daemon has let go; runs where mounts are ours."""
    folder = STAGE / job.name
    folder.mkdir()
    try:
        mount(str(device), folder, "ext4", MS_NOSUID | MS_NODEV, "nobarrier")
        if disk.is_full(folder):
            return False
        take_over(folder, job.output_dir, job.limits)
    except OutputTooLarge:
        return False
    finally:
        unmount(folder)
        folder.rmdir()
    return True


def owned_folder(sandbox: Sandbox) -> bytes:
    """A tar that gives the output folder to the job's user."""
    buffer = io.BytesIO()
    info = tarfile.TarInfo(OUTPUT.strip("/"))
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    info.uid, info.gid = sandbox.who.uid, sandbox.who.gid
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(info)
    return buffer.getvalue()
