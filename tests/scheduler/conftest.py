"""A scheduler for every test of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scheduler_office import Office, opened

from tallystick.chain.rpc import Rpc


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def office(shared_chain: Any, tmp_path: Path) -> AsyncIterator[Office]:
    async with Rpc([shared_chain.url]) as rpc:
        office = await opened(shared_chain, tmp_path, rpc)
        async with office.http:
            yield office
        office.journal.close()
