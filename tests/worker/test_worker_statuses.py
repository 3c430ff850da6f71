"""Statuses reached by their causes: real steps before the real contracts, and their history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worker_lab import Bench, bench

from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Computed,
    ConsensusReached,
    Contributed,
    DataFetched,
    Fact,
    Held,
    Resumed,
    Started,
    Step,
)
from tallystick.lifecycle.history import history, names
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Digest
from tallystick.worker.steps import WorkerRules

pytestmark = pytest.mark.anyio

DIGEST, OTHER = Digest(b"\x5d" * 32), Digest(b"\x66" * 32)
ETHER = 10**18


async def computed(worker: Bench, digest: Digest | None = DIGEST, **request: Any) -> Task:
    task, me = await worker.replicate(trust=16, **request), worker.me
    return worker.after(
        task, Started(me), AppFetched(me), DataFetched(me), Computed(me, digest, 0)
    )


async def go_on(worker: Bench, task: Task) -> Fact | None:
    """Do what is due, as the engine does: announce it, do it, keep what came of it."""
    worker.engine._rules.clock.saw(worker.trade.chain.now)  # type: ignore[attr-defined]
    rules: Any = worker.engine._rules
    assert isinstance(rules, WorkerRules)
    (command,) = rules.agenda(worker.task(task.id))
    if (begun := rules.begins(worker.task(task.id), command)) is not None:
        worker.after(task, begun)
    fact = await worker.steps.perform(command)
    if fact is not None:
        worker.after(task, fact)
    return fact


def told(worker: Bench, task: Task, vocabulary: Any = "seed") -> list[str]:
    rows = history(worker.journal.read(stream=str(task.id)))[worker.me]
    return list(names(rows, vocabulary))


def asides(worker: Bench, task: Task) -> list[str]:
    rows = history(worker.journal.read(stream=str(task.id)))[worker.me]
    return [name for row in rows if row.aside for name in row.seed]


def set_balance(worker: Bench, wei: int) -> None:
    worker.trade.chain.rpc("anvil_setBalance", str(worker.me), hex(wei))


def winning(worker: Bench, task: Task, digest: Digest) -> None:
    """What the chain tells when our vote was for `digest` and has won."""
    vote = result_hash(task.id, digest)
    deadline = task.deal.start + 4 * task.deal.time_unit
    worker.after(task, Contributed(worker.me, vote, 2), ConsensusReached(vote, deadline))


async def test_a_vote_that_counts_can_be_cast(worker: Bench):
    task = await computed(worker)
    await go_on(worker, task)
    assert told(worker, task)[-1] == "CAN_CONTRIBUTE"
    assert told(worker, task, "modern")[-1] == "COMPUTED"
    await go_on(worker, task)
    assert told(worker, task)[-2:] == ["CAN_CONTRIBUTE", "CONTRIBUTING"]


async def test_without_a_digest_nothing_is_contributed(worker: Bench):
    task = await computed(worker, None)
    await go_on(worker, task)
    cause = "DETERMINISM_HASH_NOT_FOUND"
    assert told(worker, task)[-1] == f"CANT_CONTRIBUTE_SINCE_{cause}"
    assert told(worker, task, "modern")[-2:] == ["CONTRIBUTING", "CONTRIBUTE_FAILED"]


async def test_a_stake_withdrawn_after_the_work_began(worker: Bench, trade: Any):
    task = await computed(worker, price=100)
    free = (await worker.hub.account(worker.me)).stake
    actor = trade.chain.workers[0]
    try:
        trade.send(actor, trade.calls.withdraw(free))
        await go_on(worker, task)
    finally:
        trade.chain.fund(worker.me, deposit=free)
    assert told(worker, task)[-1] == "CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW"


async def test_a_wallet_drained_before_and_after_the_check(
    trade: Any, hub: Any, tmp_path: Path
):
    worker = bench(trade, hub, tmp_path, worker=2)
    early, late = await computed(worker), await computed(worker)
    await go_on(worker, late)
    set_balance(worker, 1_000)
    await go_on(worker, early)
    await go_on(worker, late)
    set_balance(worker, ETHER)
    assert told(worker, early)[-2:] == ["CAN_CONTRIBUTE", "OUT_OF_GAS"]
    assert told(worker, late)[-2:] == ["CONTRIBUTING", "CONTRIBUTE_FAILED"]
    worker.sender.close()
    worker.journal.close()


async def test_a_digest_that_does_not_fit_the_vote_cannot_be_revealed(worker: Bench):
    task = await computed(worker)
    winning(worker, task, OTHER)
    await go_on(worker, task)
    assert told(worker, task)[-2:] == ["CONTRIBUTED", "CANT_REVEAL"]
    assert told(worker, task, "modern")[-2:] == ["REVEALING", "REVEAL_FAILED"]


async def test_a_wallet_drained_before_the_reveal_is_out_of_gas_until_refilled(
    trade: Any, hub: Any, tmp_path: Path
):
    worker = bench(trade, hub, tmp_path, worker=2)
    task = await worker.replicate(trust=1)
    me = worker.me
    worker.after(task, Started(me), AppFetched(me), DataFetched(me), Computed(me, DIGEST, 0))
    await go_on(worker, task)
    await go_on(worker, task)
    winning(worker, task, DIGEST)
    set_balance(worker, 1_000)
    assert await go_on(worker, task) == Held(me, Step.REVEAL, "OUT_OF_GAS")
    assert asides(worker, task) == ["OUT_OF_GAS"]
    set_balance(worker, ETHER)
    assert await go_on(worker, task) == Resumed(me)
    assert asides(worker, task) == ["OUT_OF_GAS", "REVEALING"]
    known = await worker.hub.task(task.id)
    assert known is not None
    assert known.reveals == 1
    worker.sender.close()
    worker.journal.close()


async def test_what_others_decided_is_dropped(worker: Bench):
    task = await computed(worker)
    worker.after(task, ConsensusReached(result_hash(task.id, OTHER), task.deal.start + 9_999))
    assert await go_on(worker, task) == Aborted(worker.me, "CONSENSUS_REACHED")
    assert told(worker, task)[-1] == "ABORTED_ON_CONSENSUS_REACHED"
    assert told(worker, task, "modern")[-1] == "ABORTED"


async def test_what_nobody_decided_in_time_is_dropped(worker: Bench, trade: Any):
    """By the chain's clock, which the last test of this file moves on."""
    task = await computed(worker)
    trade.chain.set_time(task.deal.contribution_deadline)
    assert await go_on(worker, task) == Aborted(worker.me, "CONTRIBUTION_TIMEOUT")
    assert told(worker, task)[-1] == "ABORTED_ON_CONTRIBUTION_TIMEOUT"
