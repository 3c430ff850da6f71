"""How long a job that does nothing takes, by every container runtime of this machine."""

from __future__ import annotations

import platform
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import TypeAlias

import anyio.to_thread

from tallystick.bench import others
from tallystick.bench.report import Options, Report, Row
from tallystick.examples.layout import write_image, write_layer
from tallystick.examples.runtime import runtime_tree
from tallystick.execution.choose import KNOWN, choose
from tallystick.execution.executor import Executor, ImageRef, Job, Limits, RuntimeUnfit
from tallystick.execution.gvisor import GVISOR

NAME = "sandbox-start"
SUMMARY = "A job that does nothing, by each container runtime, beside plain `docker run`."

_SAMPLES = 11
_MIB = 1 << 20
_COMMAND = ("python3", "-I", "-S", "-c", "pass")
_NOTHING = ("true",)
_DOCKER, _SRUN = "docker run", "srun"
_LIMITS = Limits(time=60, memory=256 * _MIB, cpus=1, pids=64, disk=64 * _MIB)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_REPOSITORY = "tallystick/nothing"
_WAYS = (*product(KNOWN, (True,)), *product(("runc", "crun", GVISOR), (False,)))
"""Runtimes, with a user namespace, and those that can do without one."""


Srun: TypeAlias = Callable[[Sequence[str]], float]
"""Gives the seconds that `srun` takes with a command."""


async def run(options: Options) -> Report:
    """Measure every runtime that works here, in turns, so that all see the same load."""
    samples = options.samples(_SAMPLES)
    image_folder = options.work / "image"
    digest = await anyio.to_thread.run_sync(_build, image_folder)
    with ExitStack() as stack:
        registry = stack.enter_context(_served(image_folder))
        stack.enter_context(others.docker())
        slurm = _slurm(options.work / "slurm", stack)
        image = ImageRef(registry, _REPOSITORY, "1", digest)
        async with _executors(options.work) as (executors, unfit):
            for executor in executors.values():
                await executor.fetch(image, time_limit=120)
            times = await _measure(executors, image, options.work, samples, slurm)
    notes = (
        f"median of {samples}, one at a time; the job is `{' '.join(_COMMAND)}`",
        "all limits set, output on a disk of its own where the runtime can have one",
        "Docker has a user namespace only where its daemon maps users, bubblewrap always",
        "srun: a command that does nothing, without a container, on a cluster of one node",
        *unfit,
    )
    return Report(bench=NAME, rows=tuple(_rows(times, slurm)), notes=notes)


def _slurm(folder: Path, stack: ExitStack) -> Srun | str:
    """A cluster to compare with, or why there is none."""
    try:
        return stack.enter_context(others.srun(folder))
    except others.NotHere as reason:
        return str(reason)


def _rows(times: dict[str, list[float]], slurm: Srun | str) -> Iterator[Row]:
    plain = _milliseconds(times.pop(_DOCKER, []))
    against = "docker run --rm --network none" if plain else ""
    for name, seconds in times.items():
        what, figure = f"start to end, {name}", _milliseconds(seconds)
        yield Row(what=what, figure=figure, unit="ms", reference=plain, against=against)
    missing = "not here: no Docker daemon answers and none can be started"
    what, why = "start to end, docker run alone", against or missing
    yield Row(what=what, figure=plain, unit="ms", reference=plain, against=why)
    if isinstance(slurm, str):
        yield Row(what=f"start to end, {_SRUN}", figure=None, unit="ms", against=slurm)


def _milliseconds(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds) * 1_000, 1) if seconds else None


def _build(folder: Path) -> str:
    """An image with nothing but Python."""
    layer = write_layer(folder, runtime_tree())
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "config": {"Cmd": list(_COMMAND), "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
    }
    return write_image(folder, [layer], config).digest


@contextmanager
def _served(layout: Path) -> Iterator[str]:
    """A registry of one image; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            digest = self.path.rpartition("/")[2].removeprefix("sha256:")
            path = layout / "blobs" / "sha256" / digest
            body = path.read_bytes() if digest.isalnum() and path.is_file() else b""
            self.send_response(200 if body or self.path == "/v2/" else 404)
            manifest = "/manifests/" in self.path
            kind = "vnd.oci.image.manifest.v1+json" if manifest else "octet-stream"
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def _executors(work: Path) -> AsyncIterator[tuple[dict[str, Executor], tuple[str, ...]]]:
    """Every runtime that works here, with a user namespace and without where it can have the
    choice, by what to call it; and sentences about those that do not work."""
    found: dict[str, Executor] = {}
    unfit = []
    try:
        for name, mapped in _WAYS:
            try:
                executor = await choose(name, work / "cache", user_namespace=mapped)
            except RuntimeUnfit as error:
                unfit.append(f"not measured: {error}")
                continue
            # Where no user namespace can be made, both ways are the same.
            other = found.setdefault(f"{name}, {_namespace(executor)}", executor)
            if other is not executor:
                await executor.aclose()
        yield found, tuple(dict.fromkeys(unfit))
    finally:
        for executor in found.values():
            await executor.aclose()


def _namespace(executor: Executor) -> str:
    missed = any(each.startswith("user namespace:") for each in executor.limits_not_enforced())
    return "no user namespace" if missed else "user namespace"


async def _measure(
    executors: dict[str, Executor],
    image: ImageRef,
    work: Path,
    samples: int,
    slurm: Srun | str,
) -> dict[str, list[float]]:
    """Seconds of each run, by what ran it."""
    times: dict[str, list[float]] = {label: [] for label in executors}
    compare = shutil.which("docker") is not None and any(
        executor.name == "docker" for executor in executors.values()
    )
    plain = partial(_docker, "run", "--rm", "--network", "none", f"{image.name}@{image.digest}")
    for number in range(samples + 1):
        for label, executor in executors.items():
            name = f"{label.replace(', ', '-').replace(' ', '-')}-{number}"
            times[label].append(await _one(executor, image, work, name))
        if compare:
            seconds = await anyio.to_thread.run_sync(plain)
            times.setdefault(_DOCKER, []).append(seconds)
        if not isinstance(slurm, str):
            seconds = await anyio.to_thread.run_sync(slurm, _NOTHING)
            times.setdefault(_SRUN, []).append(seconds)
    if compare:
        forget = partial(_docker, "rmi", "--force", f"{image.name}@{image.digest}")
        await anyio.to_thread.run_sync(forget)
    # The first of each warms caches up.
    return {name: seconds[1:] for name, seconds in times.items()}


async def _one(executor: Executor, image: ImageRef, work: Path, name: str) -> float:
    folder = work / name
    (folder / "in").mkdir(parents=True)
    job = Job(
        name=f"bench-{name}-{work.name}"[:100],
        image=image,
        args=(),
        env={},
        input_dir=folder / "in",
        output_dir=folder / "out",
        limits=_LIMITS,
    )
    began = time.perf_counter()
    outcome = await executor.run(job)
    seconds = time.perf_counter() - began
    if not outcome.succeeded:
        raise RuntimeUnfit(f"{executor.name} could not run a job that does nothing: {outcome}")
    return seconds


def _docker(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run(("docker", *words), capture_output=True, check=True)
    return time.perf_counter() - began
