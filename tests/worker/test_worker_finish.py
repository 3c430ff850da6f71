"""Contributing and finalizing at once: against the real contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worker_lab import Bench, bench

from tallystick.chain.records import TaskState
from tallystick.lifecycle.facts import (
    AppFetched,
    Checked,
    Computed,
    DataFetched,
    Failed,
    Published,
    Started,
    Step,
)
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.values import Digest

pytestmark = pytest.mark.anyio

DIGEST, OTHER = Digest(b"\x5d" * 32), Digest(b"\x66" * 32)


@pytest.fixture
async def worker(trade: Any, hub: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench(trade, hub, tmp_path, worker=2)
    yield made
    made.sender.close()
    made.journal.close()


async def published(worker: Bench, **deal: Any) -> Task:
    """A task whose result is in a store, and on which our vote may be the only one."""
    steps = [kind(worker.me) for kind in (Started, AppFetched, DataFetched)]
    done = (Computed(worker.me, DIGEST, 0), Checked(worker.me), Published(worker.me, "{}"))
    task = worker.after(await worker.replicate(**deal), *steps, *done)
    mine = replace(task.replicates[worker.me], alone=True)
    return replace(task, replicates={worker.me: mine})


def other_votes(worker: Bench, task: Task) -> None:
    """Another worker's vote decides the task."""
    other = worker.trade.chain.workers[1]
    permission = worker.trade.permission(task.id, other.address, deal=task.deal.id)
    call = worker.trade.calls.contribute(
        task.id,
        result_hash(task.id, OTHER),
        result_seal(other.address, task.id, OTHER),
        authorization=permission.signature.value,
    )
    worker.trade.send(other, call)


async def test_one_transaction_ends_the_task_and_locks_nothing(worker: Bench):
    task, before = await published(worker), await worker.hub.account(worker.me)
    assert await worker.steps.votes.finish(task, DIGEST) is None
    known = await worker.hub.task(task.id)
    assert known is not None
    assert (known.state, known.digest, known.results) == (TaskState.COMPLETED, DIGEST, b"{}")
    after = await worker.hub.account(worker.me)
    assert after.locked == before.locked
    assert after.stake > before.stake
    assert await worker.steps.votes.finish(task, DIGEST) is None, "it is there already"


async def test_no_stake_is_asked_for(worker: Bench):
    task = await published(worker, price=10)
    account = await worker.hub.account(worker.me)
    withdraw = worker.trade.calls.withdraw(account.stake)
    worker.trade.chain.transact(worker.me, withdraw.to, withdraw.data)
    assert await worker.steps.votes.check(task) == Checked(worker.me)
    worker.trade.chain.fund(worker.me, deposit=account.stake)


async def test_somebody_was_first(worker: Bench):
    task = await published(worker)
    other_votes(worker, task)
    failed = Failed(worker.me, Step.CHECK, "TASK_NOT_ACTIVE")
    assert await worker.steps.votes.check(task) == failed
    assert await worker.steps.votes.finish(task, DIGEST) is None, "the chain tells the rest"


async def test_no_single_vote_decides_at_a_higher_trust(worker: Bench):
    """A scheduler that says otherwise is wrong."""
    task = await published(worker, trust=16)
    failed = Failed(worker.me, Step.CHECK, "TRUST_NOT_1")
    assert await worker.steps.votes.check(task) == failed


async def test_a_vote_that_waits_for_others_leaves_no_room(worker: Bench):
    task = await published(worker, trust=16)
    other_votes(worker, task)
    failed = Failed(worker.me, Step.FINISH, "TASK_ALREADY_CONTRIBUTED")
    assert await worker.steps.votes.finish(task, DIGEST) == failed


async def test_a_wallet_that_cannot_pay(worker: Bench):
    task, before = await published(worker), await worker.hub.balance(worker.me)
    try:
        worker.trade.chain.rpc("anvil_setBalance", str(worker.me), hex(1000))
        failed = Failed(worker.me, Step.FINISH, "OUT_OF_GAS")
        assert await worker.steps.votes.finish(task, DIGEST) == failed
    finally:
        worker.trade.chain.rpc("anvil_setBalance", str(worker.me), hex(before))


async def test_without_a_link_nothing_is_finalized(worker: Bench):
    task = await published(worker)
    mine = replace(task.replicates[worker.me], published=None)
    task = replace(task, replicates={worker.me: mine})
    failed = Failed(worker.me, Step.FINISH, "RESULT_LINK_MISSING")
    assert await worker.steps.votes.finish(task, DIGEST) == failed
