"""What the whole-market tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from docker_daemon import docker_daemon, why_not
from doomed_market import Stage, doomed_market
from market_lab import Lab, market_lab

from tallystick.devnet.packages import PocoPackages, default_cache


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cache() -> Path:
    return default_cache()


@pytest.fixture(scope="session")
def executor() -> Iterator[str]:
    """What workers run apps with: a Docker daemon of the tests' own, else bubblewrap."""
    if why_not():
        yield "bubblewrap"
        return
    with docker_daemon() as host, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", host)
        yield "docker"


@pytest.fixture(scope="module")
async def lab(
    poco_packages: PocoPackages, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    """One market with three workers for all tests of a module."""
    folder = tmp_path_factory.mktemp("market")
    async with market_lab(folder, workers=3, executor=executor) as found:
        await found.workers_are_back(3)
        yield found


@pytest.fixture(scope="module")
def die_at_start() -> bool:
    """Whether those of a `stage` die at every act of a start too, before any life: a module
    that wants it says so with a fixture of this name."""
    return False


@pytest.fixture(scope="module")
async def stage(
    poco_packages: PocoPackages,
    executor: str,
    tmp_path_factory: pytest.TempPathFactory,
    die_at_start: bool,
) -> AsyncIterator[Stage]:
    """A market whose scheduler and workers can be killed at every act of theirs."""
    folder = tmp_path_factory.mktemp("market")
    async with doomed_market(folder, executor, die_at_start=die_at_start) as found:
        yield found
