"""Dashboard and alerts ask a scheduler for nothing that it does not tell."""

from __future__ import annotations

import pytest
from monitoring import asked_of, unanswered
from prometheus_client import CollectorRegistry, generate_latest
from scheduler_office import NOW, Office

from tallystick.chain.records import Head
from tallystick.lifecycle.stages import task_status
from tallystick.poco.values import Hash
from tallystick.scheduler import admin
from tallystick.scheduler.admin_metrics import Takings

pytestmark = pytest.mark.anyio
JOB = "tallystick-scheduler"


def money() -> str:
    """What the operator's part tells: the names are those of the office's figures."""
    constants = admin.Office.figures.__code__.co_consts
    names = next(
        each for each in constants if isinstance(each, tuple) and "pool_gas_wei" in each
    )
    registry = CollectorRegistry()
    registry.register(Takings(lambda: dict.fromkeys(names, 1.0)))
    return generate_latest(registry).decode()


async def test_every_metric_exists(office: Office):
    signs = office.app.state.vitals
    signs.head = lambda: Head(7, Hash(bytes(32)), Hash(bytes(32)), NOW)
    signs.gas_spent = lambda: 42
    task = office.buy()
    exposed = (await office.http.get("/prometheus")).text + money()
    assert len({name for name, _ in asked_of(JOB)}) > 20
    assert unanswered(JOB, exposed) == []
    known = office.app.state.window.pool.engine.states[str(task)]
    states = {labels["status"] for _, labels in asked_of(JOB) if "status" in labels}
    assert task_status(known) in states | {"RECEIVED"}
    assert states <= {"INITIALIZED", "RUNNING", "CONSENSUS_REACHED", "COMPLETED", "FAILED"}
