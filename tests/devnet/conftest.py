"""Waiting, for tests of processes."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - other processes send no events
            await anyio.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., object]:
    """`await until(condition)` returns once it holds, and fails after ten seconds."""
    return wait_until
