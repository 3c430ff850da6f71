"""Dashboard and alerts ask a worker for nothing that it does not tell."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from monitoring import asked_of, unanswered
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from test_worker_metrics import ME, parts_of

from tallystick.chain.records import Account
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Fact
from tallystick.worker.metrics import Steps, families

JOB = "tallystick-worker"


@pytest.fixture
def exposed(tmp_path: Path) -> str:
    journal = Journal[Fact](tmp_path / "journal.db", get_args(Fact))
    parts = parts_of(journal, tmp_path, account=Account(5, 6), balance=7, gas_price=8)
    told = list(families(parts, Steps(ME, journal), 160.0))
    journal.close()

    class Read(Collector):
        def collect(self):
            return told

    registry = CollectorRegistry()
    registry.register(Read())
    return generate_latest(registry).decode()


def test_every_metric_exists(exposed: str):
    assert len({name for name, _ in asked_of(JOB)}) > 10
    assert unanswered(JOB, exposed) == []
    assert "tally_gas_price_cap_wei" in exposed


def test_a_metric_that_does_not_exist_is_found(exposed: str):
    assert unanswered(JOB, exposed.replace("tally_asking", "tally_asks")) != []
