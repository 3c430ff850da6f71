"""What is proved of a file is proved of a server by the same tests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tallystick.chain.rpc import Rpc

for folder in ("engine", "chain"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
pytest.register_assert_rewrite("test_engine", "test_chain_sender")

from chain_lab import Lab  # noqa: E402


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def lab(anvil_binary: Path, tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(anvil_binary, tmp_path, stack)


@pytest.fixture
async def lab_rpc(lab: Lab) -> AsyncIterator[Rpc]:
    async with Rpc([lab.url]) as client:
        yield client
