"""A result store before the real contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from results_lab import URL, Market, Result, client_of, result

from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc
from tallystick.results.app import create_app
from tallystick.results.config import ResultsConfig
from tallystick.wire.results import ResultsClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def market(shared_chain: Any) -> Market:
    return Market(shared_chain)


@pytest.fixture
def worker(shared_chain: Any) -> Any:
    return shared_chain.workers[0]


@pytest.fixture
async def hub(shared_chain: Any) -> AsyncIterator[Hub]:
    async with Rpc([shared_chain.url]) as rpc:
        yield await Hub.open(rpc, shared_chain.hub)


@pytest.fixture
def config(tmp_path: Path, shared_chain: Any) -> ResultsConfig:
    return ResultsConfig(
        data_dir=tmp_path / "results",
        rpc_urls=(shared_chain.url,),
        hub=shared_chain.hub,
        public_url=URL,
        max_result_bytes=1 << 20,
        max_unpacked_bytes=4 << 20,
        max_files=100,
    )


@pytest.fixture
async def store(config: ResultsConfig, hub: Hub) -> AsyncIterator[ResultsClient]:
    app = create_app(config, hub)
    async with client_of(app) as client:
        yield client
    app.state.desk.store.close()


@pytest.fixture
def good(tmp_path: Path) -> Result:
    return result(tmp_path / "job")
