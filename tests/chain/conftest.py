"""What the chain's tests share: real nodes, and clients of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from chain_lab import Lab

from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def lab(anvil_binary: Path, tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(anvil_binary, tmp_path, stack)


@pytest.fixture
def second_lab(anvil_binary: Path, tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(anvil_binary, tmp_path / "second", stack)


@pytest.fixture
async def lab_rpc(lab: Lab) -> AsyncIterator[Rpc]:
    async with Rpc([lab.url]) as client:
        yield client


@pytest.fixture
async def rpc(shared_chain) -> AsyncIterator[Rpc]:
    """A client of the node that the tests of a module share."""
    async with Rpc([shared_chain.url]) as client:
        yield client


@pytest.fixture
async def hub(shared_chain, rpc: Rpc) -> Hub:
    return await Hub.open(rpc, shared_chain.hub)
