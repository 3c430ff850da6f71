"""Checks before a vote, and what a signed vote survives: against the real contracts."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from worker_lab import Bench, bench

from tallystick.chain.fees import GWEI, Fees
from tallystick.chain.records import TaskState
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.engine.errors import Unavailable
from tallystick.lifecycle.agenda import Claim
from tallystick.lifecycle.facts import (
    AppFetched,
    Checked,
    Claimed,
    Computed,
    ConsensusReached,
    Contributed,
    DataFetched,
    Fact,
    Failed,
    Held,
    Resumed,
    Started,
    Step,
)
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.values import Digest
from tallystick.worker.pledges import Pledges
from tallystick.worker.votes import Votes

pytestmark = pytest.mark.anyio

DIGEST, OTHER = Digest(b"\x5d" * 32), Digest(b"\x66" * 32)


@pytest.fixture
async def worker(trade: Any, hub: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    """Another wallet than that of the tests beside: what is in the pool is ours."""
    made = bench(trade, hub, tmp_path, worker=2)
    yield made
    made.sender.close()
    made.journal.close()


def computed(worker: Bench, task: Task, digest: Digest | None = DIGEST) -> Task:
    steps: list[Fact] = [kind(worker.me) for kind in (Started, AppFetched, DataFetched)]
    return worker.after(task, *steps, Computed(worker.me, digest, 0))


def failed(worker: Bench, cause: str) -> Failed:
    return Failed(worker.me, Step.CHECK, cause)


def vote(worker: Bench, task: Task, digest: Digest = DIGEST) -> Any:
    permission = task.replicates[worker.me].authorization
    assert permission is not None
    return worker.trade.calls.contribute(
        task.id,
        result_hash(task.id, digest),
        result_seal(worker.me, task.id, digest),
        authorization=permission,
        enclave_sign=bytes(32),
    )


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


def set_balance(worker: Bench, wei: int) -> None:
    worker.trade.chain.rpc("anvil_setBalance", str(worker.me), hex(wei))


async def test_a_vote_that_can_count_is_checked_in_one_round_trip(worker: Bench):
    task = computed(worker, await worker.replicate(trust=16))
    asked: list[Any] = []
    batch = worker.hub.rpc.batch

    async def counted(requests: Any) -> Any:
        asked.append(requests)
        return await batch(requests)

    worker.hub.rpc.batch = counted  # type: ignore[method-assign]
    assert await worker.steps.votes.check(task) == Checked(worker.me)
    assert len(asked) == 1


async def test_no_digest_no_vote(worker: Bench):
    task = computed(worker, await worker.replicate(), None)
    assert await worker.steps.votes.check(task) == failed(worker, "DETERMINISM_HASH_NOT_FOUND")


async def test_a_stake_that_was_withdrawn_meanwhile(worker: Bench, caplog: Any):
    """The numbers that are compared are told."""
    task = computed(worker, await worker.replicate(price=10))
    account = await worker.hub.account(worker.me)
    withdraw = worker.trade.calls.withdraw(account.stake - 2)
    worker.trade.chain.transact(worker.me, withdraw.to, withdraw.data)
    assert await worker.steps.votes.check(task) == failed(worker, "STAKE_TOO_LOW")
    assert "locks 0.000000003 RLC, but 0.000000002 RLC are free" in caplog.text
    worker.trade.chain.fund(worker.me, deposit=account.stake)
    assert await worker.steps.votes.check(task) == Checked(worker.me)


async def test_a_task_that_others_decided(worker: Bench):
    task = computed(worker, await worker.replicate())
    other_votes(worker, task)
    assert await worker.steps.votes.check(task) == failed(worker, "TASK_NOT_ACTIVE")


async def test_a_chain_that_lost_blocks_is_no_reason_to_give_a_vote_up(
    trade: Any, hub: Any, tmp_path: Path
):
    """The journal knows the task as open; the node that came back does not, for a while."""
    chain, worker = trade.chain, bench(trade, hub, tmp_path, worker=5)
    task = computed(worker, await worker.replicate(opened=False, trust=16))
    with pytest.raises(Unavailable, match="does not know that the task was opened"):
        await worker.steps.votes.check(task)
    trade.send(chain.scheduler, trade.calls.initialize(task.deal.id, 0))
    assert await worker.steps.votes.check(task) == Checked(worker.me), "it is opened again"
    worker.sender.close()
    worker.journal.close()


async def test_a_vote_by_another_hand(worker: Bench):
    """Another copy of this worker voted for something else: there is nothing to be won."""
    task = computed(worker, await worker.replicate(trust=16))
    sent = vote(worker, task, OTHER)
    worker.trade.chain.transact(worker.me, sent.to, sent.data)
    assert await worker.steps.votes.check(task) == failed(worker, "CONTRIBUTION_ALREADY_SET")


async def test_our_own_vote_is_no_reason_to_fail(worker: Bench):
    """As after a restore from a backup: the chain's log moves the task."""
    task = computed(worker, await worker.replicate(trust=16))
    sent = vote(worker, task)
    worker.trade.chain.transact(worker.me, sent.to, sent.data)
    assert await worker.steps.votes.check(task) is None


