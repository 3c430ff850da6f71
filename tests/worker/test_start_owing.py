"""What a worker owes outlives a start that would otherwise be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from worker_lab import DEAL, ME, TASK

from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Aborted, Assigned, Fact, Initialized, Ordered
from tallystick.poco.values import Address, Signature
from tallystick.wire.scheduler import PublicConfig, SchedulerClient
from tallystick.worker.start import VersionGate, owes

pytestmark = pytest.mark.anyio


def write(home: Path, *facts: Fact) -> None:
    home.mkdir(exist_ok=True)
    journal = Journal[Fact](home / "journal.db", get_args(Fact))
    for fact in facts:
        journal.append(str(TASK), fact, at=0.0)
    journal.close()


def test_a_replicate_that_is_not_at_its_end_is_owed(tmp_path: Path) -> None:
    assert not owes(tmp_path, ME), "a worker that never ran owes nothing"
    assert not (tmp_path / "journal.db").exists(), "and asking leaves nothing behind"
    write(tmp_path, Ordered(DEAL, 0), Initialized(), Assigned(ME, 2, Signature(bytes(65))))
    assert owes(tmp_path, ME)
    assert not owes(tmp_path, Address(b"\x02" * 20)), "another wallet's is not ours"
    write(tmp_path, Aborted(ME, "ABORTED_BY_WORKER"))
    assert not owes(tmp_path, ME)


class Pool:
    """A scheduler over ASGI's place, whose wish for a version changes."""

    def __init__(self) -> None:
        self.required = ""

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        match request.url.path:
            case "/workers/config":
                told = PublicConfig(
                    worker_pool_address=ME,
                    scheduler_public_address=ME,
                    config_server_url="http://pool",
                    resultRepositoryURL="http://results",
                    required_worker_version=self.required,
                )
                return httpx2.Response(200, content=told.json_bytes())
            case "/workers/ping":
                fresh = request.headers["authorization"] == "Bearer fresh"
                return httpx2.Response(200 if fresh else 401, text="pong")
            case "/workers/login":
                return httpx2.Response(200, text="fresh")
        return httpx2.Response(200, text="AAAA")


async def test_the_version_is_looked_at_again_at_every_login() -> None:
    """A pool that asks for another version while we run gets no new work from us, and is
    still told of what was begun."""
    pool, signed = Pool(), bytes(65)
    client: Any = SchedulerClient("http://pool", wallet=ME, sign=lambda digest: signed)
    client._http = httpx2.AsyncClient(
        base_url="http://pool", transport=httpx2.MockTransport(pool.answer)
    )
    async with client:
        gate = VersionGate(client)
        await client.login()
        assert gate.closed() is None
        pool.required = ">=99"
        await client.ping()
        assert gate.closed() is None, "nobody has logged in since"
        client._token = "expired"
        assert await client.ping() == "pong"
        reason = gate.closed()
        assert reason is not None
        assert reason.code == "BAD_VERSION"
        assert ", required:>=99]" in reason.sentence
