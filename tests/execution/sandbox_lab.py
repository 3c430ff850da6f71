"""What tests of sandboxes share: an image, a registry, a job to write in one line.

The fixtures of tests/execution and tests/hostile.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from docker_daemon import docker_daemon, why_not
from oci_shop import BUSYBOX, Shop, busybox

from tallystick.execution.choose import choose
from tallystick.execution.executor import Executor, ImageRef, Job, Limits, RuntimeUnfit
from tallystick.execution.network import NetworkPolicy

MIB = 1 << 20


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """A registry with an image `plain` of nothing but busybox."""
    if not BUSYBOX.exists():
        pytest.skip("busybox-static is not installed")
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture(scope="session")
def plain(shop: Shop) -> ImageRef:
    return shop.add("test/plain", busybox(), Cmd=["sh"], Env=["COLOUR=green"])


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """A daemon of the tests' own, or the one that tests run by tests are given."""
    if given := os.environ.get(GIVEN_DOCKER):
        yield given
        return
    if reason := why_not():
        pytest.skip(reason)
    with docker_daemon() as host:
        yield host


GIVEN_DOCKER = "TALLYSTICK_TEST_DOCKER_HOST"
RUNTIMES = ("docker", "runc", "crun", "bubblewrap")


@pytest.fixture(scope="module", params=RUNTIMES)
async def executor(request, tmp_path_factory) -> AsyncIterator[Executor]:
    """Each runtime in turn, as far as this machine has it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "docker":
            patch.setenv("DOCKER_HOST", request.getfixturevalue("docker_host"))
        try:
            executor = await choose(request.param, cache_of(tmp_path_factory, request.param))
        except RuntimeUnfit as error:
            pytest.skip(str(error))
    yield executor
    await executor.aclose()


def cache_of(factory: pytest.TempPathFactory, name: str) -> Path:
    """One folder a session and runtime, so that images are unpacked once."""
    return factory.getbasetemp() / f"cache-{name}"


class Jobs:
    """Makes jobs below one folder."""

    def __init__(self, folder: Path, image: ImageRef) -> None:
        self.folder, self.image, self.count = folder, image, 0

    def __call__(
        self,
        script: str,
        *,
        image: ImageRef | None = None,
        args=None,
        network: NetworkPolicy | None = None,
        note_denials: bool = False,
        **limits,
    ) -> Job:
        self.count += 1
        name = f"test-{os.getpid()}-{self.folder.name[:20]}-{self.count}"
        here = self.folder / name
        (here / "in").mkdir(parents=True)
        (here / "in" / "data.txt").write_text("forty-two\n")
        wanted = {"time": 120.0, "memory": 128 * MIB, "cpus": 1.0, "pids": 64, "disk": 8 * MIB}
        return Job(
            name=name,
            image=image or self.image,
            args=("sh", "-c", script) if args is None else args,
            env={"IEXEC_OUT": "/iexec_out"},
            input_dir=here / "in",
            output_dir=here / "out",
            limits=Limits(**(wanted | limits)),
            network=network or NetworkPolicy(),
            note_denials=note_denials,
        )


@pytest.fixture
def job(tmp_path: Path, plain: ImageRef) -> Jobs:
    return Jobs(tmp_path, plain)