async def test_nobody_signed_for_us(worker: Bench):
    task = computed(worker, await worker.replicate(trust=16))
    mine = replace(task.replicates[worker.me], authorization=None)
    task = replace(task, replicates={worker.me: mine})
    assert await worker.steps.votes.check(task) == failed(
        worker, "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
    )


async def test_gas_for_the_vote_and_for_its_reveal(worker: Bench, caplog: Any):
    task = computed(worker, await worker.replicate(trust=16))
    price = Fees().price(int(worker.trade.chain.rpc("eth_gasPrice"), 16))
    before = await worker.hub.balance(worker.me)
    try:
        set_balance(worker, 590_000 * price)
        assert await worker.steps.votes.check(task) == failed(worker, "OUT_OF_GAS")
        assert "vote and reveal may take" in caplog.text
        worker.steps.votes.funds.free_gas = True
        assert await worker.steps.votes.check(task) == Checked(worker.me)
    finally:
        set_balance(worker, before)


async def test_after_the_deadline_by_the_chains_clock(trade: Any, hub: Any, tmp_path: Path):
    chain = trade.chain
    worker = bench(trade, hub, tmp_path, worker=4)
    before = chain.snapshot()
    task = computed(worker, await worker.replicate(trust=16))
    chain.set_time(task.deal.contribution_deadline)
    assert await worker.steps.votes.check(task) == failed(worker, "CONTRIBUTION_TIMEOUT")
    chain.revert(before)
    worker.sender.close()
    worker.journal.close()


async def test_a_chain_that_does_not_answer_is_waited_for_but_not_for_ever(
    worker: Bench, monkeypatch: Any
):
    task = computed(worker, await worker.replicate(trust=16))
    votes, nobody = worker.steps.votes, Rpc(["http://127.0.0.1:1"])
    monkeypatch.setattr(worker.hub, "rpc", nobody)
    with pytest.raises(Unavailable):
        await votes.check(task)
    votes.chain_patience = 0.0
    assert await votes.check(task) == failed(worker, "CHAIN_UNREACHABLE")
    # A vote that is signed may be mined at any time: it is never given up for a silent node.
    monkeypatch.setattr(votes.sender, "signed", lambda call: True)
    with pytest.raises(Unavailable):
        await votes.check(task)
    await nobody.aclose()


async def test_an_account_that_no_node_tells_is_unknown_and_not_empty(
    worker: Bench, monkeypatch: Any
):
    """A node that lags behind the deployment of the hub answers with nothing at all."""
    task = computed(worker, await worker.replicate(trust=16, price=10))
    batch = worker.hub.rpc.batch

    async def lagging(requests: Any) -> Any:
        answers = await batch(requests)
        answers[5] = "0x"
        return answers

    monkeypatch.setattr(worker.hub.rpc, "batch", lagging)
    with pytest.raises(Unavailable, match="is not known"):
        await worker.steps.votes.check(task)


async def test_a_transaction_in_the_pool_that_we_did_not_send_is_waited_for(
    worker: Bench, tmp_path: Path
):
    """A copy of this worker has voted, and its vote is not mined yet: as after a restore from
    an older backup. Nothing is signed until it is known what it was."""
    chain = worker.trade.chain
    task = computed(worker, await worker.replicate(trust=16))
    twin = Sender(worker.hub.rpc, worker.wallet, tmp_path / "twin.db", chain_id=chain.chain_id)
    chain.automine(False)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(twin.send, vote(worker, task))
            await until_pending(worker)
            with pytest.raises(Unavailable, match="did not send them"):
                await worker.steps.votes.check(task)
            chain.mine()
    finally:
        chain.automine(True)
        twin.close()
    assert await worker.steps.votes.check(task) is None


