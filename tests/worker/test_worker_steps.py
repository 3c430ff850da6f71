"""Look, then act: every step against the real contracts, twice where once is meant."""

from __future__ import annotations

import errno
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from worker_lab import Bench, bench

from tallystick.devnet.actors import Actor, Grant, endow
from tallystick.engine.errors import NoRoom, Refused, Unavailable
from tallystick.execution.executor import ImageNotForUs, ImageUnavailable
from tallystick.lifecycle.agenda import Abort, Do
from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Began,
    Completed,
    Computed,
    ConsensusReached,
    Contributed,
    DataFetched,
    Fact,
    Failed,
    Finalized,
    Revealed,
    Started,
    Step,
    Uploaded,
    UploadRequested,
)
from tallystick.lifecycle.margins import headroom
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash
from tallystick.poco.params import DealParams, encode_params
from tallystick.poco.values import Digest
from tallystick.worker import supplies
from tallystick.worker.folder import TaskFolder

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x5d" * 32)
UP_TO_COMPUTED = (Started, AppFetched, DataFetched)


def computed(worker: Bench, task: Task, digest: Digest | None = DIGEST) -> Task:
    facts: list[Fact] = [kind(worker.me) for kind in UP_TO_COMPUTED]
    return worker.after(task, *facts, Computed(worker.me, digest, 0))


async def do(
    worker: Bench, task: Task, step: Step, digest: Digest | None = None
) -> Fact | None:
    return await worker.steps.perform(Do(task.id, step, digest))


def transactions(worker: Bench) -> int:
    answer = worker.trade.chain.rpc("eth_getTransactionCount", str(worker.me), "latest")
    return int(answer, 16)


async def test_a_worker_with_a_stake_starts(worker: Bench):
    task = await worker.replicate()
    assert await do(worker, task, Step.START) == Started(worker.me)
    assert TaskFolder(worker.config.home, task.id).input.is_dir()


async def test_a_worker_without_a_stake_does_not_begin(worker: Bench, trade: Any):
    """10,000 RLC are free, and the deal's stake is 30 percent of the pool's price."""
    chain = trade.chain
    poor = Actor.named("poor worker")
    endow(chain.console, chain.contracts, [Grant(to=poor.address, wei=10**18, deposit=2)])
    worker = replace(worker, wallet=type(worker.wallet)(poor.key))
    worker.steps.me = worker.steps.votes.funds.me = poor.address
    task = await worker.replicate(price=10)
    assert task.deal.worker_stake == 3
    assert await do(worker, task, Step.START) == Failed(
        poor.address, Step.START, "STAKE_TOO_LOW"
    )
    assert not TaskFolder(worker.config.home, task.id).root.exists()
    endow(chain.console, chain.contracts, [Grant(to=poor.address, deposit=1)])
    assert await do(worker, task, Step.START) == Started(poor.address)
    # What another replicate of ours will lock is not free.
    worker.after(task, Started(poor.address))
    second = await worker.replicate(price=10)
    assert await do(worker, second, Step.START) == Failed(
        poor.address, Step.START, "STAKE_TOO_LOW"
    )


async def test_a_vote_is_sent_once(worker: Bench):
    task = computed(worker, await worker.replicate(trust=16))
    before = transactions(worker)
    for _ in range(3):
        assert await do(worker, task, Step.CONTRIBUTE, DIGEST) is None
    assert transactions(worker) == before + 1
    known = await worker.hub.contribution(task.id, worker.me)
    assert known is not None
    assert known.result_hash == result_hash(task.id, DIGEST)


async def test_a_vote_needs_a_digest_and_an_authorization(worker: Bench):
    task = computed(worker, await worker.replicate(), None)
    assert await do(worker, task, Step.CONTRIBUTE) == Failed(
        worker.me, Step.CONTRIBUTE, "DETERMINISM_HASH_NOT_FOUND"
    )
    mine = replace(task.replicates[worker.me], authorization=None)
    worker.engine.states[str(task.id)] = replace(task, replicates={worker.me: mine})
    assert await do(worker, task, Step.CONTRIBUTE, DIGEST) == Failed(
        worker.me, Step.CONTRIBUTE, "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
    )


