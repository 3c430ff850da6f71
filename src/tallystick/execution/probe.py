"""Whether a runtime works here: it makes a sandbox in which there is nothing to run, and
one in which a file is found and another one left."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from tallystick.engine.errors import Refused, Unavailable
from tallystick.execution.executor import (
    MIB,
    Executor,
    Handmade,
    Job,
    Limits,
    Outcome,
    RuntimeUnfit,
)
from tallystick.execution.handmade import MARKER, NO_INPUT, NO_OUTPUT, probe_image
from tallystick.execution.output import remove_stale, remove_tree
from tallystick.execution.place import Place
from tallystick.execution.runtimes import NOT_STARTED, Runtime
from tallystick.execution.sandbox import Identity, Sandbox

_SYS_ADMIN, _CHOWN, _SETUID = 21, 0, 7
_LIMITS = Limits(time=10, memory=64 * MIB, cpus=1, pids=32, disk=MIB)


def privileged() -> bool:
    """Whether this process is root in more than name: containers often are not."""
    lines = Path("/proc/self/status").read_text().splitlines()
    held = int(next(line.split()[1] for line in lines if line.startswith("CapEff:")), 16)
    wanted = (_SYS_ADMIN, _CHOWN, _SETUID)
    return os.geteuid() == 0 and all(held >> capability & 1 for capability in wanted)


async def try_out(runtime: Runtime, jobs: Path, base: int | None) -> None:
    """Raises RuntimeUnfit when the runtime cannot make a sandbox with all that we ask for."""
    name = f"tallystick-probe-{os.getpid()}"
    place = Place(folder=jobs / name, rootfs=jobs / name / "root", disk=None, base=base)
    try:
        await anyio.to_thread.run_sync(remove_stale, jobs, "tallystick-probe-*")
        await anyio.to_thread.run_sync(_prepare, place)
        with anyio.fail_after(_LIMITS.time):
            async with runtime.running(_nothing(name, place), place) as run:
                await run.finish()
                await run.settle()
                code, words = run.exit_code, run.stderr.bytes().decode(errors="replace")
    except (Unavailable, OSError, TimeoutError, BrokenExecutor) as error:
        raise RuntimeUnfit(f"{runtime.name} does not work here: {error}") from error
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(remove_tree, place.folder)
    if code != NOT_STARTED:
        raise RuntimeUnfit(f"{runtime.name} does not work here: {words.strip()[-500:]}")


def _prepare(place: Place) -> None:
    for name in ("proc", "dev", "sys", "tmp", "iexec_in", "iexec_out"):
        (place.rootfs / name).mkdir(parents=True)
    place.output.mkdir()


def _nothing(name: str, place: Place) -> Sandbox:
    return Sandbox(
        name=name,
        argv=("/nothing",),
        env=(),
        cwd="/",
        who=Identity(0, 0),
        tmpfs=(),
        shm=MIB,
        input_dir=place.output,
        limits=_LIMITS,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of running a container that had to find a file and to leave one."""

    trouble: str = ""
    """In words; empty when all is well."""
    not_shared: bool = False
    """The runtime works, but what it calls our folder is another one."""


async def run_marker(executor: Executor, folder: Path, name: str) -> Seen:
    """Run the handmade image: it has to find our marker in its input and to leave it in its
    output. `folder` must be the one that holds the folders of tasks."""
    place, marker = folder / f"probe-{os.getpid()}", secrets.token_hex(16)
    try:
        await anyio.to_thread.run_sync(remove_stale, folder, "probe-*")
        image = probe_image()
        await anyio.to_thread.run_sync(_lay_out, place / "in", marker)
        await executor.adopt(image)
        outcome = await executor.run(_marker_job(image, place, name))
        found = await anyio.to_thread.run_sync(_found, place / "out")
    except (Unavailable, Refused, OSError) as error:
        return Seen(str(error), not_shared="bind source path does not exist" in str(error))
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(remove_tree, place)
    return judge(outcome, found, marker)


def judge(outcome: Outcome, found: str, marker: str) -> Seen:
    """What the end of the marker's container means."""
    code = outcome.exit_code
    if code == 0 and found == marker:
        return Seen()
    if code == 0:
        return Seen("what the container left in its output did not arrive", not_shared=True)
    if code in NO_INPUT:
        return Seen("the container did not find the file in its input folder", not_shared=True)
    if code in NO_OUTPUT:
        return Seen("the container could not write into its output folder", not_shared=True)
    words = outcome.stderr.decode(errors="replace").strip()[-300:]
    return Seen(f"a container that does nothing ended as {outcome.ended} ({code}). {words}")


def _marker_job(image: Handmade, place: Path, name: str) -> Job:
    return Job(
        name=name,
        image=image.ref,
        args=(),
        env={},
        input_dir=place / "in",
        output_dir=place / "out",
        limits=_LIMITS,
    )


def _lay_out(folder: Path, marker: str) -> None:
    folder.mkdir(parents=True)
    (folder / MARKER).write_text(marker)


def _found(folder: Path) -> str:
    file = folder / MARKER
    return file.read_text() if file.is_file() else ""


async def daemon_trouble() -> str:
    """Why no Docker daemon can be used; empty when one answers."""
    from tallystick.execution.engine_api import EngineApi  # noqa: PLC0415 (an idle worker needs none)

    try:
        api = EngineApi.from_environment()
    except Refused as unfit:
        return str(unfit)
    try:
        with anyio.fail_after(_LIMITS.time):
            found = await api.info()
    except (Unavailable, TimeoutError) as trouble:
        return str(trouble) or f"The Docker daemon at {api.host} does not answer."
    finally:
        await api.aclose()
    kind = found.get("OSType")
    return "" if kind == "linux" else f"The Docker daemon runs containers for {kind}."