async def until_pending(worker: Bench) -> None:
    with anyio.fail_after(60):
        while not int(worker.trade.chain.rpc("txpool_status")["pending"], 16):  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_digest_and_transaction_are_on_disk_before_anything_leaves(
    worker: Bench, tmp_path: Path, monkeypatch: Any
):
    """At the moment of broadcast other connections to the files see both."""
    task = computed(worker, await worker.replicate(trust=16))
    seen: list[Any] = []
    call = worker.hub.rpc.call

    async def spied(method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            with sqlite3.connect(tmp_path / "votes.db") as db:
                seen.extend(db.execute("SELECT task, digest FROM pledge").fetchall())
                seen.append(db.execute("PRAGMA journal_mode").fetchone()[0])
            with sqlite3.connect(tmp_path / "transactions.db") as db:
                seen.extend(db.execute("SELECT raw FROM attempt").fetchall())
            seen.append(params[0])
        return await call(method, *params)

    monkeypatch.setattr(worker.hub.rpc, "call", spied)
    assert await worker.steps.votes.contribute(task, DIGEST) is None
    pledge, mode, (raw,), sent = seen
    assert pledge == (str(task.id), bytes(DIGEST))
    assert (mode, "0x" + raw.hex()) == ("wal", sent)


async def test_what_is_computed_anew_never_replaces_what_was_signed(
    worker: Bench, tmp_path: Path
):
    """The app answers otherwise after a crash between signing and mining: the vote that was
    signed is the one that is cast, and its digest is the one that is revealed."""
    chain = worker.trade.chain
    task = await worker.replicate()
    mine = computed(worker, task)
    chain.automine(False)
    try:
        async with anyio.create_task_group() as dying:
            dying.start_soon(worker.steps.votes.contribute, mine, DIGEST)
            await until_pending(worker)
            dying.cancel_scope.cancel()
    finally:
        chain.automine(True)
    # The journal is gone or older, the wallet's own files are not.
    again = Votes(
        worker.me,
        worker.hub,
        worker.sender,
        worker.steps.votes.funds,
        Pledges(tmp_path / "votes.db"),
    )
    anew = with_ours(mine, worker, digest=OTHER)
    assert await again.check(anew) == Checked(worker.me)
    chain.mine()
    assert await again.contribute(anew, OTHER) is None
    known = await worker.hub.contribution(task.id, worker.me)
    assert known is not None
    assert known.result_hash == result_hash(task.id, DIGEST)
    won = await worker.hub.task(task.id)
    assert won is not None
    voted = with_ours(anew, worker, digest=OTHER, vote=known.result_hash)
    assert await again.reveal(voted, OTHER) is None
    won = await worker.hub.task(task.id)
    assert won is not None
    assert won.reveals == 1


def with_ours(task: Task, worker: Bench, **more: Any) -> Task:
    """The task with another replicate of ours."""
    return replace(task, replicates={worker.me: replace(task.replicates[worker.me], **more)})


async def test_a_pledge_that_was_never_signed_binds_nobody(worker: Bench, tmp_path: Path):
    """The crash came before the signature: what is computed now counts."""
    task = computed(worker, await worker.replicate(trust=16))
    worker.steps.votes.pledges.keep(task.id, OTHER)
    assert await worker.steps.votes.contribute(task, DIGEST) is None
    known = await worker.hub.contribution(task.id, worker.me)
    assert known is not None
    assert known.result_hash == result_hash(task.id, DIGEST)
    assert worker.steps.votes.pledges.of(task.id) == DIGEST


async def test_a_digest_that_is_lost_cannot_be_revealed(worker: Bench):
    task = computed(worker, await worker.replicate())
    vote_hash = result_hash(task.id, OTHER)
    task = worker.after(
        task,
        Contributed(worker.me, vote_hash, 2),
        ConsensusReached(vote_hash, task.deal.final_deadline),
    )
    assert await worker.steps.votes.reveal(task, DIGEST) == Failed(
        worker.me, Step.REVEAL, "CANNOT_REVEAL"
    )


async def test_a_wallet_that_is_dry_at_the_reveal_waits_and_goes_on_when_it_is_filled(
    worker: Bench, caplog: Any
):
    """One alarm with the deadline and the amount; the gate closes; nothing exits or fails."""
    task = computed(worker, await worker.replicate())
    votes, before = worker.steps.votes, await worker.hub.balance(worker.me)
    await votes.contribute(task, DIGEST)
    vote_hash = result_hash(task.id, DIGEST)
    task = worker.after(
        task,
        Contributed(worker.me, vote_hash, 2),
        ConsensusReached(vote_hash, task.deal.final_deadline),
    )
    set_balance(worker, 1_000)
    done: list[Fact | None] = []
    try:
        held = await votes.reveal(task, DIGEST)
        assert held == Held(worker.me, Step.REVEAL, "OUT_OF_GAS"), "it is told, and goes on"
        closed = votes.funds.closed()
        assert closed is not None
        assert closed.code == "OUT_OF_GAS"
        assert "must be revealed until 20" in closed.sentence
        assert f"[walletAddress:{worker.me}]" in closed.sentence
        task = worker.after(task, held)

        async def reveal() -> None:
            done.append(await votes.reveal(task, DIGEST))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reveal)
            await anyio.sleep(1.2)  # more attempts say nothing new
            assert not done
            set_balance(worker, before)
    finally:
        set_balance(worker, before)
    assert done == [Resumed(worker.me)]
    assert caplog.text.count("ALARM") == 1
    known = await worker.hub.task(task.id)
    assert known is not None
    assert known.reveals == 1
    assert votes.funds.closed() is None


