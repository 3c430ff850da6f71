"""What everybody may read and nobody may change: directory, explorer and image registry.

They take no token at all, so a route that changes something would be everybody's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from auth_matrix import routes_of
from test_devnet_explorer import known_of

from tallystick.devnet.explorer.abis import Dictionary
from tallystick.devnet.explorer.app import application as explorer
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.registry import create_app as registry
from tallystick.devnet.shelf import Shelf
from tallystick.directory.app import application as directory
from tallystick.directory.board import Board

pytestmark = pytest.mark.anyio

VERBS: Final = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
DIRECTORY: Final = {"GET /", "GET /pools.json", "GET /events", "GET /static/{name}"}
REGISTRY: Final = {
    *("GET /v2/", "GET /v2/_catalog", "GET /v2/{name:path}/tags/list"),
    *("GET /v2/{name:path}/manifests/{reference}", "GET /v2/{name:path}/blobs/{digest}"),
}
EXPLORER: Final = {
    *("GET /", "GET /events", "GET /static/{name}", "GET /search"),
    *("GET /blocks", "GET /block/{at}", "GET /transactions"),
    *("GET /transaction/{hash}", "GET /tx/{hash}"),
    *("GET /accounts", "GET /account/{address}", "GET /address/{address}"),
    *("GET /deals", "GET /deal/{id}", "GET /tasks", "GET /task/{id}"),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def nobody_changes(app: Any, routes: set[str]) -> None:
    """Each route is known, and takes no verb but those that read, whatever is sent along."""
    assert routes_of(app) == routes
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for route in routes:
            path = route.split(" ")[1].replace("{name:path}", "x")
            for verb in VERBS:
                answer = await http.request(
                    verb, path, content=b"x", headers={"authorization": "Bearer x"}
                )
                assert answer.status_code == 405, (verb, route, answer.status_code)


async def test_a_directory_is_only_read():
    await nobody_changes(directory(Board([])), DIRECTORY)


async def test_a_registry_is_only_read(tmp_path: Path):
    await nobody_changes(registry(Shelf(tmp_path / "shelf")), REGISTRY)


async def test_an_explorer_is_only_read(shared_chain: Any, poco_packages: PocoPackages):
    dictionary = Dictionary.of(poco_packages.poco)
    async with explorer(known_of(shared_chain, poco_packages.poco), dictionary) as app:
        await nobody_changes(app, EXPLORER)
