"""SIGHUP, or a settings file that was changed: the policies in it hold from then on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any, Protocol

import anyio

log = logging.getLogger(__name__)

LOOK = 10.0
"""Seconds between looks at the file: a change is said soon, also while nobody asks for work.
Whoever asks the worker anything about its policies, or sends SIGHUP, has it read at once."""


class Policies(Protocol):
    """A file of policies."""

    @property
    def held(self) -> Any:
        """What held when anybody asked last."""

    @property
    def current(self) -> Any:
        """What holds now."""

    def forget(self) -> None:
        """Read the file again, even if it looks the same."""


async def watch(policies: Policies, changed: Callable[[], None]) -> None:
    """Read the policies again when their file changes or on SIGHUP, and call `changed` then,
    until cancelled. A file that cannot be used changes nothing, and is said in the log."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_obey, policies, changed)
        while True:
            _look(policies, changed)
            await anyio.sleep(LOOK)


async def _obey(policies: Policies, changed: Callable[[], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            log.info("The policies are read again, as SIGHUP asks for.")
            policies.forget()
            _look(policies, changed)


def _look(policies: Policies, changed: Callable[[], None]) -> None:
    before = policies.held
    if policies.current != before:
        changed()
