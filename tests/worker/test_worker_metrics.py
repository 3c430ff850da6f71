"""What Prometheus is told, without a market: figures, labels, and the port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import httpx2
import pytest
from anyio import to_thread
from worker_lab import DEAL, ME, TASK, settings, task_of

from tallystick.chain.book import Book
from tallystick.chain.standing import Purse
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import AppFetched, Assigned, Began, Fact, Failed, Started, Step
from tallystick.poco.values import Address
from tallystick.worker.contact import Contact
from tallystick.worker.metrics import NoMetrics, Steps, families, serving

pytestmark = pytest.mark.anyio

OTHER = Address(b"\x02" * 20)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal[Fact]]:
    kept = Journal[Fact](tmp_path / "journal.db", get_args(Fact))
    yield kept
    kept.close()


def test_steps_are_counted_once_and_only_ours(journal: Journal[Fact]):
    steps = Steps(ME, journal)
    story: list[tuple[float, Fact]] = [
        (10.0, Assigned(ME, 2)),
        (11.0, Began(ME, Step.START)),
        (11.5, Began(OTHER, Step.START)),
        (13.0, Started(ME)),
        (14.0, Began(ME, Step.FETCH_APP)),
        (19.0, AppFetched(ME)),
        (20.0, Began(ME, Step.FETCH_DATA)),
    ]
    for at, fact in story:
        journal.append(str(TASK), fact, at=at)
    for _ in range(2):
        steps.catch_up()
    assert (steps.seconds[Step.START], steps.times[Step.START]) == (2.0, 1)
    assert (steps.seconds[Step.FETCH_APP], steps.times[Step.FETCH_APP]) == (5.0, 1)
    assert steps.times[Step.FETCH_DATA] == 0
    journal.append(str(TASK), Failed(ME, Step.FETCH_DATA, "X"), at=20.5)
    steps.catch_up()
    assert (steps.seconds[Step.FETCH_DATA], steps.times[Step.FETCH_DATA]) == (0.5, 1)


def parts_of(journal: Journal[Fact], folder: Path, **known: Any) -> Any:
    failed = task_of(Assigned(ME, 2), Began(ME, Step.START), Failed(ME, Step.START, "NO_ROOM"))
    held = task_of(Assigned(ME, 2), deal=replace(DEAL, trust=2))
    config = settings(folder, name="w'1", slots=3)
    config.home.mkdir(parents=True)
    Book(config.home / "transactions.db", ME, 31337).close()
    nothing = Purse(account=None, balance=None, gas_price=None)
    session = SimpleNamespace(
        me=ME,
        config=config,
        why_idle=lambda: None,
        contact=Contact(clock=lambda: 100.0),
        journal=journal,
    )
    return SimpleNamespace(
        session=session,
        engine=SimpleNamespace(states={"a": failed, "b": held}),
        money=SimpleNamespace(funds=SimpleNamespace(known=replace(nothing, **known))),
    )


def figures(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


async def test_figures_over_http(journal: Journal[Fact], tmp_path: Path):
    parts = parts_of(journal, tmp_path, balance=7)
    parts.session.contact.met("no answer")
    async with serving(parts, 0) as port, httpx2.AsyncClient() as http:
        told = figures((await http.get(f"http://127.0.0.1:{port}/metrics")).text)
    assert told['tally_replicates_ended_total{cause="NO_ROOM",status="failed"}'] == "1.0"
    assert told['tally_replicates{status="assigned"}'] == "1.0"
    assert (told["tally_slots"], told["tally_slots_busy"]) == ("3.0", "1.0")
    assert told["tally_wallet_wei"] == "7.0"
    assert told["tally_scheduler_failures_total"] == "1.0"
    assert any('name="w\'1"' in name for name in told)
    # What nobody told is not zero.
    assert "tally_deposit_nrlc" not in told
    with pytest.raises(httpx2.ConnectError):
        await to_thread.run_sync(httpx2.get, f"http://127.0.0.1:{port}/metrics")


async def test_a_port_that_is_taken(journal: Journal[Fact], tmp_path: Path):
    parts = parts_of(journal, tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NoMetrics, match=f"metrics_port {port} on the loopback"):
            async with serving(parts, port):
                raise AssertionError("it was served twice")


def test_a_young_worker_has_spent_nothing(journal: Journal[Fact], tmp_path: Path):
    told = {m.name: m for m in families(parts_of(journal, tmp_path), Steps(ME, journal), 160.0)}
    assert told["tally_gas_spent_wei"].samples[0].value == 0
    assert told["tally_last_ping_age_seconds"].samples[0].value == 60