async def test_a_reveal_may_cost_more_than_other_calls(
    worker: Bench, tmp_path: Path, monkeypatch: Any
):
    """Its stake is worth more than the gas: it has a cap of its own, and it is used."""
    task = computed(worker, await worker.replicate())
    await worker.steps.votes.contribute(task, DIGEST)
    asked: list[int | None] = []
    send = worker.sender.send

    async def spied(call: Any, *, cap: int | None = None) -> Any:
        asked.append(cap)
        return await send(call, cap=cap)

    monkeypatch.setattr(worker.sender, "send", spied)
    chain = worker.trade.chain
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(30 * GWEI))
    chain.mine()
    assert await worker.steps.votes.reveal(task, DIGEST) is None
    assert asked == [88 * GWEI]
    receipt = chain.rpc("eth_getBlockByNumber", "latest", True)["transactions"][-1]
    assert 22 * GWEI < int(receipt["maxFeePerGas"], 16) <= 88 * GWEI
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    chain.mine()


async def test_a_stake_that_nobody_gives_back_is_claimed(trade: Any, hub: Any, tmp_path: Path):
    """The worker alone, the scheduler dead: one time unit after the final deadline."""
    chain = trade.chain
    worker = bench(trade, hub, tmp_path, worker=5)
    before, start = chain.snapshot(), await hub.account(worker.me)
    task = computed(worker, await worker.replicate(trust=16, price=10))
    await worker.steps.votes.contribute(task, DIGEST)
    task = worker.after(task, Contributed(worker.me, result_hash(task.id, DIGEST), 2))
    assert (await hub.account(worker.me)).locked == 3
    engine = worker.engine
    engine._perform = worker.steps.perform  # type: ignore[assignment]
    rules: Any = engine._rules
    late = task.deal.final_deadline + task.deal.time_unit
    for instant, claimed in ((late - 1, False), (late, True)):
        chain.set_time(instant)
        rules.clock.saw(instant)
        assert [type(each) for each in rules.agenda(task)] == [Claim] * claimed
    async with engine.working():
        with anyio.fail_after(60):
            while (await hub.account(worker.me)) != start:  # noqa: ASYNC110
                await anyio.sleep(0.05)
    known = await hub.task(task.id)
    assert known is not None
    assert known.state is TaskState.FAILED
    await worker.steps.votes.claim(task)  # it is done already: no harm
    assert not list(rules.agenda(worker.after(task, Claimed())))[1:]
    chain.revert(before)
    worker.sender.close()
    worker.journal.close()
