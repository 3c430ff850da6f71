"""Facts that arrive in the same moment: a step may be over before it could begin."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import anyio
import pytest
from worker_lab import DEAL, ME, TASK

from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.journal import Journal
from tallystick.lifecycle.agenda import WorkerCommand
from tallystick.lifecycle.facts import (
    AppFetched,
    Assigned,
    Computed,
    ConsensusReached,
    Contributed,
    DataFetched,
    Fact,
    Initialized,
    Ordered,
    Revealed,
    Started,
)
from tallystick.lifecycle.replicate import Status
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Digest
from tallystick.worker.session import WorkerEngine
from tallystick.worker.steps import WorkerRules

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x5d" * 32)
VOTE = result_hash(TASK, DIGEST)


async def test_consensus_and_our_reveal_in_one_block_range(tmp_path: Path):
    """A worker that crashed after its reveal was sent reads both at once."""
    performed: list[WorkerCommand] = []

    async def perform(command: WorkerCommand) -> Fact | None:
        performed.append(command)
        await anyio.sleep_forever()

    journal = Journal[Fact](tmp_path / "journal.db", get_args(Fact))
    clock = ChainClock()
    clock.saw(10)
    engine: WorkerEngine = Engine(
        journal=journal, rules=WorkerRules(ME, clock), perform=perform
    )
    before: list[Fact] = [
        Ordered(DEAL, 0),
        Initialized(),
        Assigned(ME, 2),
        Started(ME),
        AppFetched(ME),
        DataFetched(ME),
        Computed(ME, DIGEST, 0),
        Contributed(ME, VOTE, 2),
    ]
    for fact in before:
        engine.record(str(TASK), fact)
    async with engine.working():
        engine.record(str(TASK), ConsensusReached(VOTE, 10_000))
        engine.record(str(TASK), Revealed(ME, DIGEST))
        await anyio.wait_all_tasks_blocked()
    assert performed == []
    assert engine.states[str(TASK)].replicates[ME].status is Status.REVEALED
    journal.close()
