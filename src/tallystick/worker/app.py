"""The worker as a program."""

from __future__ import annotations

import fcntl
from contextlib import AsyncExitStack
from typing import IO

import anyio

from tallystick.worker.adoption import Leftovers
from tallystick.worker.config import WorkerConfig
from tallystick.worker.desk import open_desk
from tallystick.worker.ending import part
from tallystick.worker.exclusive import hold_wallet
from tallystick.worker.foreign.session import V9Session
from tallystick.worker.parts import Parts, build
from tallystick.worker.reload import watch
from tallystick.worker.start import join, make_ready


class AlreadyRunning(Exception):
    """A worker belongs to one wallet and one folder, and another process has this one."""

    exit_code = 2


async def serve(config: WorkerConfig) -> None:
    """Run a worker until it is told to stop."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_one(config))
        ready = await make_ready(config, stack)
        wallet, executor = ready.wallet, ready.executor
        stack.enter_context(hold_wallet(config.wallet, wallet.address, config.name))
        desk = await stack.enter_async_context(open_desk(config))
        desk.executor = executor.name
        parts = desk.parts = await build(config, wallet, executor, stack, foreign=V9Session)
        left = Leftovers(executor, wallet.address, parts.engine.states.values, config.name)
        await left.sweep()
        await _tell_prometheus(parts, stack)
        async with anyio.create_task_group() as tasks:
            for service in parts.services:
                tasks.start_soon(service)
            if config.file is not None:
                tasks.start_soon(watch, parts.policies, parts.session.changes.beat)
            async with parts.engine.working():
                tasks.start_soon(left.watch, parts.session.changes)
                tasks.start_soon(join, parts, ready)
                await part(parts)
            tasks.cancel_scope.cancel()


async def _tell_prometheus(parts: Parts, stack: AsyncExitStack) -> None:
    port = parts.session.config.metrics_port
    if port is not None:
        from tallystick.worker.metrics import serving  # noqa: PLC0415 (only where it is used)

        await stack.enter_async_context(serving(parts, port))


def _only_one(config: WorkerConfig) -> IO[bytes]:
    """Hold the worker's folder for this process alone. Raises AlreadyRunning."""
    config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (config.home / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        lock.close()
        raise AlreadyRunning(
            f"Another worker runs with the folder {config.home}: stop it, or give this one"
            " another name and another wallet."
        ) from held
    return lock