async def test_a_vote_that_the_contract_refuses(worker: Bench, trade: Any):
    """An authorization by nobody who may: asked again, the answer is the same."""
    task = computed(worker, await worker.replicate())
    forged = trade.permission(
        task.id, worker.me, deal=task.deal.id, signer=trade.chain.requester
    )
    mine = replace(task.replicates[worker.me], authorization=forged.signature.value)
    worker.engine.states[str(task.id)] = replace(task, replicates={worker.me: mine})
    with pytest.raises(Refused):
        await do(worker, task, Step.CONTRIBUTE, DIGEST)


async def test_a_vote_on_what_was_decided_meanwhile(worker: Bench, trade: Any):
    """Another worker's vote was enough; the chain will tell, and there is nothing to do."""
    task = computed(worker, await worker.replicate())
    other = trade.chain.workers[1]
    permission = trade.permission(task.id, other.address, deal=task.deal.id)
    call = trade.calls.contribute(
        task.id,
        result_hash(task.id, DIGEST),
        result_hash(task.id, DIGEST),
        authorization=permission.signature.value,
    )
    trade.send(other, call)
    assert await do(worker, task, Step.CONTRIBUTE, DIGEST) is None
    assert await worker.hub.contribution(task.id, worker.me) is None


async def test_a_worker_without_ether(trade: Any, hub: Any, tmp_path: Any):
    worker = bench(trade, hub, tmp_path, worker=3)
    task = computed(worker, await worker.replicate(trust=16))
    trade.chain.rpc("anvil_setBalance", str(worker.me), hex(1_000))
    assert await do(worker, task, Step.CONTRIBUTE, DIGEST) == Failed(
        worker.me, Step.CONTRIBUTE, "OUT_OF_GAS"
    )
    worker.sender.close()
    worker.journal.close()


async def test_a_vote_is_revealed_once_and_only_when_it_won(worker: Bench):
    task = computed(worker, await worker.replicate())
    assert await do(worker, task, Step.REVEAL, DIGEST) is None, "there is nothing to reveal"
    await do(worker, task, Step.CONTRIBUTE, DIGEST)
    before = transactions(worker)
    with pytest.raises(Refused):
        await do(worker, task, Step.REVEAL, Digest(b"\x66" * 32))
    for _ in range(3):
        assert await do(worker, task, Step.REVEAL, DIGEST) is None
    assert transactions(worker) == before + 1
    known = await worker.hub.task(task.id)
    assert known is not None
    assert known.reveals == 1


