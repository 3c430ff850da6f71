"""The folders of one job, mounted where a process without rights can reach them.

As root only. All of it happens in the mount namespace of this process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from tallystick.execution import disk
from tallystick.execution.mountns import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    STAGE,
    MountNamespace,
    bind,
    mount,
    unmount,
)
from tallystick.execution.place import Place
from tallystick.execution.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Staged:
    """What a runtime is to show to the job."""

    sandbox: Sandbox
    folder: Path
    """The job's own folder in the namespace; a runtime may put a few small files there."""
    rootfs: Path
    output: Path


@asynccontextmanager
async def staged(
    mounts: MountNamespace, sandbox: Sandbox, place: Place
) -> AsyncIterator[Staged]:
    """Mount the job's folders for as long as the scope lasts."""
    folder = STAGE / sandbox.name
    inside = replace(sandbox, input_dir=folder / "in")
    try:
        await mounts.call(lambda: _show(folder, sandbox, place))
        yield Staged(inside, folder, folder / "root", folder / "out")
    finally:
        with anyio.CancelScope(shield=True):
            await mounts.call(lambda: _hide(folder))


def _show(folder: Path, sandbox: Sandbox, place: Place) -> None:
    bind(place.rootfs, folder / "root")
    if sandbox.name_server:
        _name(sandbox.name_server, folder)
    bind(sandbox.input_dir, folder / "in")
    if place.disk is None:
        bind(place.output, folder / "out")
        return
    device, fd = disk.attach(place.disk, autoclear=True)
    try:
        (folder / "out").mkdir()
        mount(
            str(device),
            folder / "out",
            "ext4",
            MS_NOSUID | MS_NODEV,
            "errors=continue,nobarrier",
        )
    finally:
        os.close(fd)


def _name(server: str, folder: Path) -> None:
    """Show a file over the image's own, which was made a plain one when it was unpacked."""
    place = folder / "root" / "etc" / "resolv.conf"
    if place.parent.is_symlink() or place.is_symlink() or not place.is_file():
        return
    ours = folder / "resolv.conf"
    ours.write_text(f"nameserver {server}\n")
    mount(str(ours), place, "none", MS_BIND)


def _hide(folder: Path) -> None:
    for name in ("root/etc/resolv.conf", "root", "in", "out"):
        unmount(folder / name)
    shutil.rmtree(folder, ignore_errors=True)
