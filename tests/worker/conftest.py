"""A worker before the real contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from worker_lab import Bench, Trade, bench

from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def trade(shared_chain: Any) -> Trade:
    return Trade(shared_chain)


@pytest.fixture
async def hub(shared_chain: Any) -> AsyncIterator[Hub]:
    async with Rpc([shared_chain.url]) as rpc:
        yield await Hub.open(rpc, shared_chain.hub)


@pytest.fixture
async def worker(trade: Trade, hub: Hub, tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench(trade, hub, tmp_path)
    async with made.steps.store:
        yield made
    made.sender.close()
    made.journal.close()