class NoImages:
    """An executor that gets no image."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    async def fetch(self, image: Any, *, time_limit: float) -> None:
        raise self.problem


async def test_an_image_that_nobody_can_have_is_voted_on(worker: Bench):
    object.__setattr__(worker.steps.supplies, "executor", NoImages(ImageUnavailable("none")))
    task = worker.after(await worker.replicate(), Started(worker.me))
    fact = await do(worker, task, Step.FETCH_APP)
    assert isinstance(fact, Failed)
    assert (fact.cause, fact.digest is not None) == ("APP_IMAGE_DOWNLOAD_FAILED", True)


async def test_an_image_that_our_own_rules_refuse_is_not_voted_on(worker: Bench):
    problem = ImageNotForUs("larger than we allow")
    object.__setattr__(worker.steps.supplies, "executor", NoImages(problem))
    task = worker.after(await worker.replicate(), Started(worker.me))
    fact = await do(worker, task, Step.FETCH_APP)
    assert fact == Failed(worker.me, Step.FETCH_APP, "APP_NOT_FOUND_LOCALLY", None)
    assert worker.after(task, fact).replicates[worker.me].status is Status.FAILED


@pytest.mark.parametrize(
    ("category", "seconds"),
    [(300, 300), (1_200, 300), (3_600, 467), (10_800, 753), (36_000, 1_067), (10**6, 1_800)],
)
async def test_an_image_has_the_time_of_its_category_within_bounds(category, seconds):
    deal = SimpleNamespace(time_unit=category)
    config = SimpleNamespace(min_pull_time=300.0, max_pull_time=1_800.0)
    assert round(supplies.pull_time(SimpleNamespace(deal=deal), config)) == seconds


async def test_a_registry_that_is_down_is_waited_for_but_not_for_ever(worker: Bench):
    object.__setattr__(worker.steps.supplies, "executor", NoImages(Unavailable("down")))
    task = worker.after(await worker.replicate(), Started(worker.me))
    with pytest.raises(Unavailable):
        await do(worker, task, Step.FETCH_APP)
    longest = supplies.pull_time(task, worker.steps.supplies.config)
    worker.steps._since[str(task.id), Step.FETCH_APP] -= longest + 1
    fact = await do(worker, task, Step.FETCH_APP)
    assert isinstance(fact, Failed)
    assert fact.digest is not None


@pytest.mark.parametrize("step", [Step.FETCH_APP, Step.COMPUTE])
@pytest.mark.parametrize(
    "problem", [OSError(errno.ENOSPC, "No space left on device"), NoRoom("no room for it")]
)
async def test_a_full_disk_is_waited_for_and_costs_the_replicate_only(
    worker: Bench, step: Step, problem: Exception
):
    full = NoImages(problem)
    object.__setattr__(worker.steps.supplies, "executor", full)

    async def run(job: Any) -> Any:
        raise problem

    full.run = run  # type: ignore[attr-defined]
    object.__setattr__(worker.steps.computer, "executor", full)
    task = worker.after(await worker.replicate(), Started(worker.me))
    worker.steps._since[str(task.id), step] = -1e9  # no image failure is voted on either
    last = task.deal.contribution_deadline - headroom(task.deal) - task.deal.time_unit
    worker.steps.clock.saw(last - 60)
    with pytest.raises(NoRoom, match="min_free_disk"):
        await do(worker, task, step)
    worker.steps.clock.saw(last)
    assert await do(worker, task, step) == Failed(worker.me, step, "UNKNOWN")


def uploading(worker: Bench, task: Task) -> Task:
    me, vote = worker.me, result_hash(task.id, DIGEST)
    deadline = task.deal.start + 1_000
    return worker.after(
        computed(worker, task),
        Contributed(me, vote, 2),
        ConsensusReached(vote, deadline),
        Revealed(me, DIGEST),
        UploadRequested(me, deadline),
        Began(me, Step.UPLOAD),
    )


async def test_a_result_that_is_gone_cannot_be_uploaded(worker: Bench):
    task = uploading(worker, await worker.replicate())
    assert await do(worker, task, Step.UPLOAD) == Failed(
        worker.me, Step.UPLOAD, "RESULT_LINK_MISSING"
    )


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("proxy", ["http://[", "http://127.0.0.1:65536/", "http://a\0/", "x"])
async def test_a_store_that_is_no_address(worker: Bench, proxy: str, private: bool):
    params = encode_params(DealParams(storage_proxy=proxy))
    task = uploading(worker, await worker.replicate(params=params))
    config = replace(worker.config, private_downloads=private)
    object.__setattr__(worker.steps.computer, "config", config)
    here = TaskFolder(config.home, task.id)
    here.make()
    here.zip.write_bytes(b"zip")
    try:
        fact = await do(worker, task, Step.UPLOAD)
    except Unavailable:
        assert (proxy, private) == ("x", True)
    else:
        assert fact == Failed(worker.me, Step.UPLOAD, "RESULT_LINK_MISSING")


async def test_what_is_over_leaves_nothing(worker: Bench):
    task = uploading(worker, await worker.replicate())
    here = TaskFolder(worker.config.home, task.id)
    here.make()
    task = worker.after(task, Uploaded(worker.me, "{}"))
    assert await do(worker, task, Step.COMPLETE) == Completed(worker.me)
    assert not here.root.exists()
    assert await do(worker, task, Step.COMPLETE) == Completed(worker.me), "again is no harm"
    here.make()
    abort = Abort(task.id, "CONSENSUS_REACHED")
    assert await worker.steps.perform(abort) == Aborted(worker.me, "CONSENSUS_REACHED")
    assert here.root.exists(), "a result that was voted for is kept until the task is over"
    worker.after(task, Finalized())
    assert await worker.steps.perform(abort) == Aborted(worker.me, "CONSENSUS_REACHED")
    assert not here.root.exists()
