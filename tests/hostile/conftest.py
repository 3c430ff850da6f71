"""The fixtures of the sandboxes, for apps that mean harm; gVisor is one of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tallystick.execution.choose import choose
from tallystick.execution.executor import Executor, RuntimeUnfit

sys.path.append(str(Path(__file__).parent.parent / "execution"))

from sandbox_lab import RUNTIMES, anyio_backend, cache_of, docker_host, job, plain, shop


@pytest.fixture(scope="module", params=(*RUNTIMES, "runsc"))
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


__all__ = ["anyio_backend", "docker_host", "executor", "job", "plain", "shop"]
