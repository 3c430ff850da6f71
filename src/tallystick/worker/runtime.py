"""The container runtime that the settings ask for."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tallystick.execution.choose import choose
from tallystick.execution.executor import Executor
from tallystick.execution.pulls import Sizes
from tallystick.worker.config import WorkerConfig


async def open_executor(config: WorkerConfig, stack: AsyncExitStack) -> Executor:
    """What runs apps here, until `stack` ends. Raises RuntimeUnfit."""
    executor = await choose(
        config.executor,
        config.images,
        sizes=Sizes(download=config.max_image, keep=config.max_image_cache),
        credentials={
            login.address: (login.username, login.password.get_secret_value())
            for login in config.registries
        },
        policy=config.pull_policy,
        docker_runtime=config.docker_runtime,
    )
    stack.push_async_callback(executor.aclose)
    return executor
